"""Photographs from disk to batches with Pillow and a PyTorch `DataLoader`: a peer.

python benchmarks/peers/torch_photographs.py --data DIR        # by itself
"""

import argparse
import itertools
import math
import pathlib
import random
import sys

import numpy as np
import torch
from PIL import Image, ImageOps

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from harness import run_alone

CROP = 7 / 8  # side of a crop over the picture's
WORKERS = 2


class Photographs(torch.utils.data.Dataset):
    """Crops, an item each: uint8 `(size, size, 3)`."""

    def __init__(self, paths, size, order, corners, mirrored):
        self.paths, self.size = paths, size
        self.order, self.corners, self.mirrored = order, corners, mirrored

    def __len__(self):
        return len(self.order)

    def __getitem__(self, n):
        with Image.open(self.paths[self.order[n]]) as file:
            # `draft` would decode large pictures at half their size: fast, and another picture.
            picture = ImageOps.exif_transpose(file).convert("RGB")
        width, height = picture.size
        top, left = (
            int(c * side) for c, side in zip(self.corners[n], (height, width), strict=True)
        )
        box = left, top, left + math.ceil(CROP * width), top + math.ceil(CROP * height)
        picture = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        if self.mirrored[n]:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(picture))


def photographs(paths, size, batch_size, batches, order, corners, mirrored):
    """Gets ready; a turn returns the last of so many batches."""
    data = Photographs(paths, size, order, corners, mirrored)
    epoch = iter(
        torch.utils.data.DataLoader(data, batch_size, num_workers=WORKERS, persistent_workers=True)
    )

    def turn():
        for batch in itertools.islice(epoch, batches):
            # To float here: between processes bytes are a quarter of it. Still channels last.
            images = batch.permute(0, 3, 1, 2).float()
        return images.permute(0, 2, 3, 1).numpy()

    return turn


def main():
    """Times it alone."""
    parser = argparse.ArgumentParser(description="Times batches of photographs in PyTorch.")
    parser.add_argument("--data", required=True, metavar="DIR", help="JPEGs")
    folder = pathlib.Path(parser.parse_args().data)
    files = sorted(str(path) for path in folder.glob("*.jp*g"))
    chance, count = random.Random(0), 20 * 32 * 7
    order = [chance.randrange(len(files)) for _ in range(count)]
    corners = [[chance.uniform(0, 1 - CROP) for _ in range(2)] for _ in range(count)]
    mirrored = [chance.random() < 0.5 for _ in range(count)]
    run_alone(photographs(files, 224, 32, 20, order, corners, mirrored))


if __name__ == "__main__":
    main()
