"""Clips cover a video as the paper's do, and one crop is shared by all frames."""

import numpy as np
import pytest

from zoo.data.videos.clips import (
    VIEWS,
    clip_frames,
    clip_starts,
    crop_frames,
    random_start,
    resize_frames,
    square_frames,
    uniform_starts,
    view_frames,
)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [(1, [0]), (16, [0]), (17, [0, 1]), (24, [0, 8]), (25, [0, 8, 9]), (32, [0, 8, 16])],
)
def test_last_clip_ends_with_the_video(num_frames, expected):
    assert clip_starts(num_frames) == expected


def test_random_starts_reach_the_first_and_the_last_clip_and_no_further():
    chances = np.random.default_rng(0).random(2000)
    assert {random_start(c, 20, 16) for c in chances} == {0, 1, 2, 3, 4}
    assert {random_start(c, 3, 16) for c in chances} == {0}


def test_largest_chance_below_one_is_still_a_clip_of_the_video():
    below = np.nextafter(np.float32(1), np.float32(0))
    assert random_start(below, 2**25, 16) <= 2**25 - 16


def test_uniform_clips_begin_and_end_with_the_video():
    assert uniform_starts(100, 3, 16) == [0, 42, 84]
    assert uniform_starts(100, 1, 16) == [42]
    assert uniform_starts(5, 3, 16) == [0, 0, 0]


def test_short_video_is_padded_and_says_where():
    frames, there = clip_frames(0, 2, 4)
    assert frames.tolist() == [0, 1, 1, 1] and there.tolist() == [True, True, False, False]


def gradient(time=2, height=6, width=8):
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows * 10 + columns, rows, columns], -1)
    return np.stack([frame + n for n in range(time)]).astype("float32")


def test_crop_and_mirror_are_the_same_for_all_frames():
    frames = gradient()
    crop = crop_frames(frames, 4, np.array([1.0, 0.0], "float32"), mirror=True).numpy()
    np.testing.assert_array_equal(crop, frames[:, 2:6, 0:4][:, :, ::-1])


def test_ten_views_are_corners_and_centre_and_their_mirror_images():
    frames = gradient()
    views = dict(zip(VIEWS, view_frames(frames, 4, VIEWS).numpy(), strict=True))
    np.testing.assert_array_equal(views["center"], frames[:, 1:5, 2:6])
    np.testing.assert_array_equal(views["bottom_right"], frames[:, 2:, 4:])
    np.testing.assert_array_equal(views["mirror_top_left"], frames[:, :4, :4][:, :, ::-1])
    assert len(views) == 10


def test_mirrored_flow_turns_motion_to_the_left_into_motion_to_the_right():
    frames = np.full((1, 4, 4, 3), 128.0, "float32")
    frames[..., 0] = 128 + 16 * 3  # three pixels to the right
    mirrored = crop_frames(frames, 4, np.zeros(2, "float32"), True, "flow").numpy()
    assert (mirrored[..., 0] == 128 - 16 * 3).all() and (mirrored[..., 1:] == 128).all()
    frames[..., 0] = 0
    assert crop_frames(frames, 4, np.zeros(2, "float32"), True, "flow").numpy().max() == 255


def test_frames_of_the_right_size_are_not_touched():
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3)).astype("uint8")
    np.testing.assert_array_equal(resize_frames(frames, (6, 8)), frames)
    assert resize_frames(frames, (3, 4)).shape == (2, 3, 4, 3)


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize("frame_size", [(6, 8), (5, 9)])
def test_bytes_are_cut_out_as_floats_are(frame_size, modality):
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3)).astype("uint8")
    frames[0, 0, 0, 0] = 0
    cut = 4, np.array([0.5, 0.25], "float32"), True, modality
    np.testing.assert_array_equal(
        square_frames(frames, frame_size, *cut),
        crop_frames(resize_frames(frames, frame_size), *cut),
    )


def test_square_larger_than_the_frames_is_refused():
    with pytest.raises(ValueError, match="224 pixels does not fit into frames of 6 x 8"):
        crop_frames(gradient(), 224, np.zeros(2, "float32"), False)
