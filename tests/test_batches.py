"""Batches depend on seed and epoch alone, lose nobody, and put features and words together."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo.data.batches.captions import (
    CROP,
    Share,
    epoch_order,
    feature_batches,
    image_batches,
    sampling_batches,
    sharpen,
)

SIZE = 16


@pytest.mark.parametrize("lengths", [None, np.arange(23) % 7])
def test_an_epoch_sees_everyone_and_is_topped_up_from_its_beginning(lengths):
    order = epoch_order(23, 5, seed=3, epoch=1, lengths=lengths)
    assert order.shape == (5, 5)
    seen, counts = np.unique(order, return_counts=True)
    assert seen.tolist() == list(range(23))
    assert counts.sum() == 25 and counts.max() == 2
    if lengths is None:
        assert order.ravel()[-2:].tolist() == order.ravel()[:2].tolist()


def test_a_batch_larger_than_the_data_repeats_it():
    assert np.bincount(epoch_order(3, 8, seed=0, epoch=0).ravel()).tolist() in (
        [3, 3, 2],
        [3, 2, 3],
        [2, 3, 3],
    )


def test_the_order_is_a_function_of_seed_and_epoch():
    lengths = np.arange(40) % 9
    for options in ({}, {"lengths": lengths}):
        order = functools.partial(epoch_order, 40, 4, **options)
        np.testing.assert_array_equal(order(seed=1, epoch=2), order(seed=1, epoch=2))
        assert (order(seed=1, epoch=2) != order(seed=1, epoch=3)).any()
        assert (order(seed=1, epoch=2) != order(seed=2, epoch=2)).any()


def test_captions_of_like_length_share_a_batch():
    lengths = np.random.default_rng(0).integers(4, 21, 2000)

    def padding(order):
        return (lengths[order].max(axis=1, keepdims=True) - lengths[order]).sum()

    grouped = epoch_order(2000, 16, seed=0, epoch=0, lengths=lengths)
    assert padding(grouped) < padding(epoch_order(2000, 16, seed=0, epoch=0)) / 5
    # The short ones do not all come first.
    means = lengths[grouped].mean(axis=1)
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def captions(rng, num_captions=22, max_words=9):
    token_ids = rng.integers(1, 50, (num_captions, max_words), "int32")
    token_ids[np.arange(max_words) >= rng.integers(1, max_words, (num_captions, 1))] = 0
    return token_ids


def arrays(batches):
    return list(batches.as_numpy_iterator())


def assert_same_batches(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_features_belong_to_the_captions_they_come_with():
    rng = np.random.default_rng(1)
    token_ids = captions(rng)
    token_ids[:, 0] = np.arange(22) + 1  # tells captions apart
    image_index = rng.integers(6, size=22)
    # An image's features say which image and view they are.
    features = np.stack(np.meshgrid(np.arange(6), np.arange(2), indexing="ij"), -1)
    features = np.concatenate([features, features + 0.5], -1).astype("float32")
    batches = feature_batches(features, image_index, token_ids, 4, seed=0, epoch=0)
    assert len(batches) == 6
    seen, views = [], []
    for inputs, targets, weights in arrays(batches):
        caption = targets[:, 0] - 1
        seen += caption.tolist()
        views += inputs["features"][:, 1].tolist()
        np.testing.assert_array_equal(inputs["features"][:, 0], image_index[caption])
        words = targets.shape[1]
        assert words == (token_ids[caption] != 0).sum(1).max() + 1  # and the end
        np.testing.assert_array_equal(targets, token_ids[caption][:, :words])
        np.testing.assert_array_equal(inputs["token_ids"][:, 0], 0)
        np.testing.assert_array_equal(inputs["token_ids"][:, 1:], targets[:, :-1])
        np.testing.assert_array_equal(weights.sum(1), (targets != 0).sum(1) + 1)
        assert set(np.unique(weights)) <= {0, 1}
    assert set(seen) == set(range(22))
    assert set(views) == {0, 1}
    assert inputs["features"].dtype == weights.dtype == np.float32
    assert inputs["token_ids"].dtype == targets.dtype == np.int32


def picture(path, seed, height=40, width=32, **options):
    """A picture whose red tells columns apart, and whose green rows."""
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    pixels[..., 2] = seed
    Image.fromarray(pixels).save(path, **options)
    return str(path)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [picture(folder / f"ünï {n}.png", 20 * n) for n in range(7)]


def grouped_captions():
    token_ids = captions(np.random.default_rng(2), 7 * 3).reshape(7, 3, -1)
    token_ids[:, 0, 0] = np.arange(7) + 1
    token_ids[4, 2] = 0  # this picture has two captions only
    return token_ids


def test_images_come_cropped_and_mirrored_with_all_their_captions(paths):
    token_ids = grouped_captions()
    batches = image_batches(paths, token_ids, SIZE, 2, seed=5, epoch=0)
    assert len(batches) == 4
    seen, mirrored, corners = [], set(), set()
    for epoch in range(3):
        for inputs, targets, weights in arrays(
            image_batches(paths, token_ids, SIZE, 2, seed=5, epoch=epoch)
        ):
            images = inputs["image"]
            assert images.shape == (2, SIZE, SIZE, 3) and images.dtype == np.float32
            assert images.min() >= 0 and images.max() <= 255
            which = targets[:, 0, 0] - 1
            seen += which.tolist()
            np.testing.assert_allclose(images[..., 2].mean((1, 2)), 20 * which, atol=0.1)
            words = targets.shape[-1]
            np.testing.assert_array_equal(targets, token_ids[which][..., :words])
            np.testing.assert_array_equal(inputs["token_ids"][..., 1:], targets[..., :-1])
            has_words = (targets[..., 0] != 0).astype(int)
            np.testing.assert_array_equal(weights.sum(-1), ((targets != 0).sum(-1) + 1) * has_words)
            for image in images:
                row = image[SIZE // 2, :, 0]
                mirrored.add(bool(row[0] > row[-1]))
                # A crop shows 7/8 of the columns and of the rows, none less and none more.
                assert np.ptp(row) == pytest.approx(255 * CROP * (SIZE - 1) / SIZE, abs=12)
                corners.add((round(row.min()), round(image[0, 0, 1])))
    assert set(seen) == set(range(7))
    assert mirrored == {False, True}
    assert len(corners) > 6


def test_the_smallest_pictures_can_be_cropped(tmp_path):
    paths = [picture(tmp_path / f"{n}.png", 9, *size) for n, size in enumerate([(1, 1), (9, 8)])]
    token_ids = np.full((2, 1, 3), 5, "int32")
    for epoch in range(3):
        assert len(arrays(image_batches(paths, token_ids, SIZE, 2, 0, epoch))) == 1


def test_augmented_crops_have_60_to_100_percent_of_each_side(paths):
    shares = []
    for epoch in range(8):
        batches = image_batches(paths, grouped_captions(), SIZE, 2, 5, epoch, augment=True)
        again = image_batches(paths, grouped_captions(), SIZE, 2, 5, epoch, augment=True)
        for (inputs, *_), (same, *_) in zip(arrays(batches), arrays(again), strict=True):
            np.testing.assert_array_equal(inputs["image"], same["image"])
            assert inputs["image"].min() >= 0 and inputs["image"].max() <= 255
            shares += [np.ptp(image[SIZE // 2, :, 0]) / 255 for image in inputs["image"]]
    assert 0.5 < min(shares) < 0.7
    assert 0.9 < max(shares) < 1.01


def test_sharpen_adds_the_difference_from_the_mean_of_3_by_3_pixels():
    image = np.random.default_rng(0).uniform(100, 150, (5, 6, 3)).astype("float32")
    mean = np.mean([image[1 + y : 4 + y, 1 + x : 5 + x] for y in (-1, 0, 1) for x in (-1, 0, 1)], 0)
    inner = image[1:4, 1:5]
    for amount in (-1.0, 0.0, 0.7):
        found = sharpen(image, amount).numpy()
        assert found.shape == image.shape
        np.testing.assert_allclose(found[1:4, 1:5], inner + amount * (inner - mean), atol=1e-3)


def test_sampling_batches_say_which_image_they_see():
    features = np.arange(9, dtype="float32")[:, None, None] + np.zeros((1, 2, 3), "float32")
    features[:, 1] += 0.5
    batches = arrays(sampling_batches(features, 4, 6, batch_size=2, seed=0, epoch=0))
    assert len(batches) == 5
    for batch in batches:
        np.testing.assert_array_equal(np.floor(batch["features"][:, 0]), batch["image_index"])
        assert batch["uniforms"].shape == (2, 4, 6) and batch["uniforms"].dtype == np.float32
        assert batch["uniforms"].min() >= 0 and batch["uniforms"].max() < 1
    indices = np.concatenate([batch["image_index"] for batch in batches])
    assert set(indices) == set(range(9))
    assert {float(f) % 1 for batch in batches for f in batch["features"][:, 0]} == {0, 0.5}
    uniforms = np.concatenate([batch["uniforms"] for batch in batches]).ravel()
    assert len(np.unique(uniforms)) > 0.99 * len(uniforms)


@pytest.fixture(params=["features", "images", "samples"])
def epochs(request, paths):
    """`batches(seed, epoch, first_batch)` of each kind."""
    rng = np.random.default_rng(4)
    features = rng.normal(size=(7, 2, 3)).astype("float32")
    if request.param == "features":
        return functools.partial(
            feature_batches, features, rng.integers(7, size=22), captions(rng), 4
        )
    if request.param == "images":
        return functools.partial(image_batches, paths, grouped_captions(), SIZE, 2)
    return functools.partial(sampling_batches, features, 3, 6, 2)


def test_batches_are_the_same_for_the_same_seed_and_epoch(epochs):
    first = arrays(epochs(seed=1, epoch=1))
    assert_same_batches(first, arrays(epochs(seed=1, epoch=1)))
    for other in ({"seed": 1, "epoch": 2}, {"seed": 2, "epoch": 1}):
        with pytest.raises(AssertionError):
            assert_same_batches(first, arrays(epochs(**other)))


def test_a_run_that_goes_on_sees_exactly_the_batches_that_are_left(epochs):
    whole = arrays(epochs(seed=1, epoch=1))
    for first_batch in range(len(whole) + 1):
        rest = epochs(seed=1, epoch=1, first_batch=first_batch)
        assert len(rest) == len(whole) - first_batch
        assert_same_batches(arrays(rest), whole[first_batch:])


def assert_rows_of(whole, own, rows):
    """Rows of a batch, cut to no more padding than they need themselves."""

    def same(one, other):
        np.testing.assert_array_equal(one[rows][tuple(map(slice, other.shape))], other)

    tf.nest.map_structure(same, whole, own)


def test_workers_read_the_rows_of_every_batch_between_them(epochs):
    whole, first_batch = arrays(epochs(seed=1, epoch=1)), 1
    rows = np.split(np.arange(len(tf.nest.flatten(whole[0])[0])), 2)
    for worker in range(2):
        share = Share(worker, workers=2)
        own = epochs(seed=1, epoch=1, first_batch=first_batch, share=share)
        assert len(own) == len(whole) - first_batch
        for batch, part in zip(whole[first_batch:], arrays(own), strict=True):
            assert_rows_of(batch, part, rows[worker])


def test_devices_of_a_worker_take_batches_one_after_the_other(epochs):
    whole = arrays(epochs(seed=1, epoch=1))
    rows = np.split(np.arange(len(tf.nest.flatten(whole[0])[0])), 2)
    own = arrays(epochs(seed=1, epoch=1, share=Share(devices=2)))
    assert len(own) == 2 * len(whole)
    for n, part in enumerate(own):
        assert_rows_of(whole[n // 2], part, rows[n % 2])


def test_a_batch_that_workers_cannot_share_is_refused():
    with pytest.raises(ValueError, match="equal division"):
        Share(workers=3).of(np.zeros((2, 4)))
