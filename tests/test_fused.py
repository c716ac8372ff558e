"""Convolution and normalisation in one: the same features, faster."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from zoo.models.layers.fused_convolution import FusedConvolution, fuse_batch_normalization


def small_network():
    """Every kind of pair: strided, dilated, grouped, depthwise, with and without biases."""
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False)(image)
    x = layers.BatchNormalization(epsilon=0.1)(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2, groups=2)(x)
    x = shortcut = layers.BatchNormalization(scale=False)(x)
    x = layers.DepthwiseConv2D(3, 1, "same", depth_multiplier=2, use_bias=False)(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.Conv2D(8, 1, activation="relu")(x)  # not linear: is left alone
    x = layers.BatchNormalization()(x)
    x = layers.Add()([x, shortcut])
    network = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    rng = np.random.default_rng(2)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            shapes = [weight.shape for weight in layer.get_weights()]
            layer.set_weights([rng.uniform(0.5, 1.5, shape) for shape in shapes])
    return network


def pictures(count=4):
    return np.random.default_rng(3).normal(size=(count, 12, 12, 3)).astype("float32")


def features(network, training=False):
    return ops.convert_to_numpy(network(pictures(), training=training))


def test_features_are_those_of_the_layers_one_by_one():
    expected = features(small_network())
    network = fuse_batch_normalization(small_network())
    np.testing.assert_allclose(features(network), expected, rtol=1e-5, atol=1e-6)


def test_three_of_four_pairs_are_computed_in_one(monkeypatch):
    calls, plain = [], FusedConvolution.call
    monkeypatch.setattr(
        FusedConvolution, "call", lambda self, *a, **k: calls.append(1) or plain(self, *a, **k)
    )
    network = fuse_batch_normalization(small_network())
    calls.clear()
    features(network)
    assert len(calls) == 3


def test_training_takes_the_statistics_of_the_batch_and_moves_them():
    expected, network = small_network(), fuse_batch_normalization(small_network())
    np.testing.assert_allclose(
        features(network, training=True), features(expected, training=True), rtol=1e-5, atol=1e-6
    )
    for weight, other in zip(network.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5)


def test_weights_changed_afterwards_count():
    network, expected = fuse_batch_normalization(small_network()), small_network()
    weights = [weight * 1.1 for weight in network.get_weights()]
    network.set_weights(weights)
    expected.set_weights(weights)
    np.testing.assert_allclose(features(network), features(expected), rtol=1e-5, atol=1e-6)


def test_a_network_inside_a_network_is_fused_too():
    inner, image = small_network(), keras.Input((12, 12, 3))
    outer = keras.Model(image, inner(image * 2.0))
    expected = features(outer)
    fused = fuse_batch_normalization(outer)
    assert fused is not outer and fused.layers[-1] is not inner
    np.testing.assert_allclose(features(fused), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features(outer), expected)  # it stays as it was


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_what_is_saved_stays_as_it_was(tmp_path, ending):
    plain, network = small_network(), fuse_batch_normalization(small_network())
    network.set_weights([weight * 1.1 for weight in network.get_weights()])
    path = tmp_path / f"network{ending}"
    if ending == ".keras":
        network.save(path)
        plain = keras.saving.load_model(path)
    else:
        network.save_weights(path)
        plain.load_weights(path)
    np.testing.assert_allclose(features(plain), features(network), rtol=1e-5, atol=1e-6)


def test_a_normalisation_over_another_axis_is_left_alone():
    image = keras.Input((12, 12, 3))
    x = layers.BatchNormalization(axis=1)(layers.Conv2D(3, 1, use_bias=False)(image))
    network = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    rng = np.random.default_rng(4)
    network.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in network.get_weights()])
    expected = features(network)
    fused = fuse_batch_normalization(network)
    np.testing.assert_allclose(features(fused), expected, rtol=1e-5, atol=1e-6)


def test_a_model_with_a_call_of_its_own_is_left_alone():
    class Twice(keras.Model):
        def call(self, inputs, training=False):
            return 2 * super().call(inputs, training=training)

    plain = small_network()
    twice = Twice(plain.inputs, plain.outputs)
    before = features(twice)
    assert fuse_batch_normalization(twice) is twice
    np.testing.assert_array_equal(features(twice), before)


def test_half_precision_computes_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = small_network()
    finally:
        keras.config.set_dtype_policy("float32")
    expected = ops.convert_to_numpy(ops.cast(network(pictures()), "float32"))
    found = fuse_batch_normalization(network)(pictures())
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(found, "float32")), expected, 0.05, 0.05
    )
