"""The index of photographs notices what is new, changed, gone or unreadable, and nothing else."""

import os

import keras
import numpy as np
import pytest
from PIL import Image

from zoo.data.features import image_features, photo_index
from zoo.data.features.photo_index import index_photos
from zoo.models.backbones import image_encoder


def make_encoder(seed=0):
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(5, 3, strides=4)])
    return image_encoder(network, (1 / 255, 0.0))


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


@pytest.fixture
def photos(tmp_path):
    paths = [str(tmp_path / f"{n}.png") for n in range(5)]
    for n, path in enumerate(paths):
        Image.new("RGB", (20, 30), (50 * n, 10, 200 - 40 * n)).save(path)
    return paths


def counts(index):
    return index.num_encoded, index.num_removed, len(index.skipped)


def test_features_are_kept_and_only_what_changed_is_encoded(encoder, photos, tmp_path, monkeypatch):
    file, asked = str(tmp_path / "index" / "a.npz"), []
    monkeypatch.setattr(
        photo_index,
        "encode_images",
        lambda encoder, paths, *rest: (
            asked.append([os.path.basename(path) for path in paths])
            or image_features.encode_images(encoder, paths, *rest)
        ),
    )
    first = index_photos(encoder, photos[:4], file)
    assert counts(first) == (4, 0, 0) and first.paths == photos[:4]
    again = index_photos(encoder, photos[:4], file)
    assert counts(again) == (0, 0, 0)
    np.testing.assert_array_equal(again.features, first.features)
    Image.new("RGB", (9, 9), "white").save(photos[1])
    os.utime(photos[1], ns=(1, 1))
    changed = index_photos(encoder, photos[1:], file)
    assert counts(changed) == (2, 1, 0) and changed.paths == photos[1:]
    assert asked == [["0.png", "1.png", "2.png", "3.png"], ["1.png", "4.png"]]
    np.testing.assert_array_equal(changed.features[1:3], first.features[2:4])
    whole, _ = image_features.encode_images(encoder, photos[1:], 16, tmp_path / "fresh")
    np.testing.assert_allclose(changed.features, whole[:, 0], rtol=2e-3)
    assert os.listdir(tmp_path / "index") == ["a.npz"]


def test_unreadable_photo_is_skipped_with_its_reason(encoder, photos, tmp_path):
    with open(photos[2], "wb") as file:
        file.write(b"<html>")
    index = index_photos(encoder, [*photos, str(tmp_path / "gone.png")], str(tmp_path / "i.npz"))
    assert counts(index) == (4, 0, 2) and photos[2] not in index.paths
    assert "not an image" in index.skipped[photos[2]]
    assert "no such file" in index.skipped[str(tmp_path / "gone.png")]
    again = index_photos(encoder, photos, str(tmp_path / "i.npz"))
    assert counts(again) == (0, 1, 1)


def test_another_encoder_or_a_damaged_file_means_to_index_again(encoder, photos, tmp_path):
    file = str(tmp_path / "i.npz")
    index_photos(encoder, photos, file)
    assert counts(index_photos(make_encoder(1), photos, file)) == (5, 0, 0)
    with open(file, "wb") as stream:
        stream.write(b"PK half")
    with pytest.warns(UserWarning, match="damaged"):
        assert counts(index_photos(encoder, photos, file)) == (5, 0, 0)


def test_stopped_run_leaves_no_index_and_its_shards_are_used(
    encoder, photos, tmp_path, monkeypatch
):
    file = str(tmp_path / "i.npz")
    monkeypatch.setattr(image_features, "SHARD", 2)
    save = image_features._save

    def stop_after_two(path, **arrays):
        save(path, **arrays)
        if len(os.listdir(f"{file}.shards")) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(image_features, "_save", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        index_photos(encoder, photos, file)
    assert not os.path.exists(file)
    kept = sorted(os.listdir(f"{file}.shards"))
    written = []
    monkeypatch.setattr(
        image_features, "_save", lambda path, **a: written.append(path) or save(path, **a)
    )
    assert counts(index_photos(encoder, photos, file)) == (5, 0, 0)
    assert len(kept) == 2 and len(written) == 1
