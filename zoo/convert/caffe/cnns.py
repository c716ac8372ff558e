"""The CNN in a `.caffemodel`: which one it is, and how it becomes an image encoder."""

from zoo.models.backbones.caffe_layouts import fill_encoder
from zoo.models.backbones.caffe_nets import caffenet, caffenet_hybrid, vgg16

FULLY_CONNECTED = ("fc8", "fc7", "fc6")  # the last of them that a file has gives the features
FIRST_KERNELS = {11: caffenet, 7: caffenet_hybrid}  # sides of conv1 in pixels


def read_cnn(weights, mean_pixel, classifier=None):
    """Builds and fills the CNN that a file holds, up to its last layer that is no classifier.

    Args:
        weights: `zoo.models.backbones.caffe_layouts.CaffeWeights`.
        mean_pixel: What is subtracted from blue, green and red.
        classifier: Name of a layer that is not the CNN's.

    Returns:
        A `keras.Model`, `caffenet`, `caffenet_hybrid` or `vgg16`, and what it is: its name and
        the layer that gives the features.

    Raises:
        ValueError: If there is none of these.
    """
    if "conv1_1" in weights.shapes:
        build = vgg16
    elif "conv1" in weights.shapes:
        side = weights.shape_of("conv1", 0)[-1]
        if side not in FIRST_KERNELS:
            raise ValueError(
                f"{weights.path} has a CNN that begins with {side} x {side} pixels. Expected "
                "CaffeNet (11), the hybrid of the paper (7) or VGG-16 (conv1_1)."
            )
        build = FIRST_KERNELS[side]
    else:
        raise ValueError(
            f"{weights.path} has no CNN, no layer conv1 or conv1_1. It has: "
            f"{', '.join(weights.shapes)}. Is it a part of a net?"
        )
    last = (name for name in FULLY_CONNECTED if name in weights.shapes and name != classifier)
    features = next(last, "fc6")
    encoder = build(features, mean_pixel=mean_pixel)
    fill_encoder(encoder, weights)
    return encoder, f"{encoder.name}, {features}"
