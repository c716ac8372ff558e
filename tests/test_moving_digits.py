import sys

import numpy as np
import pytest

from zoo.data.datasets import moving_digits
from zoo.data.datasets.synthetic.moving_digits import (
    MOTIONS,
    SPEEDS,
    _all_pictures,
    digit_pictures,
    render,
)

CHI_SQUARE_7 = 24.3  # exceeded once in a thousand by chance, 7 degrees of freedom


def position(frames):
    """Where the ink is along each axis, in -pi..pi on the circle that the frame's borders close."""
    rows, columns = frames.sum(axis=2), frames.sum(axis=1)
    return np.angle(np.fft.fft(np.stack([rows, columns]).astype(float))[..., 1])


def shift_between(before, after):
    """The (y, x) by which a picture has moved, where the correlation is highest."""
    spectra = np.conj(np.fft.fft2(before.astype(float))) * np.fft.fft2(after.astype(float))
    shift = np.unravel_index(np.fft.ifft2(spectra).real.argmax(), before.shape)
    return [(s + size // 2) % size - size // 2 for s, size in zip(shift, before.shape, strict=True)]


def test_clips_are_grey_pictures_of_rgb():
    clips, labels, class_names = moving_digits("train", num_clips=20, seed=3)
    assert clips.shape == (20, 16, 32, 32, 3) and clips.dtype == np.uint8
    assert (clips == clips[..., :1]).all()
    assert (clips.max(axis=(2, 3, 4)) > 200).all()
    assert sorted(np.bincount(labels)) == [2, 2, 2, 2, 3, 3, 3, 3]
    assert class_names == list(MOTIONS) and len(set(class_names)) == 8


def test_motion_between_two_frames_is_the_label():
    clips, labels, class_names = moving_digits("val", num_clips=64, seed=0, num_frames=5)
    speeds = set()
    for clip, label in zip(clips[..., 0], labels, strict=True):
        shift = shift_between(clip[0], clip[1])
        assert all(shift_between(*pair) == shift for pair in zip(clip[1:], clip[2:], strict=False))
        speeds.add(max(map(abs, shift)))
        words = {-1: ("up", "left"), 0: ("", ""), 1: ("down", "right")}
        down, right = np.sign(shift)
        name = "-".join(filter(None, [words[down][0], words[right][1]]))
        assert class_names[label] == name
    assert speeds == set(SPEEDS)


@pytest.mark.parametrize("number", [0, 5])
def test_position_in_a_single_frame_is_uniform_in_every_class(number):
    clips, labels, class_names = moving_digits("train", num_clips=1600, seed=1, num_frames=6)
    for label in range(len(class_names)):
        for angles in position(clips[labels == label, number, :, :, 0]):
            counts = np.histogram(angles, bins=8, range=(-np.pi, np.pi))[0]
            assert ((counts - 25) ** 2 / 25).sum() < CHI_SQUARE_7


def test_ink_of_a_frame_tells_neither_time_nor_class():
    clips, labels, _ = moving_digits("train", num_clips=800, seed=2, num_frames=6, size=20)
    pixels = np.sort(clips[..., 0].reshape(800, 6, -1))
    assert (pixels == pixels[:, :1]).all()  # none lost at a border, none fades
    ink = pixels[:, 0].sum(axis=1)
    counts = np.bincount(labels[ink > np.median(ink)], minlength=8)
    assert ((counts - 50) ** 2 / 25).sum() < CHI_SQUARE_7  # of 100, half are above: variance 25


def test_same_seed_gives_the_same_clips():
    first, again, other = (moving_digits("train", 8, seed) for seed in (5, 5, 6))
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_same_seed_moves_otherwise_in_another_split():
    assert list(moving_digits("train", 64, 5)[1]) != list(moving_digits("val", 64, 5)[1])
    assert (moving_digits("val", 8, 5)[0] == moving_digits("dev", 8, 5)[0]).all()


def test_splits_share_no_picture_and_leave_none_out():
    pictures = {split: digit_pictures(split)[0] for split in ("train", "val", "test")}
    sets = [{picture.tobytes() for picture in p} for p in pictures.values()]
    assert sum(map(len, pictures.values())) == 1797
    assert len(set.union(*sets)) == sum(map(len, sets))


@pytest.mark.parametrize(("split", "share"), [("train", 0.7), ("val", 0.15), ("test", 0.15)])
def test_every_split_has_its_share_of_every_digit(split, share):
    digits = digit_pictures(split)[1]
    assert np.abs(np.bincount(digits) - 180 * share).max() < 5


def test_clips_show_pictures_of_their_own_split():
    pictures = {picture.tobytes() for picture in digit_pictures("test")[0]}
    clips, _, _ = moving_digits("test", num_clips=3, seed=0, num_frames=1)
    for frame in clips[:, 0, :, :, 0]:
        rolled = (np.roll(frame, (y, x), (0, 1)) for y in range(32) for x in range(32))
        assert any(np.ascontiguousarray(r[:16, :16]).tobytes() in pictures for r in rolled)


def test_picture_that_leaves_the_frame_comes_in_on_the_other_side():
    digit = np.array([[1, 2], [3, 4]], "uint8")
    (frame,) = render(digit, np.array([[-1, 2]]), size=3)
    assert frame.tolist() == [[4, 0, 3], [0, 0, 0], [2, 0, 1]]
    (again,) = render(digit, np.array([[2, -4]]), size=3)
    assert (again == frame).all()


def test_frame_smaller_than_the_pictures_is_refused():
    assert moving_digits("train", 1, seed=0, size=16)[0].shape[2:4] == (16, 16)
    with pytest.raises(ValueError, match="16 pixels a side, got `size=15`"):
        moving_digits("train", 1, seed=0, size=15)
    with pytest.raises(ValueError, match="A split is"):
        moving_digits("all", 1, seed=0)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    _all_pictures.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # as if not installed
    with pytest.raises(ModuleNotFoundError, match=r'pip install "lrcn-zoo\[demo\]"'):
        moving_digits("train", 1, seed=0)
