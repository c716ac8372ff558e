import os
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo.data.features import image_features
from zoo.data.features.image_features import encode_images
from zoo.data.images.decode import read_images
from zoo.data.images.views import VIEWS, view_images

SIZE = 16
seen = tf.Variable(0, dtype=tf.int64, trainable=False)  # squares that went through an encoder


@keras.saving.register_keras_serializable("test_records")
class Count(keras.layers.Layer):
    def call(self, inputs):
        seen.assign_add(tf.shape(inputs, out_type=tf.int64)[0])
        return inputs


def tiny_encoder(seed=0, units=3):
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(Count()(image))
    x = keras.layers.AveragePooling2D(SIZE // 2)(x)
    initializer = keras.initializers.RandomNormal(seed=seed)
    return keras.Model(image, keras.layers.Dense(units, kernel_initializer=initializer)(
        keras.layers.Flatten()(x)
    ))  # fmt: skip


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(image_features, "SHARD", 4)


@pytest.fixture
def paths(tmp_path):
    """Ten pictures; 3 is no picture and 8 is missing."""
    rng = np.random.default_rng(0)
    found = [tmp_path / f"{number}.png" for number in range(10)]
    for path in found:
        Image.fromarray(rng.integers(0, 256, (20, 28, 3), dtype=np.uint8)).save(path)
    found[3].write_bytes(b"not found")
    found[8].unlink()
    return found


@pytest.fixture
def encode(paths, tmp_path):
    """Encodes into the test's cache; gives features, readable, and the squares encoded for it."""

    def run(encoder, some=paths, **options):
        before = int(seen)
        features, readable = encode_images(encoder, some, SIZE, tmp_path / "cache", **options)
        return features, readable, int(seen) - before

    return run


def cached(tmp_path):
    return sorted((tmp_path / "cache").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_features_are_those_of_the_encoder(encode, paths):
    encoder = tiny_encoder()
    features, readable, count = encode(encoder, batch_size=3)
    assert features.shape == (10, 1, 3) and features.dtype == np.float32
    assert np.flatnonzero(~readable).tolist() == [3, 8]
    assert not features[~readable].any()
    images = np.stack([image for _, image in read_images(paths, SIZE).as_numpy_iterator()])
    np.testing.assert_allclose(features[readable, 0], encoder(images), rtol=1e-5, atol=1e-6)
    assert count == 8


def test_second_call_encodes_nothing_and_shows_no_bar(encode, capfd):
    encoder = tiny_encoder()
    first, first_readable, _ = encode(encoder)
    assert "encoding pictures" in capfd.readouterr().err
    second, second_readable, count = encode(encoder)
    assert count == 0 and "encoding" not in capfd.readouterr().err
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first_readable, second_readable)


def test_equal_encoder_is_recognised_whatever_its_layers_are_called(encode):
    first, second = tiny_encoder(), tiny_encoder()
    assert first.layers[-1].name != second.layers[-1].name
    second.trainable = False
    second.compile("sgd", "mse")
    encode(first)
    assert encode(second)[2] == 0


def test_changed_weights_or_configuration_are_noticed(encode):
    encoder = tiny_encoder()
    features, _, _ = encode(encoder)
    kernel, bias = encoder.layers[-1].get_weights()
    encoder.layers[-1].set_weights([kernel, bias + 1])
    changed, readable, count = encode(encoder)
    assert count == 8
    np.testing.assert_allclose(changed[readable], features[readable] + 1, atol=1e-5)
    encoder.layers[-1].activation = keras.activations.relu
    assert encode(encoder)[2] == 8


def test_changed_file_costs_only_its_shard(encode, paths):
    encoder = tiny_encoder()
    before, _, _ = encode(encoder)
    Image.new("RGB", (20, 28), "red").save(paths[5])
    after, _, count = encode(encoder)
    assert count == 4  # pictures 4 to 7
    assert np.flatnonzero((before != after).any(axis=(1, 2))).tolist() == [5]
    os.utime(paths[0], ns=(time.time_ns(), time.time_ns()))
    assert encode(encoder)[2] == 3  # pictures 0 to 3, of which 3 is unreadable


def test_missing_picture_that_arrives_is_encoded(encode, paths):
    encoder = tiny_encoder()
    encode(encoder)
    paths[9].rename(paths[8])
    _, readable, count = encode(encoder)
    assert count == 1 and readable[8] and not readable[9]


def test_picture_that_failed_for_a_passing_reason_is_encoded_later(encode, paths, monkeypatch):
    encoder = tiny_encoder()

    def fails(paths, read):
        return whole(paths, read).filter(lambda row, *_: row[0] != 1)  # 1, 5 and 9

    whole = image_features.read_each
    monkeypatch.setattr(image_features, "read_each", fails)
    assert np.flatnonzero(encode(encoder)[1]).tolist() == [0, 2, 4, 6, 7]
    monkeypatch.setattr(image_features, "read_each", whole)
    assert np.flatnonzero(~encode(encoder)[1]).tolist() == [3, 8]


def test_killed_run_goes_on_with_the_shard_it_was_in(encode, tmp_path, monkeypatch):
    encoder = tiny_encoder()
    expected, _, _ = encode(encoder)
    for file in (tmp_path / "cache").iterdir():
        file.unlink()
    save = image_features._save

    def killed(file, **arrays):
        if cached(tmp_path):
            raise KeyboardInterrupt
        save(file, **arrays)

    monkeypatch.setattr(image_features, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        encode(encoder)
    monkeypatch.setattr(image_features, "_save", save)
    features, _, count = encode(encoder)
    assert count == 5  # of 8: shard 0, with 3 pictures, was there
    np.testing.assert_array_equal(features, expected)
    cached(tmp_path)[1].unlink()
    assert encode(encoder)[2] == 4


@pytest.mark.parametrize("damage", ["cut off", "a changed byte", "empty", "text", "wrong shape"])
def test_damaged_shard_is_encoded_again_with_a_warning(encode, paths, tmp_path, damage):
    encoder = tiny_encoder()
    expected, _, _ = encode(encoder, paths[:4])
    file = cached(tmp_path)[0]
    content = file.read_bytes()
    if damage == "wrong shape":
        np.savez(file, features=np.zeros((4, 2), np.float32), readable=np.ones(4, bool))
    else:
        middle = content.index(b"NUMPY") + 150
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        contents = {
            "cut off": content[:300],
            "a changed byte": changed,
            "empty": b"",
            "text": b"hi",
        }
        file.write_bytes(contents[damage])
    with pytest.warns(UserWarning, match="is damaged .*; encoding it again"):
        features, _, count = encode(encoder, paths[:4])
    assert count == 3
    np.testing.assert_array_equal(features, expected)
    assert encode(encoder, paths[:4])[2] == 0


def test_no_file_is_left_beside_the_cache_when_writing_fails(encode, tmp_path, monkeypatch):
    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        encode(tiny_encoder())
    assert cached(tmp_path) == []


def test_view_that_is_there_is_not_encoded_again(encode):
    encoder = tiny_encoder()
    whole, _, _ = encode(encoder)
    both, readable, count = encode(encoder, views=("mirror", "full", "center"))
    assert count == 2 * 8
    np.testing.assert_array_equal(both[:, 1:2], whole)
    assert encode(encoder, views=("center", "mirror"))[2] == 0
    assert np.flatnonzero(~readable).tolist() == [3, 8]
    assert not both[~readable].any()


def test_picture_that_occurs_twice_is_encoded_once(encode, paths):
    twice = [paths[2], paths[1], paths[2], paths[8]]
    features, readable, count = encode(tiny_encoder(), twice)
    assert count == 2
    assert readable.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(features[0], features[2])
    assert (features[0] != features[1]).any()


def test_no_paths_give_no_features(encode):
    features, readable, _ = encode(tiny_encoder(units=5), [])
    assert features.shape == (0, 1, 5) and readable.shape == (0,)


def test_unknown_view_is_an_error_that_lists_the_known_ones(encode):
    with pytest.raises(ValueError, match="mirror_top_left.*got .'upside_down'"):
        encode(tiny_encoder(), views=("upside_down",))


def test_encoder_with_a_feature_map_is_an_error(encode):
    image = keras.Input((SIZE, SIZE, 3))
    with pytest.raises(ValueError, match="image_encoder"):
        encode(keras.Model(image, keras.layers.Conv2D(2, 3)(image)))


def test_views_are_crops_and_mirrors():
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    views = dict(zip(VIEWS, view_images(image, 28, VIEWS).numpy(), strict=True))
    assert len(views) == 12
    crops = {"top_left": (0, 0), "top_right": (0, 8), "bottom_left": (4, 0)}
    crops |= {"bottom_right": (4, 8), "center": (2, 4)}
    for name, (top, left) in crops.items():
        crop = image[top : top + 28, left : left + 56]
        expected = view_images(crop, 28, ["full"])[0]
        np.testing.assert_array_equal(views[name], expected)
        np.testing.assert_array_equal(views[f"mirror_{name}"], expected[:, ::-1])
    mirrored = view_images(image[:, ::-1], 28, ["full"])[0]
    np.testing.assert_allclose(views["mirror"], mirrored, atol=1e-3)


def test_smallest_picture_has_all_views():
    assert view_images(np.full((1, 1, 3), 7, np.uint8), 4, VIEWS).numpy().tolist() == np.full(
        (12, 4, 4, 3), 7.0
    ).tolist()  # fmt: skip
