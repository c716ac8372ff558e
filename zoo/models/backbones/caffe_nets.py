"""CaffeNet, its hybrid and VGG-16, the paper's CNNs, with the preprocessing Caffe gave them."""

import keras
from keras import layers

from zoo.models.layers.caffe_layers import GroupedConv2D, LocalResponseNormalization
from zoo.models.layers.preprocess import Preprocess

MEAN_PIXEL = (104.0, 117.0, 123.0)  # blue, green, red, as the authors subtract it for captions
HYBRID_MEAN_PIXEL = (103.939, 116.779, 128.68)  # the same, for their LSTMs on RGB video
FLOW_MEAN_PIXEL = (128.0, 128.0, 128.0)  # the same, for flow images, where 128 is no motion
VGG_MEAN_PIXEL = (103.939, 116.779, 123.68)  # the same, of VGG-16's own authors
VGG_SIDE = 224  # pixels


def caffenet(features="fc7", weights=None, mean_pixel=MEAN_PIXEL, name="caffenet"):
    """Builds CaffeNet, the CNN of the paper's first captioners. Layers are named as in Caffe.

    Args:
        features: `"fc6"` or `"fc7"`, 4096 numbers after the ReLU, or `"fc8"`, 1000 raw class
            scores; the authors' captioners read fc8.
        weights: `None` for random ones, or the path of a `.weights.h5` file, or of a
            `.caffemodel`: `bvlc_reference_caffenet.caffemodel`, or another file with the layers
            that are needed here.
        mean_pixel: What is subtracted from blue, green and red.
        name: Name of the model.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, 227, 227, 3)`, to features
        `(batch, 4096)` or `(batch, 1000)`. While training, half of fc6 and fc7 is dropped on the
        way to the next layer.

    Source:
        Jia et al., 2014, https://arxiv.org/abs/1408.5093, `bvlc_reference_caffenet`.
    """
    images = keras.Input((227, 227, 3), name="image")
    x = Preprocess(offset=_negative(mean_pixel), channel_order="bgr", name="preprocess")(images)
    x = _conv(x, "conv1", 96, 11, strides=4, padding="valid")  # (batch, 55, 55, 96)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)  # CaffeNet pools first, then normalises
    x = LocalResponseNormalization(name="norm1")(x)  # (batch, 27, 27, 96)
    x = _conv(x, "conv2", 256, 5, groups=2)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = LocalResponseNormalization(name="norm2")(x)  # (batch, 13, 13, 256)
    x = _conv(x, "conv3", 384, 3)
    x = _conv(x, "conv4", 384, 3, groups=2)
    x = _conv(x, "conv5", 256, 3, groups=2)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)  # (batch, 6, 6, 256)
    x = layers.Flatten(name="flatten")(x)  # height, width, channels; Caffe puts channels first
    fully_connected = {
        "fc6": layers.Dense(4096, "relu", name="fc6"),
        "fc7": layers.Dense(4096, "relu", name="fc7"),
        "fc8": layers.Dense(1000, name="fc8"),
    }
    return _model(images, _up_to(features, fully_connected, x), weights, name)


def caffenet_hybrid(
    features="fc6", weights=None, mean_pixel=HYBRID_MEAN_PIXEL, name="caffenet_hybrid"
):
    """Builds the paper's CNN for video, between CaffeNet and the network of Zeiler and Fergus.

    Layers, their names and their random weights are those of the authors' nets on UCF101.

    Args:
        features: `"fc6"`, which the paper's LSTMs read, or `"fc7"`, which the last layer of its
            single-frame nets reads: 4096 numbers after the ReLU.
        weights: `None` for random ones, or the path of a `.weights.h5` file, or of a
            `.caffemodel` (whatever its name) with the layers that are needed here.
        mean_pixel: What is subtracted from blue, green and red. The authors' LSTMs on RGB have
            128.68 for red, as here, their single-frame nets 123.68; all their nets on flow
            images 128 for each of the three.
        name: Name of the model.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, 227, 227, 3)`, to features
        `(batch, 4096)`. While training, half of fc6 is dropped on the way to fc7. What is given
        out is not dropped: the reader does that, the authors' LSTM with 0.9.

    Raises:
        ValueError: If `features` is another layer.

    Source:
        Donahue et al., 2015, section 4. https://arxiv.org/abs/1411.4389
        https://github.com/LisaAnne/lisa-caffe-public, `train_test_lstm_RGB.prototxt`.
    """
    images = keras.Input((227, 227, 3), name="image")
    x = Preprocess(offset=_negative(mean_pixel), channel_order="bgr", name="preprocess")(images)
    x = _conv(x, "conv1", 96, 7, strides=2, padding="valid", **_fillers())  # (batch, 111, 111, 96)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = LocalResponseNormalization(name="norm1")(x)  # (batch, 55, 55, 96)
    x = _conv(x, "conv2", 384, 5, strides=2, padding="valid", groups=2, **_fillers())
    # Caffe rounds the size of a pooled map up: 26 becomes 13, the last window sees one row less.
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)
    x = LocalResponseNormalization(name="norm2")(x)  # (batch, 13, 13, 384)
    x = _conv(x, "conv3", 512, 3, **_fillers())
    x = _conv(x, "conv4", 512, 3, groups=2, **_fillers())
    x = _conv(x, "conv5", 384, 3, groups=2, **_fillers())
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)  # (batch, 6, 6, 384)
    x = layers.Flatten(name="flatten")(x)  # height, width, channels; Caffe puts channels first
    fully_connected = {
        layer: layers.Dense(4096, "relu", name=layer, **_fillers()) for layer in ("fc6", "fc7")
    }
    return _model(images, _up_to(features, fully_connected, x), weights, name)


def vgg16(features="fc7", weights=None, mean_pixel=VGG_MEAN_PIXEL, name="vgg16"):
    """Builds VGG-16, the CNN of the paper's best captioners, on `keras.applications.VGG16`.

    Args:
        features: `"fc6"` or `"fc7"`, 4096 numbers after the ReLU, or `"fc8"`, 1000 raw class
            scores.
        weights: `"imagenet"` (553 MB, downloaded once by Keras), `None` for random ones, or the
            path of the file that Keras would download,
            `vgg16_weights_tf_dim_ordering_tf_kernels.h5`, or of a `.caffemodel`:
            `VGG_ILSVRC_16_layers.caffemodel`, or another file with the layers that are needed.
        mean_pixel: What is subtracted from blue, green and red.
        name: Name of the model.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, 224, 224, 3)`, to features
        `(batch, 4096)` or `(batch, 1000)`. While training, half of fc6 and fc7 is dropped on the
        way to the next layer. Layers are named as in `keras.applications`.

    Raises:
        OSError: If the weights cannot be downloaded.

    Source:
        Simonyan and Zisserman, 2014, https://arxiv.org/abs/1409.1556
    """
    images = keras.Input((VGG_SIDE, VGG_SIDE, 3), name="image")
    x = Preprocess(offset=_negative(mean_pixel), channel_order="bgr", name="preprocess")(images)
    from_caffe = _is_caffemodel(weights)
    try:
        network = keras.applications.VGG16(
            weights=None if from_caffe else weights, input_tensor=x, classifier_activation=None
        )
    except Exception as error:  # Keras raises a bare Exception where a download fails
        if weights != "imagenet":
            raise
        raise OSError(
            "The ImageNet weights of VGG-16 could not be downloaded. With no network, give "
            "`weights` the path of vgg16_weights_tf_dim_ordering_tf_kernels.h5 or of "
            "VGG_ILSVRC_16_layers.caffemodel, or use `efficientnet_lite0()`, whose weights come "
            "with a Python package."
        ) from error
    *_, flatten, fc6, fc7, fc8 = network.layers
    features = _up_to(features, {"fc6": fc6, "fc7": fc7, "fc8": fc8}, flatten.output)
    return _model(images, features, weights if from_caffe else None, name)


def _conv(x, name, filters, kernel_size, strides=1, padding="same", groups=1, **fillers):
    kind = layers.Conv2D if groups == 1 else GroupedConv2D
    return kind(
        filters,
        kernel_size,
        strides,
        padding,
        groups=groups,
        activation="relu",
        name=name,
        **fillers,
    )(x)


def _fillers():
    """How the authors' video nets begin; new ones a layer, else all would draw the same numbers."""
    return {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01),
        "bias_initializer": keras.initializers.Constant(0.1),
    }


def _up_to(features, fully_connected, x):
    """Ends at `features`, which is not dropped: that is for the network that reads it."""
    if features not in fully_connected:
        *others, last = (f'"{name}"' for name in fully_connected)
        raise ValueError(f"`features` must be {', '.join(others)} or {last}, got {features!r}.")
    for name, layer in fully_connected.items():
        x = layer(x)
        if name == features:
            return x
        x = layers.Dropout(0.5, name=name.replace("fc", "drop"))(x)


def _model(images, features, weights, name):
    model = keras.Model(images, features, name=name)
    if _is_caffemodel(weights):
        from zoo.models.backbones.caffe_layouts import (  # needs the protobuf package
            CaffeWeights,
            fill_encoder,
        )

        fill_encoder(model, CaffeWeights(weights))
    elif weights is not None:
        model.load_weights(weights)
    return model


def _is_caffemodel(weights):
    """Whether these are Caffe's: any file without an ending of Keras, since some have none."""
    return weights not in (None, "imagenet") and not str(weights).endswith((".h5", ".keras"))


def _negative(numbers):
    return [-number for number in numbers]
