"""Photographs from disk to batches for training: ours, and a PyTorch `DataLoader` beside it.

    python benchmarks/photographs.py [--data DIR]

A turn is some batches in the midst of an epoch: photographs are decoded, cropped to 7/8 of their
sides at random, resized and mirrored by chance. Both sides take the same crops in the same order,
and have to give the same batch, but for rounding.
"""

import argparse
import itertools
import pathlib
import tempfile

import numpy as np
from harness import OURS, PEER, compare, finish, print_head, same_pixels
from sample_files import make_photographs

from zoo.data.batches.captions import CROP, epoch_order

GOAL = 1.5
SIZE, BATCH_SIZE = 224, 32
BATCHES = 20  # a turn
SEED = 7


def main(arguments=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Times batches of photographs.")
    parser.add_argument("--data", metavar="DIR", help="JPEGs; default: made from samples")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        paths = list_photographs(options.data or make_photographs(folder))
        count = (options.rounds + 1) * BATCHES * BATCH_SIZE
        paths = list(itertools.islice(itertools.cycle(paths), count))
        settings = {"paths": paths, "size": SIZE, "batch_size": BATCH_SIZE, "batches": BATCHES}
        sides = {
            OURS: ("photographs:ours", settings),
            PEER: ("torch_photographs:photographs", {**settings, **draw(count)}),
        }
        print_head()
        title = f"photographs, {BATCHES} batches of {BATCH_SIZE}"
        figures = compare(title, sides, same_pixels, GOAL, options.rounds)
    finish([figures], options.json)


def ours(paths, size, batch_size, batches):
    """Gets our side ready, as the recipe for captions fine-tunes its encoder."""
    from zoo.data.batches.captions import image_batches

    token_ids = np.ones((len(paths), 1, 2), "int32")
    epoch = iter(image_batches(paths, token_ids, size, batch_size, SEED, epoch=0))

    def turn():
        for inputs, _, _ in itertools.islice(epoch, batches):
            images = inputs["image"]
        return images.numpy()

    return turn


def draw(num_images, batch_size=BATCH_SIZE, seed=SEED):
    """Draws what `zoo.data.batches.captions.image_batches` draws in its first epoch.

    Returns:
        Dict of lists, an entry a picture, in order: its index in `order`; in `corners` the upper
        left corner of its crop in shares of its height and width; whether it is `mirrored`.
    """
    order = epoch_order(num_images, batch_size, seed, 0)
    rng = np.random.default_rng([seed, 0, 1])
    corners = rng.random((*order.shape, 2), dtype="float32") * np.float32(1 - CROP)
    mirrored = rng.integers(2, size=order.shape).astype(bool)
    return {
        "order": order.ravel().tolist(),
        "corners": corners.reshape(-1, 2).tolist(),
        "mirrored": mirrored.ravel().tolist(),
    }


def list_photographs(folder):
    """Lists the JPEGs of a folder."""
    paths = sorted(str(path) for path in pathlib.Path(folder).glob("*.jp*g"))
    if not paths:
        raise SystemExit(f"{folder} has no JPEGs.")
    return paths


if __name__ == "__main__":
    main()
