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


def five_convolutions(convolutions, *fully_connected):
    """Text and shapes of CaffeNet and its like: five convolutions, three poolings, two norms.

    Args:
        convolutions: Settings of conv1 to conv5.
        *fully_connected: Outputs of fc6, ...; a layer of 1000 is not rectified.
    """
    text, shapes, bottom, before = "", {}, "data", 3
    for n, settings in enumerate(convolutions, 1):
        text += convolution(f"conv{n}", bottom, **settings)
        side = settings["kernel_size"]
        inputs = before // settings.get("group", 1)
        shapes[f"conv{n}"] = (settings["num_output"], inputs, side, side)
        bottom, before = f"conv{n}", settings["num_output"]
        if n in (1, 2, 5):
            text += pool_and_norm(n, bottom, norm=n < 5)
            bottom = f"norm{n}" if n < 5 else "pool5"
    before *= 36  # maps of 6 x 6
    for n, outputs in enumerate(fully_connected, 6):
        text += inner_product(f"fc{n}", bottom, outputs, rectified=outputs != 1000)
        shapes[f"fc{n}"] = (outputs, before)
        bottom, before = f"fc{n}", outputs
    return prototxt(227, text), shapes


# The nets as their authors describe them: text, and shapes of all matrices.
CAFFENET, CAFFENET_SHAPES = five_convolutions(
    [
        {"num_output": 96, "kernel_size": 11, "stride": 4},
        {"num_output": 256, "kernel_size": 5, "pad": 2, "group": 2},
        {"num_output": 384, "kernel_size": 3, "pad": 1},
        {"num_output": 384, "kernel_size": 3, "pad": 1, "group": 2},
        {"num_output": 256, "kernel_size": 3, "pad": 1, "group": 2},
    ],
    *(4096, 4096, 1000),
)
HYBRID, HYBRID_SHAPES = five_convolutions(
    [
        {"num_output": 96, "kernel_size": 7, "stride": 2},
        {"num_output": 384, "kernel_size": 5, "stride": 2, "group": 2},
        {"num_output": 512, "kernel_size": 3, "pad": 1},
        {"num_output": 512, "kernel_size": 3, "pad": 1, "group": 2},
        {"num_output": 384, "kernel_size": 3, "pad": 1, "group": 2},
    ],
    *(4096, 4096),
)


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
