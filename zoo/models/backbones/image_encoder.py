"""One image -> one feature vector: any Keras network becomes an image encoder."""

import keras
from keras import layers

from zoo.models.layers.fused_convolution import fuse_batch_normalization
from zoo.models.layers.preprocess import preprocess_layer

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
