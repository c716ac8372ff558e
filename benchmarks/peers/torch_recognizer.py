"""The LRCN that names activities in PyTorch: the peer of `recognizer.py`.

    python benchmarks/peers/torch_recognizer.py        # a training step end to end, by itself

EfficientNet-Lite0, channels last, on every frame; `nn.LSTM`; `nn.Linear`.
"""

import pathlib
import sys

import torch
from torch import nn
from torch_efficientnet import efficientnet_lite0, fuse

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import random_recognizer as sizes
from harness import run_alone


class Recognizer(nn.Module):
    """Frames `(clips * time, 3, height, width)` to logits `(clips, time, classes)`."""

    def __init__(self, frozen):
        super().__init__()
        encoder = efficientnet_lite0()
        self.encoder, self.frozen = fuse(encoder) if frozen else encoder, frozen
        self.lstm = nn.LSTM(sizes.FEATURE_DIM, sizes.UNITS, batch_first=True)
        self.logits = nn.Linear(sizes.UNITS, sizes.CLASSES)

    def forward(self, frames):
        if self.frozen:
            with torch.no_grad():
                features = self.encoder(frames)
        else:
            features = self.encoder(frames)
        features = features.view(-1, sizes.CLIP_LENGTH, sizes.FEATURE_DIM)
        return self.logits(self.lstm(features)[0])

    def load(self, weights):
        """Takes the weights of the head."""
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(torch.from_numpy(weights["kernel"]).T)
            self.lstm.weight_hh_l0.copy_(torch.from_numpy(weights["recurrent"]).T)
            self.lstm.bias_ih_l0.copy_(torch.from_numpy(weights["bias"]))
            self.lstm.bias_hh_l0.zero_()
            self.logits.weight.copy_(torch.from_numpy(weights["logits"]).T)
            self.logits.bias.copy_(torch.from_numpy(weights["logits_bias"]))
        return self


def training_step(frozen):
    """Gets a training step ready. The batch statistics of the CNN stay as they are."""
    model = Recognizer(frozen).load(sizes.draw_head())
    for module in model.encoder.modules():
        if frozen or isinstance(module, nn.BatchNorm2d):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.001, momentum=0.9)
    frames, labels = sizes.draw_clips()
    frames = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2)
    frames = frames.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels).long().repeat_interleave(sizes.CLIP_LENGTH)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(frames).flatten(0, 1), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    run_alone(training_step(frozen=False))
