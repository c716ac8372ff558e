"""Layers of Caffe that Keras lacks or computes otherwise."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="zoo")
class LocalResponseNormalization(layers.Layer):
    """Divides each channel by the strength of the five channels around it, as Caffe does.

    `x / (1 + alpha / 5 * sum(x ** 2)) ** beta`, with alpha 1e-4 and beta 0.75. TensorFlow's
    operation of that name does not divide alpha. Activations of a first layer reach thousands,
    so it computes in float32 whatever the precision policy says.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        The same.
    """

    SIZE = 5
    ALPHA = 1e-4
    BETA = 0.75

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, inputs):
        """Activations -> normalised activations."""
        channels = inputs.shape[-1]
        reach = self.SIZE // 2
        squares = ops.pad(ops.square(inputs), [(0, 0), (0, 0), (0, 0), (reach, reach)])
        strength = sum(squares[..., i : i + channels] for i in range(self.SIZE))
        return inputs * (1 + self.ALPHA / self.SIZE * strength) ** -self.BETA

    def compute_output_shape(self, input_shape):
        """The shape stays."""
        return input_shape


@keras.saving.register_keras_serializable(package="zoo")
class GroupedConv2D(layers.Conv2D):
    """A convolution in groups that computes one group after the other.

    Keras hands such a convolution to XLA where TensorFlow runs it, and a model server takes no
    function that asks for XLA.

    Args:
        filters, kernel_size, strides, padding, groups, ...: As of `keras.layers.Conv2D`, and the
            same weights.
    """

    def convolution_op(self, inputs, kernel):
        """Activations and kernel -> the groups' outputs, side by side."""
        convolve = super().convolution_op
        inputs, kernels = (ops.split(x, self.groups, axis=-1) for x in (inputs, kernel))
        outputs = [convolve(*part) for part in zip(inputs, kernels, strict=True)]
        return ops.concatenate(outputs, axis=-1)
