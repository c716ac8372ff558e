"""Pixels as a network wants them: one layer for every family's scale, offset and channel order."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class Preprocess(keras.layers.Layer):
    """Turns RGB in 0..255 into `x * scale + offset`, in BGR where the network wants that.

    It computes in float32 whatever the precision policy says: bfloat16 would round the pixels.

    Args:
        scale: Number, or one for each channel in the order of the output.
        offset: Likewise; added after scaling.
        channel_order: `"rgb"` or `"bgr"`, the order of the output's channels.

    Input shape:
        `(batch, height, width, 3)`, RGB in 0..255.

    Output shape:
        The same.
    """

    def __init__(self, scale=1.0, offset=0.0, channel_order="rgb", dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        if channel_order not in ("rgb", "bgr"):
            raise ValueError(f'`channel_order` must be "rgb" or "bgr", got {channel_order!r}.')
        self.scale = np.asarray(scale, "float32").tolist()
        self.offset = np.asarray(offset, "float32").tolist()
        self.channel_order = channel_order

    def call(self, images):
        """RGB in 0..255 -> what the network was trained on."""
        if self.channel_order == "bgr":
            images = ops.flip(images, axis=-1)
        scale, offset = (ops.convert_to_tensor(x, "float32") for x in (self.scale, self.offset))
        return images * scale + offset

    def compute_output_shape(self, input_shape):
        """The shape stays."""
        return input_shape

    def get_config(self):
        """What `from_config` needs."""
        config = {
            "scale": self.scale,
            "offset": self.offset,
            "channel_order": self.channel_order,
        }
        return {**super().get_config(), **config}


def preprocess_layer(preprocess):
    """Makes a layer, which can be saved, of a function or a pair of numbers.

    The function is tried on a few pixels: all that `keras.applications` does to an image is to
    scale and shift each channel, and to turn RGB into BGR in some families.

    >>> layer = preprocess_layer(keras.applications.vgg16.preprocess_input)
    >>> layer.channel_order, layer.scale
    ('bgr', [1.0, 1.0, 1.0])

    Args:
        preprocess: A `preprocess_input` function of `keras.applications`, or a pair `(scale,
            offset)` for `x * scale + offset`, each a number or one for each channel.

    Returns:
        A `Preprocess` layer.

    Raises:
        ValueError: If the function does anything else to an image.
    """
    if callable(preprocess):
        return Preprocess(*_probe(preprocess), name="preprocess")
    try:
        scale, offset = (np.asarray(number, "float32") for number in preprocess)
        known = {scale.shape, offset.shape} <= {(), (3,)}
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            "`preprocess` must be a function such as "
            "`keras.applications.mobilenet_v2.preprocess_input`, or a pair (scale, offset), each "
            f"a number or three numbers, got {preprocess!r}."
        )
    return Preprocess(scale, offset, name="preprocess")


def _probe(function):
    """Finds scale, offset and channel order on four pixels; eight others must then agree."""
    black_red_green_blue = np.vstack([np.zeros(3), 255 * np.eye(3)])
    offset, *primaries = _apply(function, black_red_green_blue)
    matrix = (np.array(primaries) - offset) / 255  # [channel in, channel out]
    scale = {"rgb": np.diag(matrix), "bgr": np.diag(matrix[::-1])}
    for channel_order, step in (("rgb", 1), ("bgr", -1)):
        others = np.array([[3 * i, 40 + 5 * i, 250 - 11 * i] for i in range(8)])
        expected = others[:, ::step] * scale[channel_order] + offset
        if np.allclose(_apply(function, others), expected, rtol=1e-4, atol=1e-4):
            return scale[channel_order], offset, channel_order
    raise ValueError(
        f"`{getattr(function, '__name__', function)}` does more than to scale and shift the "
        "channels of RGB or BGR, so it cannot become a layer. Give `preprocess=(scale, offset)`, "
        "or put a layer of your own in front of the network and give `preprocess=None`."
    )


def _apply(function, pixels):
    image = pixels[None, :, None].astype("float32")  # (1, pixels, 1, 3); some write into it
    result = ops.convert_to_numpy(function(image))
    if result.shape != (1, len(pixels), 1, 3):
        return np.full(pixels.shape, np.nan)  # it crops, resizes or drops channels
    return result[0, :, 0]
