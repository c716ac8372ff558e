"""Captions photographs from files in PyTorch: the peer of `lrcn caption --json DIR`.

    python benchmarks/captions.py --weights weights.npz        # writes the preset's weights
    python benchmarks/peers/torch_caption_files.py weights.npz DIR

Pillow and a `DataLoader` read, EfficientNet-Lite0 (channels last) looks, LRCN-2f writes.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset
from torch_captioner import Captioner
from torch_efficientnet import efficientnet_lite0, fuse

SIZE, BATCH_SIZE, WORKERS = 224, 32, 2
BEAMS, LENGTH_PENALTY, UNKNOWN = 5, 1.0, 1  # as the preset decodes; `<unk>` is never written


class Photographs(Dataset):
    """uint8 `(224, 224, 3)`, squashed."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, n):
        with Image.open(self.paths[n]) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(picture))


@torch.inference_mode()
def main(weights, folder):
    """Prints the captions as JSON."""
    weights = dict(np.load(weights))
    encoder = efficientnet_lite0()
    with torch.no_grad():
        state = encoder.state_dict()
        for name in state:  # the preset's encoder was fine-tuned
            if name in weights:
                state[name].copy_(torch.from_numpy(weights[name]))
    encoder = fuse(encoder)
    mean, deviation, projection, bias = (
        torch.from_numpy(weights[name])
        for name in ("mean", "deviation", "projection", "projection_bias")
    )
    size, dim = weights["embedding"].shape
    units = weights["recurrent1"].shape[0]
    captioner = Captioner(size, projection.shape[1], dim, units).load(weights).eval()
    vocabulary = weights["vocabulary"].tolist()
    paths = sorted(str(path) for path in pathlib.Path(folder).glob("*.jp*g"))
    results = []
    for batch in DataLoader(Photographs(paths), BATCH_SIZE, num_workers=WORKERS):
        images = batch.permute(0, 3, 1, 2).float()  # still channels last in memory
        features = (encoder(images) - mean) / deviation
        features = torch.relu(features @ projection + bias)
        for ids in captioner.beam_search(
            features, BEAMS, forbidden=(UNKNOWN,), length_penalty=LENGTH_PENALTY
        ):
            words = [vocabulary[i] for i in ids.tolist() if i]
            results.append({"file": paths[len(results)], "caption": " ".join(words)})
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
