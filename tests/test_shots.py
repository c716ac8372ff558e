"""A video comes as shots, cut where the scene changes, in memory that does not grow with it."""

import weakref

import numpy as np
import pytest
from made_videos import write_video
from PIL import Image

from zoo.data.videos import shots
from zoo.data.videos.reading import VideoError, read_frames
from zoo.data.videos.shots import stream_shots

RATE = 10  # frames per second
RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 160, 30), (30, 30, 200), (200, 200, 30)
COLORS = {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}


def scene(color, num_frames):
    """A square that moves over a background of one color."""
    frames = []
    for number in range(num_frames):
        frame = np.full((48, 64, 3), color, np.uint8)
        left = 2 * (number % 24)
        frame[20:32, left : left + 12] = 240
        frames.append(frame)
    return frames


def color_of(frame):
    """Names the background of a frame of `scene`."""
    corner = frame[:8, :8].reshape(-1, 3).mean(axis=0)
    return min(COLORS, key=lambda name: np.abs(corner - COLORS[name]).sum())


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four shots, of 1.5, 3, 1 and 2 seconds."""
    scenes = [scene(RED, 15), scene(GREEN, 30), scene(BLUE, 10), scene(RED, 20)]
    path = tmp_path_factory.mktemp("videos") / "film.mp4"
    return write_video(path, sum(scenes, []), rate=RATE)


def test_shots_begin_where_the_scene_changes(film):
    found = list(stream_shots(film, 2, color_of))
    assert [(start, end) for start, end, _ in found] == [
        (0, 1.5),
        (1.5, 4.5),
        (4.5, 5.5),
        (5.5, 7.5),
    ]
    for (_, _, colors), color in zip(found, ("red", "green", "blue", "red"), strict=True):
        assert set(colors) == {color}


@pytest.mark.parametrize(("per_second", "expected"), [(0.1, [1, 1, 1, 1]), (2, [3, 6, 2, 4])])
def test_each_shot_has_its_first_frame_and_as_many_a_second_as_asked(film, per_second, expected):
    assert [len(colors) for *_, colors in stream_shots(film, per_second, color_of)] == expected


def test_every_frame_is_given_where_all_are_asked_for(film):
    assert [len(colors) for *_, colors in stream_shots(film, RATE, color_of)] == [15, 30, 10, 20]


def test_video_without_cuts_is_one_shot(tmp_path):
    path = write_video(tmp_path / "a.mp4", scene(BLUE, 60), rate=RATE)
    assert list(stream_shots(path, 1, color_of)) == [(0, 6, ["blue"] * 6)]


def test_video_of_one_frame_is_one_shot(tmp_path):
    Image.fromarray(scene(GREEN, 1)[0]).save(tmp_path / "frame.png")
    assert list(stream_shots(tmp_path, 2, color_of)) == [(0, 0, ["green"])]


def test_shot_shorter_than_a_blink_is_no_shot_of_its_own(tmp_path):
    frames = [*scene(RED, 20), *scene(GREEN, 20), *scene(YELLOW, 3), *scene(BLUE, 20)]
    path = write_video(tmp_path / "a.mp4", frames, rate=RATE)
    assert [start for start, *_ in stream_shots(path, 2, color_of)] == [0, 2, 4]


def test_folder_of_pictures_has_shots_too(tmp_path):
    for number, frame in enumerate([*scene(RED, 8), *scene(BLUE, 8)]):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    found = list(stream_shots(tmp_path, 1, color_of))  # a picture a second
    assert found == [(0, 8, ["red"] * 8), (8, 16, ["blue"] * 8)]


@pytest.mark.parametrize("seconds", [1.9, 2.0, 2.9, 3.0, 3.1, 7.4, 8.0])
def test_long_take_is_split_into_parts_of_about_one_length(tmp_path, seconds):
    path = write_video(tmp_path / "a.mp4", scene(GREEN, round(seconds * RATE)), rate=RATE)
    parts = list(stream_shots(path, 2, color_of, longest=2.0))
    starts, ends, samples = zip(*parts, strict=True)
    assert starts[0] == 0 and starts[1:] == ends[:-1] and ends[-1] == pytest.approx(seconds)
    lengths = np.subtract(ends, starts)
    np.testing.assert_allclose(lengths[:-1], 2)
    assert 1 - 1e-6 <= lengths[-1] <= 3 + 1e-6
    for length, sampled in zip(lengths, samples, strict=True):
        assert len(sampled) == int(np.ceil(length * 2 - 1e-6))


def test_every_part_has_a_frame_where_frames_are_far_apart(tmp_path):
    frames = scene(GREEN, 6)
    path = write_video(tmp_path / "a.mp4", frames, rate=RATE, pts=[0, 1, 90, 91, 400, 401])
    parts = list(stream_shots(path, 2, color_of, longest=2.0))
    starts, ends, samples = zip(*parts, strict=True)
    assert starts[0] == 0 and starts[1:] == ends[:-1] and all(samples)
    assert sum(map(len, samples)) <= len(frames)


def test_frames_are_read_once_and_few_are_held_at_a_time(film, monkeypatch):
    alive, most = [], []

    def watched(path):
        for frame in read_frames(path):
            alive.append(weakref.ref(frame))
            most.append(sum(reference() is not None for reference in alive))
            yield frame

    monkeypatch.setattr(shots, "read_frames", watched)
    stream = stream_shots(film, 2, color_of)
    assert next(stream)[:2] == (0, 1.5)
    assert len(alive) == 15 + shots.WINDOW + 1  # the shot is given while the next one begins
    assert len(list(stream)) == 3 and len(alive) == 75
    assert max(most) <= shots.WINDOW + 4


def test_damaged_video_gives_its_good_shots_first(film, monkeypatch):
    def breaks(path):
        for number, frame in enumerate(read_frames(path)):
            if number == 50:
                raise VideoError(path, "damaged: 50 frames could be read")
            yield frame

    monkeypatch.setattr(shots, "read_frames", breaks)
    good = []
    with pytest.raises(VideoError, match="50 frames"):
        good.extend(stream_shots(film, 2, color_of))
    assert [(start, end) for start, end, _ in good] == [(0, 1.5), (1.5, 4.5)]


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(VideoError, match="missing"):
        list(stream_shots(tmp_path / "gone.mp4", 2, color_of))


@pytest.mark.parametrize("numbers", [{"samples_per_second": 0}, {"longest": -1.0}])
def test_numbers_that_are_not_above_0_are_refused(film, numbers):
    arguments = {"samples_per_second": 2, "prepare": color_of, **numbers}
    with pytest.raises(ValueError, match="above 0"):
        list(stream_shots(film, **arguments))
