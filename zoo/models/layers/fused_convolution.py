"""Convolution and batch normalisation in one, wherever the statistics stand still."""

import keras
from keras import layers, ops


def fuse_batch_normalization(network):
    """Lets a CNN compute each convolution and the normalisation behind it in one.

    In inference, and in training where both are frozen, the statistics scale the kernel instead of
    the features: the same numbers but for rounding, and a third less time on a CPU. Weights,
    configuration and what is saved stay as they are.

    Args:
        network: Functional `keras.Model`, and those inside it; any other is left as it is.

    Returns:
        The network.
    """
    if not _is_functional(network) or getattr(network, "_is_fused", False):
        return network
    convolutions = {}  # id of an output -> (the output, convolution, its input)

    def call(layer, x, *args, **kwargs):
        over_channels = type(layer) is layers.BatchNormalization and layer.axis in (-1, 3)
        if over_channels and id(x) in convolutions:
            _, convolution, before = convolutions[id(x)]
            return FusedConvolution(convolution, layer)(before)
        outputs = fuse_batch_normalization(layer)(x, *args, **kwargs)
        if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D) and _is_linear(layer):
            convolutions[id(outputs)] = outputs, layer, x
        return outputs

    fused = keras.models.clone_model(network, clone_function=lambda x: x, call_function=call)
    if convolutions:
        # Not a model of another class: the weights in an HDF5 file lie under the class's name.
        network.call = fused.__call__
    network._is_fused = True
    return network


class FusedConvolution(layers.Layer):
    """A convolution and the normalisation behind it, which keep their weights.

    Args:
        convolution: `keras.layers.Conv2D` or `DepthwiseConv2D` without activation.
        normalization: `keras.layers.BatchNormalization`.
    """

    def __init__(self, convolution, normalization):
        super().__init__(dtype=convolution.dtype_policy, autocast=False)
        self.convolution, self.normalization = convolution, normalization
        self.built = True

    def call(self, inputs, training=False):
        convolution, normalization = self.convolution, self.normalization
        if training and (normalization.trainable or convolution.trainable):
            # Gradients would have to pass through the scaled kernel, which costs what it saves.
            return normalization(convolution(inputs), training=training)
        scale = ops.rsqrt(normalization.moving_variance + normalization.epsilon)
        if normalization.scale:
            scale = scale * normalization.gamma
        bias = convolution.bias if convolution.use_bias else 0.0
        bias = (bias - normalization.moving_mean) * scale
        if normalization.center:
            bias = bias + normalization.beta
        options = {
            "strides": convolution.strides,
            "padding": convolution.padding,
            "data_format": "channels_last",
            "dilation_rate": convolution.dilation_rate,
        }
        x, kernel = ops.cast(inputs, self.compute_dtype), convolution.kernel
        if isinstance(convolution, layers.DepthwiseConv2D):
            # (height, width, channels, multiplier); outputs are (channels * multiplier,)
            kernel = kernel * ops.reshape(scale, kernel.shape[2:])
            x = ops.depthwise_conv(x, ops.cast(kernel, x.dtype), **options)
        else:
            x = ops.conv(x, ops.cast(kernel * scale, x.dtype), **options)
        return ops.add(x, ops.cast(bias, x.dtype))


def _is_functional(layer):
    """Whether it is a functional model that does nothing but what its graph says."""
    if not isinstance(layer, keras.Model) or not getattr(layer, "operations", None):
        return False
    return type(layer).call is type(keras.Model(layer.inputs, layer.outputs)).call


def _is_linear(convolution):
    linear = convolution.activation in (None, keras.activations.linear)
    return linear and convolution.data_format == "channels_last"
