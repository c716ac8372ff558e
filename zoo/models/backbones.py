"""One image -> one feature vector: the paper's CNNs, EfficientNet-Lite, and any Keras network.

Every encoder here takes float32 RGB in 0..255 and does its own scaling inside, so that data,
recipes and servers need not know which one they feed.
"""

import keras
from keras import layers

from zoo.models.caffe_backbones import FLOW_MEAN_PIXEL, caffenet, caffenet_hybrid, vgg16
from zoo.models.efficientnet_lite import (
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
)
from zoo.models.fused import fuse_batch_normalization
from zoo.models.preprocess import Preprocess, preprocess_layer

__all__ = [
    "FLOW_MEAN_PIXEL",
    "Preprocess",
    "caffenet",
    "caffenet_hybrid",
    "check_image_encoder",
    "digit_cnn",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "encoder_config",
    "encoder_from_config",
    "image_encoder",
    "small_cnn",
    "vgg16",
]

HOW_TO_WRAP = (
    "Wrap a network of keras.applications, KerasHub or KerasCV in "
    "`image_encoder(network, preprocess)`."
)


POOLINGS = {
    ("avg", 1): layers.GlobalAveragePooling1D,  # transformers: (batch, tokens, channels)
    ("max", 1): layers.GlobalMaxPooling1D,
    ("avg", 2): layers.GlobalAveragePooling2D,
    ("max", 2): layers.GlobalMaxPooling2D,
}


def image_encoder(network, preprocess=None, pooling="avg", input_size=None, name="image_encoder"):
    """Turns any Keras image network into RGB 0..255 -> one vector.

    >>> from keras.applications import mobilenet_v2
    >>> network = mobilenet_v2.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3))
    >>> image_encoder(network, mobilenet_v2.preprocess_input).output_shape
    (None, 1280)

    Args:
        network: `keras.Model` of keras.applications, KerasHub or KerasCV, or any other, from
            images `(batch, height, width, 3)` to features with or without positions. Of several
            feature maps (a pyramid) the coarsest is taken.
        preprocess: What the network wants done to RGB pixels in 0..255: the `preprocess_input`
            function of its `keras.applications` module, a pair `(scale, offset)` for
            `x * scale + offset`, numbers or three numbers each, or `None` for nothing.
        pooling: `"avg"` or `"max"` over positions; `None` where the network gives one vector.
        input_size: Height and width in pixels, where the network takes any size.
        name: Name of the model.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, height, width, 3)`, to
        features `(batch, features)`. A saved one that holds a KerasHub or KerasCV network loads
        where that package has been imported.

    Raises:
        ValueError: If the size of the images is not known, if `preprocess` does anything but
            scale and shift channels, or if no vector per image results.
    """
    images = keras.Input((*_image_size(network, input_size), 3), name="image")
    x = images if preprocess is None else preprocess_layer(preprocess)(images)
    features = _coarsest(network(x))
    positions = len(features.shape) - 2
    if positions and (pooling, positions) not in POOLINGS:
        raise ValueError(
            f"`{network.name}` gives features {features.shape}, which `pooling={pooling!r}` does "
            'not turn into one vector per image. Use `pooling="avg"` or `pooling="max"`.'
        )
    if positions:
        features = POOLINGS[pooling, positions](name="features")(features)
    return fuse_batch_normalization(keras.Model(images, features, name=name))


def _image_size(network, input_size):
    known = getattr(network, "inputs", None)  # absent where the network is a class of its own
    shape = known[0].shape if known else (None, None, None, 3)
    if (known and len(known) > 1) or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            f"Expected a network of images (batch, height, width, 3), but `{network.name}` takes "
            f"{[tensor.shape for tensor in known]}."
        )
    size = tuple(shape[1:3])
    if None in size and input_size is None:
        raise ValueError(
            f"`{network.name}` takes images of any size, but an encoder has one size. Give it, "
            "in pixels: `image_encoder(network, ..., input_size=224)`."
        )
    if None in size:
        return input_size, input_size
    if input_size is not None and size != (input_size, input_size):
        raise ValueError(f"`{network.name}` takes images {size}, got `input_size={input_size}`.")
    return size


def _coarsest(outputs):
    outputs = keras.tree.flatten(outputs)
    if len(outputs) > 1 and {len(output.shape) for output in outputs} != {4}:
        raise ValueError(
            "Expected a network with one output, or with feature maps (batch, height, width, "
            f"channels), got outputs {[output.shape for output in outputs]}. Pick one of them: "
            "`keras.Model(network.input, network.output[...])`."
        )
    return min(outputs, key=lambda output: output.shape[1])


def small_cnn():
    """Builds a CNN for frames of 32 pixels, to be trained from scratch; it keeps positions.

    Returns:
        `keras.Model` from frames, float32 RGB in 0..255 `(batch, 32, 32, 3)`, to features `(batch,
        128)`.
    """
    network = keras.Sequential([keras.Input((32, 32, 3))], name="small")
    for filters, kernel_size in ((16, 5), (32, 3), (64, 3)):
        network.add(layers.Conv2D(filters, kernel_size, 2, "same"))
        network.add(layers.BatchNormalization(momentum=0.9))
        network.add(layers.ReLU())
    network.add(layers.Flatten())
    network.add(layers.Dense(128))
    network.add(layers.BatchNormalization(momentum=0.9))
    network.add(layers.Activation("tanh"))  # bounded, or some seeds are slow to learn
    return image_encoder(network, (1 / 255, 0.0), pooling=None, name="small_cnn")


def digit_cnn():
    """Builds a CNN for frames of 32 pixels, to be trained from scratch; it tells what from where.

    Half of its features say what is there, wherever it is, by the maximum over all places; the
    other half where something is, whatever it is, by means over rows and over columns.

    Returns:
        `keras.Model` from frames, float32 RGB in 0..255 `(batch, 32, 32, 3)`, to features `(batch,
        128)`.
    """

    def convolve(x, filters, kernel_size):
        x = layers.Conv2D(filters, kernel_size, 2, "same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    def squash(x):
        x = layers.BatchNormalization(momentum=0.9)(layers.Dense(64)(x))
        return layers.Activation("tanh")(x)  # bounded, or some seeds are slow to learn

    frame = keras.Input((32, 32, 3))
    edges = convolve(frame, 16, 5)  # (batch, 16, 16, 16)
    shapes = convolve(convolve(edges, 32, 3), 96, 3)  # (batch, 4, 4, 96)
    rows = layers.Flatten()(layers.AveragePooling2D((1, 16))(edges))
    columns = layers.Flatten()(layers.AveragePooling2D((16, 1))(edges))
    where = squash(layers.Concatenate()([rows, columns]))
    what = squash(layers.GlobalMaxPooling2D()(shapes))
    network = keras.Model(frame, layers.Concatenate()([where, what]), name="what_and_where")
    return image_encoder(network, (1 / 255, 0.0), pooling=None, name="digit_cnn")


def check_image_encoder(model):
    """Makes sure that `model` turns images of a known size into one vector each.

    Args:
        model: What was given as an image encoder.

    Raises:
        ValueError: If it is anything else; the message says how `image_encoder` makes one.
    """
    inputs, outputs = (getattr(model, side, None) or [] for side in ("inputs", "outputs"))
    takes, gives = ([tuple(tensor.shape) for tensor in tensors] for tensors in (inputs, outputs))
    if len(takes) != 1 or len(gives) != 1:
        raise ValueError(
            "Expected an image encoder, a `keras.Model` with one input and one output, got "
            f"{model!r} with inputs {takes} and outputs {gives}. {HOW_TO_WRAP}"
        )
    if len(takes[0]) != 4 or takes[0][-1] != 3 or None in takes[0][1:]:
        raise ValueError(
            "Expected an image encoder that takes images (batch, height, width, 3) of a known "
            f"size, but `{model.name}` takes {takes[0]}. {HOW_TO_WRAP}"
        )
    if len(gives[0]) != 2:
        raise ValueError(
            "Expected an image encoder that gives one vector per image, (batch, features), but "
            f"`{model.name}` gives {gives[0]}. {HOW_TO_WRAP}"
        )


def encoder_config(encoder, feature_dim):
    """Gives what a model's configuration keeps of its encoder.

    Args:
        encoder: `keras.Model`, or None where the model is fed features.
        feature_dim: Length of these.

    Returns:
        A dict, or `feature_dim`; `encoder_from_config` reads either.
    """
    return feature_dim if encoder is None else keras.saving.serialize_keras_object(encoder)


def encoder_from_config(config, custom_objects=None):
    """Builds what `encoder_config` kept: a `keras.Model`, or the length of features."""
    if isinstance(config, int):
        return config
    return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)
