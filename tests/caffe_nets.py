"""Caffe's CNNs as their authors describe them, and what OpenCV's reader makes of them."""

import numpy as np
import pytest


def convolution(name, bottom, num_output, kernel_size, **options):
    """Text of a convolution and the ReLU that follows in place."""
    options = {"num_output": num_output, "kernel_size": kernel_size, **options}
    settings = " ".join(f"{key}: {value}" for key, value in options.items())
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ {settings} }} }}\n" + relu(name)
    )


def relu(bottom):
    """Text of a ReLU in place."""
    return f'layer {{ name: "relu_{bottom}" type: "ReLU" bottom: "{bottom}" top: "{bottom}" }}\n'


def pool_and_norm(n, bottom, norm=True, kernel_size=3):
    """Text of a maximum pooling by two, and a normalisation over channels after it."""
    text = (
        f'layer {{ name: "pool{n}" type: "Pooling" bottom: "{bottom}" top: "pool{n}" '
        f"pooling_param {{ pool: MAX kernel_size: {kernel_size} stride: 2 }} }}\n"
    )
    if norm:
        text += (
            f'layer {{ name: "norm{n}" type: "LRN" bottom: "pool{n}" top: "norm{n}" '
            "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }\n"
        )
    return text


def inner_product(name, bottom, num_output, rectified=True):
    """Text of a fully connected layer."""
    text = (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" '
        f"inner_product_param {{ num_output: {num_output} }} }}\n"
    )
    return text + relu(name) if rectified else text


def prototxt(side, layers):
    """Text of a net of BGR pictures without their mean."""
    shape = f"input_shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }}"
    return f'name: "net"\ninput: "data"\n{shape}\n{layers}'


# The nets as their authors describe them: text, and shapes of all blobs.
CAFFENET = prototxt(
    227,
    convolution("conv1", "data", 96, 11, stride=4)
    + pool_and_norm(1, "conv1")
    + convolution("conv2", "norm1", 256, 5, pad=2, group=2)
    + pool_and_norm(2, "conv2")
    + convolution("conv3", "norm2", 384, 3, pad=1)
    + convolution("conv4", "conv3", 384, 3, pad=1, group=2)
    + convolution("conv5", "conv4", 256, 3, pad=1, group=2)
    + pool_and_norm(5, "conv5", norm=False)
    + inner_product("fc6", "pool5", 4096)
    + inner_product("fc7", "fc6", 4096)
    + inner_product("fc8", "fc7", 1000, rectified=False),
)
CAFFENET_SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
HYBRID = prototxt(
    227,
    convolution("conv1", "data", 96, 7, stride=2)
    + pool_and_norm(1, "conv1")
    + convolution("conv2", "norm1", 384, 5, stride=2, group=2)
    + pool_and_norm(2, "conv2")
    + convolution("conv3", "norm2", 512, 3, pad=1)
    + convolution("conv4", "conv3", 512, 3, pad=1, group=2)
    + convolution("conv5", "conv4", 384, 3, pad=1, group=2)
    + pool_and_norm(5, "conv5", norm=False)
    + inner_product("fc6", "pool5", 4096)
    + inner_product("fc7", "fc6", 4096),
)
HYBRID_SHAPES = {
    "conv1": (96, 3, 7, 7),
    "conv2": (384, 48, 5, 5),
    "conv3": (512, 384, 3, 3),
    "conv4": (512, 256, 3, 3),
    "conv5": (384, 256, 3, 3),
    "fc6": (4096, 13824),
    "fc7": (4096, 4096),
}


def vgg():
    """Text and shapes of VGG-16."""
    text, shapes, bottom, before = "", {}, "data", 3
    for block, (count, width) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for n in range(1, count + 1):
            name = f"conv{block}_{n}"
            text += convolution(name, bottom, width, 3, pad=1)
            shapes[name] = (width, before, 3, 3)
            bottom, before = name, width
        text += pool_and_norm(block, bottom, norm=False, kernel_size=2)
        bottom = f"pool{block}"
    text += inner_product("fc6", "pool5", 4096) + inner_product("fc7", "fc6", 4096)
    text += inner_product("fc8", "fc7", 1000, rectified=False)
    shapes |= {"fc6": (4096, 25088), "fc7": (4096, 4096), "fc8": (1000, 4096)}
    return prototxt(224, text), shapes


VGG, VGG_SHAPES = vgg()


def random_weights(shapes, seed=0):
    """Weights that keep the strength of activations: dict from names to `[matrix, bias]`."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        spread = np.float32((2 / np.prod(shape[1:])) ** 0.5)
        matrix = rng.standard_normal(shape, "float32") * spread
        weights[name] = [matrix, rng.standard_normal(shape[0], "float32")]
    return weights


def opencv_layers(folder, text, caffemodel, names, pixels, mean_bgr):
    """What OpenCV, whose reader of Caffe's files is its own, computes of a picture.

    Args:
        folder: Folder to write the text into.
        text: A `.prototxt`.
        caffemodel: Path.
        names: Layers; those with a ReLU after it.
        pixels: RGB in 0..255 `(height, width, 3)`.
        mean_bgr: What is subtracted from blue, green and red.

    Returns:
        List of arrays, `(1, height, width, channels)` or `(1, features)`.
    """
    cv2 = pytest.importorskip("cv2")
    (folder / "net.prototxt").write_text(text)
    net = cv2.dnn.readNetFromCaffe(str(folder / "net.prototxt"), str(caffemodel))
    net.enableFusion(False)  # otherwise layers in the middle are not there to be asked for
    net.setInput(cv2.dnn.blobFromImage(pixels[..., ::-1], mean=mean_bgr, swapRB=False), "data")
    outputs = net.forward([f"relu_{name}" if f'"relu_{name}"' in text else name for name in names])
    return [out.transpose(0, 2, 3, 1) if out.ndim == 4 else out for out in outputs]
