"""Times captioning 1,000 photographs, from files to sentences, beside PyTorch.

    python benchmarks/captions.py [--data DIR] [--json FILE]        # or: make bench

Ours is the command that users give, `lrcn caption --json DIR`; the peer a script with the same
weights, Pillow and a `DataLoader`. Both are timed as whole processes, their start included.
Checked are the sentences: decoders and resizing round differently, so a few may differ.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from harness import OURS, PEER, compare, finish, print_head
from sample_files import make_photographs

MODEL = "lrcn_captioner_efficientnet_lite0_flickr8k"
PHOTOGRAPHS = 1000
SAME = 0.75  # share of sentences, at least; with the same pixels all were the same
PEERS = pathlib.Path(__file__).parent / "peers"


def main(arguments=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", metavar="DIR", help="JPEGs; default: made from samples")
    parser.add_argument("--weights", metavar="FILE", help="only write the peer's weights")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    if options.weights:
        return write_weights(options.weights)
    with tempfile.TemporaryDirectory() as folder:
        photographs, weights = options.data, f"{folder}/weights.npz"
        if photographs is None:
            photographs = pathlib.Path(folder, "photographs")
            photographs.mkdir()
            make_photographs(photographs, PHOTOGRAPHS)
        write_weights(weights)
        settings = {"folder": str(photographs)}
        sides = {
            OURS: ("captions:ours", settings),
            PEER: ("captions:peer", {**settings, "weights": weights}),
        }
        count = len(list(pathlib.Path(photographs).glob("*.jp*g")))
        print_head()
        title = f"`lrcn caption --json`, {count} photographs"
        figures = compare(title, sides, same, 1.3, options.rounds)
    finish([figures], options.json)


def write_weights(path):
    """Writes the preset's weights for the peer."""
    from zoo.presets import from_preset

    captioner = from_preset(MODEL)
    decoder, arrays = captioner.decoder, {}
    for layer in captioner.image_encoder.layers:
        name = "_" + re.sub(r"^block(\d+)_", r"blocks.\1._", layer.name)
        for variable in layer.weights:
            value = np.asarray(variable)
            part = variable.path.split("/")[-1]
            if part == "kernel":
                depthwise = "depthwise" in name
                value = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            arrays[f"{name}.{TORCH_NAMES[part]}"] = np.ascontiguousarray(value)
    arrays |= {
        "vocabulary": np.array(captioner.vocabulary.words),
        "mean": np.asarray(decoder.standardize.moving_mean),
        "deviation": np.sqrt(decoder.standardize.moving_variance + decoder.standardize.epsilon),
        "projection": np.asarray(decoder.projection.kernel),
        "projection_bias": np.asarray(decoder.projection.bias),
        "embedding": np.asarray(decoder.embedding.embeddings),
        "image": np.asarray(decoder.image_share.kernel),
        "logits": np.asarray(decoder.logits.kernel),
        "logits_bias": np.asarray(decoder.logits.bias),
    }
    for n, (rnn, share) in enumerate(zip(decoder.rnns, decoder.input_shares, strict=True), 1):
        arrays[f"recurrent{n}"] = np.asarray(rnn.cell.recurrent_kernel)
        arrays[f"input{n}"], arrays[f"bias{n}"] = np.asarray(share.kernel), np.asarray(share.bias)
    np.savez(path, **arrays)


TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def ours(folder):
    """A turn: the command."""
    lrcn = pathlib.Path(sys.executable).with_name("lrcn")
    command = [str(lrcn), "caption", "--model", MODEL, "--json", folder]
    return lambda: {
        result["file"]: result["captions"][0]["caption"] for result in json.loads(_run(command))
    }


def peer(folder, weights):
    """A turn: the peer's script."""
    command = [sys.executable, str(PEERS / "torch_caption_files.py"), weights, folder]
    return lambda: {result["file"]: result["caption"] for result in json.loads(_run(command))}


def same(ours, peers):
    """Compares the sentences."""
    equal = sum(ours[file] == peers.get(file) for file in ours)
    print(f"{equal} of {len(ours)} sentences are the same.", file=sys.stderr)
    if equal < SAME * len(ours) or ours.keys() != peers.keys():
        return f"only {equal} of {len(ours)} sentences are the same"
    return None


def _run(command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main()
