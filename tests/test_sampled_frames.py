"""Frames spread over a video are the right ones, in short and in long videos."""

import numpy as np
import pytest
from made_videos import grey, number_of, numbered, write_video
from PIL import Image

from zoo.data.videos import sampled_frames
from zoo.data.videos.reading import VideoError
from zoo.data.videos.sampled_frames import center_squares, sample_frames


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "numbered.mp4"
    return str(write_video(path, map(numbered, range(40)), rate=20))


@pytest.mark.parametrize("one_pass", [600, 10])
def test_frames_are_spread_from_the_first_to_the_last(video, one_pass, monkeypatch):
    monkeypatch.setattr(sampled_frames, "ONE_PASS", one_pass)
    assert [number_of(frame) for frame in sample_frames(video, 4)] == [0, 13, 26, 39]
    # At ten frames a second there is every second frame.
    assert [number_of(frame) for frame in sample_frames(video, 4, rate=10)] == [0, 12, 26, 38]


def test_short_video_gives_all_of_its_frames(video, tmp_path):
    short = str(write_video(tmp_path / "short.mp4", map(numbered, range(3)), rate=20))
    assert [number_of(frame) for frame in sample_frames(short, 8)] == [0, 1, 2]


def test_folder_of_pictures_is_a_video(tmp_path):
    for n in range(5):
        Image.fromarray(numbered(n)).save(tmp_path / f"{n}.png")
    assert [number_of(frame) for frame in sample_frames(str(tmp_path), 3)] == [0, 2, 4]


def test_video_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        sample_frames(str(tmp_path / "gone.mp4"), 8)


def test_squares_are_the_middle_of_the_resized_frames():
    frames = grey([50, 60], height=40, width=80)
    for frame in frames:
        frame[:, :20] = frame[:, 60:] = 255  # left and right of the middle
    squares = center_squares(frames, (20, 40), 16)
    assert squares.shape == (2, 16, 16, 3) and squares.dtype == np.float32
    np.testing.assert_allclose(squares[:, :, 2:14].mean(axis=(1, 2, 3)), [50, 60], atol=0.5)


def test_frames_of_different_sizes_become_squares_of_one_size():
    frames = [*grey([50], height=40, width=80), *grey([60], height=20, width=40)]
    squares = center_squares(frames, (20, 40), 16)
    np.testing.assert_allclose(squares.mean(axis=(1, 2, 3)), [50, 60], atol=0.5)
