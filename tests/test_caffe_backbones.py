"""Caffe's CNNs: against OpenCV's reader of Caffe's files, against Keras, and by their parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from caffe_files import write_net
from caffe_nets import (
    CAFFENET,
    CAFFENET_SHAPES,
    HYBRID,
    HYBRID_SHAPES,
    VGG,
    VGG_SHAPES,
    opencv_layers,
    random_weights,
)
from made_pictures import pictures, run

from zoo.models.backbones import caffe_nets, caffenet, caffenet_hybrid, vgg16


def check(folder, encoder, prototxt, path, names, mean_bgr):
    pixels = pictures(encoder.input_shape[1])[0]
    layers = [encoder.get_layer(name).output for name in names.values()]
    ours = keras.Model(encoder.input, layers)(pixels[None])
    theirs = opencv_layers(folder, prototxt, path, list(names), pixels, mean_bgr)
    for name, out, expected in zip(names, ours, theirs, strict=True):
        out = keras.ops.convert_to_numpy(out)
        assert out.shape == expected.shape, name
        assert expected.std() > 0.01 and (expected != 0).mean() > 0.1, name  # it says something
        assert np.abs(out - expected).max() < 1e-4 * np.abs(expected).max(), name


NAMES = ["conv1", "pool1", "norm1", "conv2", "pool2", "norm2", "conv3", "conv4", "conv5", "pool5"]


def test_caffenet_computes_what_opencv_computes_of_the_same_file(tmp_path):
    path = write_net(tmp_path / "bvlc.caffemodel", random_weights(CAFFENET_SHAPES))
    encoder = caffenet("fc8", weights=path)
    names = {name: name for name in [*NAMES, "fc6", "fc7", "fc8"]}
    check(tmp_path, encoder, CAFFENET, path, names, (104, 117, 123))


def test_hybrid_computes_what_opencv_computes_of_the_same_file(tmp_path):
    # An old file: `layers`, shapes of four sides.
    weights = random_weights(HYBRID_SHAPES)
    path = write_net(tmp_path / "hyb2_iter_310000", weights, generation=1, legacy=True)
    encoder = caffenet_hybrid("fc7", weights=path)
    names = {name: name for name in [*NAMES, "fc6", "fc7"]}
    check(tmp_path, encoder, HYBRID, path, names, (103.939, 116.779, 128.68))


def test_vgg16_computes_what_opencv_computes_of_the_same_file(tmp_path):
    path = write_net(tmp_path / "vgg.caffemodel", random_weights(VGG_SHAPES), 1, legacy=True)
    encoder = vgg16("fc8", weights=str(path))
    names = {f"conv{b}_{n}": f"block{b}_conv{n}" for b in range(1, 6) for n in (1, 2)}
    names |= {f"conv{b}_3": f"block{b}_conv3" for b in range(3, 6)}
    names |= {f"pool{b}": f"block{b}_pool" for b in range(1, 6)}
    names |= {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    check(tmp_path, encoder, VGG, path, names, (103.939, 116.779, 123.68))


def test_channels_are_normalised_as_in_caffe():
    x = np.random.default_rng(0).normal(scale=100, size=(2, 3, 4, 11)).astype("float32")
    expected = np.empty_like(x)
    for channel in range(11):
        window = x[..., max(channel - 2, 0) : channel + 3].astype("float64")
        expected[..., channel] = x[..., channel] / (1 + 1e-4 / 5 * (window**2).sum(-1)) ** 0.75
    layer = caffe_nets.LocalResponseNormalization()
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


@pytest.mark.parametrize("build", [caffenet, caffenet_hybrid])
def test_nothing_in_the_graph_asks_for_xla_which_a_model_server_refuses(build):
    encoder = build()
    function = tf.function(lambda images: encoder(images, training=False), autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec((None, 227, 227, 3))).graph
    library = graph.as_graph_def().library.function
    assert not any(part.attr["_XlaMustCompile"].b for part in library)


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


def test_vgg16_is_that_of_keras_with_its_weights_and_preprocessing(monkeypatch, tmp_path):
    monkeypatch.setattr(caffe_nets, "VGG_SIDE", 32)
    network = keras.applications.VGG16(
        weights=None, input_shape=(32, 32, 3), classifier_activation=None
    )
    network.save_weights(tmp_path / "vgg16.weights.h5")
    images = pictures(32)
    expected = run(network, keras.applications.vgg16.preprocess_input(images.copy()))
    fc6, fc7, fc8 = (
        run(vgg16(features, weights=tmp_path / "vgg16.weights.h5"), images)
        for features in ("fc6", "fc7", "fc8")
    )
    np.testing.assert_allclose(fc8, expected, rtol=1e-4, atol=1e-4)
    assert fc7.shape == (2, 4096)
    for before, layer, after in ((fc6, network.layers[-2], fc7), (fc7, network.layers[-1], fc8)):
        kernel, bias = layer.get_weights()
        scores = before @ kernel + bias
        scores = np.maximum(scores, 0) if after is fc7 else scores
        np.testing.assert_allclose(scores, after, rtol=1e-3, atol=1e-3)


def test_failed_download_says_how_to_go_on(monkeypatch):
    def offline(**kwargs):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(OSError, match="efficientnet_lite0"):
        vgg16(weights="imagenet")
