"""Videos of moving digits show what their sentences tell, and only test videos what is held out."""

import numpy as np
import pytest

from zoo.data.datasets import roles_of
from zoo.data.datasets.synthetic.described_digits import (
    DIGITS,
    DIRECTIONS,
    ROLES,
    described_digits,
    is_held_out,
)
from zoo.data.datasets.synthetic.moving_digits import SPEEDS, digit_pictures, placed_digits

CHI_SQUARE_7 = 24.3  # exceeded once in a thousand by chance, 7 degrees of freedom
SPLITS = ("train", "val", "test")


def events(video):
    """Digits and motions of a video, in order, read from its labels."""
    labels = video.labels
    told = [(labels["digit"], labels["motion"]), (labels["next_digit"], labels["next_motion"])]
    told = told[: ROLES["activity"].index(labels["activity"])]
    return [(DIGITS.index(digit), DIRECTIONS.index(motion)) for digit, motion in told]


def held_out(video):
    return [is_held_out(*event, order) for order, event in enumerate(events(video))]


def steps(clip):
    """By how many pixels (y, x) the ink moves from each frame to the next, borders meeting."""
    size = clip.shape[1]
    ink = clip[..., 0].astype(float)
    turns = np.angle(np.fft.fft(np.stack([ink.sum(axis=2), ink.sum(axis=1)]))[..., 1])
    pixels = np.rint(-np.diff(turns) * size / (2 * np.pi)).astype(int)
    return ((pixels + size // 2) % size - size // 2).T  # (frames - 1, 2)


def cuts(clip):
    """Where another picture comes: frames that do not show the ink of the one before."""
    ink = np.sort(clip[..., 0].reshape(len(clip), -1))
    return 1 + np.flatnonzero((ink[1:] != ink[:-1]).any(axis=1))


def shown_digits(frame, pictures):
    """The digits of the pictures that a frame shows somewhere."""
    frame = frame[..., 0]
    rolled = (np.roll(frame, (y, x), (0, 1)) for y in range(32) for x in range(32))
    keys = (np.ascontiguousarray(r[:16, :16]).tobytes() for r in rolled)
    return {pictures[key] for key in keys if key in pictures}


def pictures_of(split):
    pictures = zip(*digit_pictures(split), strict=True)
    return {picture.tobytes(): int(digit) for picture, digit in pictures}


def test_one_motion_of_each_digit_is_held_out_and_every_motion_at_both_places():
    held = [(d, m, o) for d in range(10) for m in range(4) for o in (0, 1) if is_held_out(d, m, o)]
    assert sorted(digit for digit, _, _ in held) == list(range(10))
    assert {(motion, order) for _, motion, order in held} == {
        (motion, order) for motion in range(4) for order in (0, 1)
    }


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_video_of_training_or_validation_shows_what_is_held_out(split):
    _, videos = described_digits(split, 400, seed=0)
    assert not any(any(held_out(video)) for video in videos)
    shown = {(event, o) for video in videos for o, event in enumerate(events(video))}
    # What a held out combination is made of has been seen, each by itself.
    for order in (0, 1):
        assert {digit for (digit, _), o in shown if o == order} == set(range(10))
        assert {motion for (_, motion), o in shown if o == order} == set(range(4))


def test_every_test_video_shows_something_that_is_held_out():
    _, videos = described_digits("test", 300, seed=0)
    assert all(any(held_out(video)) for video in videos)
    shown = {(*e, o) for video in videos for o, e in enumerate(events(video)) if held_out(video)[o]}
    assert len(shown) == 10


def test_videos_are_grey_pictures_of_rgb_and_are_not_of_one_length():
    clips, videos = described_digits("train", 60, seed=1, size=24)
    assert len(clips) == len(videos) == 60
    for clip, video in zip(clips, videos, strict=True):
        assert clip.dtype == np.uint8 and clip.shape[1:] == (24, 24, 3)
        assert (clip == clip[..., :1]).all() and (clip.max(axis=(1, 2, 3)) > 200).all()
        count = len(events(video))
        assert 5 * count <= len(clip) <= 10 * count
        with pytest.raises(ValueError, match="read-only"):
            clip[0] = 0
    assert len(set(map(len, clips))) > 8
    assert 10 < sum(len(events(video)) == 1 for video in videos) < 35


@pytest.mark.parametrize("split", SPLITS)
def test_frames_show_pictures_of_their_split_of_the_digits_that_are_told(split):
    pictures = pictures_of(split)
    others = {key for other in SPLITS if other != split for key in pictures_of(other)}
    assert not others & set(pictures)
    clips, videos = described_digits(split, 6, seed=2)
    for clip, video in zip(clips, videos, strict=True):
        (first, _), (last, _) = events(video)[0], events(video)[-1]
        assert first in shown_digits(clip[0], pictures)
        assert last in shown_digits(clip[-1], pictures)


@pytest.mark.parametrize("split", SPLITS)
def test_motion_of_the_ink_is_the_motion_that_is_told(split):
    speeds = set()
    for clip, video in zip(*described_digits(split, 40, seed=3), strict=True):
        bounds = [0, *cuts(clip), len(clip)]
        assert len(bounds) == len(events(video)) + 1
        for (_, motion), start, end in zip(events(video), bounds, bounds[1:], strict=False):
            (step,) = np.unique(steps(clip[start:end]), axis=0)
            words = {(0, -1): "left", (0, 1): "right", (-1, 0): "up", (1, 0): "down"}
            assert words[tuple(np.sign(step).tolist())] == DIRECTIONS[motion]
            speeds.add(int(np.abs(step).max()))
    assert speeds == set(SPEEDS)


@pytest.mark.parametrize("number", [0, -1])
def test_place_in_a_single_frame_is_uniform_whatever_the_motion(number):
    clips, videos = described_digits("train", 900, seed=4)
    motions = np.array([events(video)[number][1] for video in videos])
    frames = np.stack([clip[number, ..., 0] for clip in clips]).astype(float)
    for motion in range(4):
        shown = frames[motions == motion]
        for ink in (shown.sum(axis=2), shown.sum(axis=1)):
            counts = np.histogram(np.angle(np.fft.fft(ink)[:, 1]), 8, (-np.pi, np.pi))[0]
            expected = len(shown) / 8
            assert ((counts - expected) ** 2 / expected).sum() < CHI_SQUARE_7


def test_captions_tell_the_labels_in_order_and_labels_are_of_the_roles():
    _, videos = described_digits("val", 60, seed=5)
    for video in videos:
        assert list(video.labels) == list(ROLES)
        assert all(label in ROLES[role] for role, label in video.labels.items())
        told = [(DIGITS[digit], DIRECTIONS[motion]) for digit, motion in events(video)]
        expected = [word for event in told for word in event]
        if len(told) == 1:
            assert video.labels["next_digit"] == video.labels["next_motion"] == "none"
        assert len(set(video.captions)) == 2
        for caption in video.captions:
            words = [w for w in caption.split() if w in (*DIGITS, *DIRECTIONS)]
            # "one sees a ..." names no digit
            assert words[caption.startswith("one sees") :] == expected
    assert len({video.video_id for video in videos}) == 60


def test_roles_are_those_that_training_videos_fill():
    found = roles_of(described_digits("train", 400, seed=0)[1])
    assert {role: sorted(labels) for role, labels in found.items()} == {
        role: sorted(labels) for role, labels in ROLES.items()
    }
    assert all(labels[0] == "none" for labels in ROLES.values()) and next(iter(ROLES)) == "activity"


def test_same_seed_gives_the_same_videos_and_other_splits_give_others():
    first, again, other = (described_digits("train", 8, seed) for seed in (5, 5, 6))
    assert first[1] == again[1] and all(map(np.array_equal, first[0], again[0]))
    assert first[1] != other[1]
    train, val, dev = (described_digits(split, 8, 5)[1] for split in ("train", "val", "dev"))
    assert val == dev and [v.labels for v in train] != [v.labels for v in val]
    with pytest.raises(ValueError, match="A split is"):
        described_digits("all", 1, seed=0)


@pytest.mark.parametrize("size", [32, 20])
def test_places_of_single_digits_are_where_the_ink_is(size):
    frames, digits, places = placed_digits("val", 40, seed=0, size=size)
    assert frames.shape == (40, size, size, 3) and frames.dtype == np.uint8
    assert digits.shape == (40,) and digits.dtype == np.int64
    assert places.shape == (40, 4) and places.dtype == np.float32
    assert (frames == frames[..., :1]).all()
    pictures = pictures_of("val")
    corners = np.arctan2(places[:, :2], places[:, 2:]) * size / (2 * np.pi)
    np.testing.assert_allclose(corners, np.rint(corners), atol=1e-4)
    for frame, digit, corner in zip(frames[..., 0], digits, corners, strict=True):
        moved = np.roll(frame, tuple(-np.rint(corner).astype(int)), (0, 1))
        assert pictures[np.ascontiguousarray(moved[:16, :16]).tobytes()] == digit
        assert not moved[16:].any() and not moved[:, 16:].any()
    assert len(set(digits.tolist())) == 10 and len(np.unique(np.rint(corners), axis=0)) > 30


def test_same_seed_gives_the_same_single_digits_and_other_splits_give_others():
    first, again, other = (placed_digits("train", 30, seed) for seed in (5, 5, 6))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[2], other[2])
    assert not np.array_equal(first[2], placed_digits("val", 30, 5)[2])
    assert all(map(np.array_equal, placed_digits("val", 3, 5), placed_digits("dev", 3, 5)))
    with pytest.raises(ValueError, match="A split is"):
        placed_digits("all", 1, seed=0)
