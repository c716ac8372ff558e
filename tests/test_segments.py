"""A video comes as segments of a few frames, which cover it, in memory that does not grow."""

import weakref

import numpy as np
import pytest
from made_videos import number_of, numbered, write_video
from PIL import Image

from zoo.data.videos import segments
from zoo.data.videos.reading import VideoError, read_frames
from zoo.data.videos.segments import segment_bounds, stream_segments


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Four seconds, 40 numbered frames."""
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    return write_video(path, map(numbered, range(40)), rate=10)


def told(path, rate=None, seconds=None, max_frames=3):
    """The segments of a video, its frames by their numbers."""
    return list(stream_segments(path, rate, seconds, max_frames, number_of))


@pytest.mark.parametrize("rate", [0.5, 3, 25])
@pytest.mark.parametrize("seconds", [0.7, 2, 10.0])
@pytest.mark.parametrize("num_frames", [1, 7, 60, 333])
def test_bounds_cover_the_video_without_gap_in_segments_of_about_one_length(
    rate, seconds, num_frames
):
    bounds = segment_bounds(np.arange(num_frames) / rate, seconds)
    starts, ends = zip(*bounds, strict=True)
    assert starts[0] == 0 and starts[1:] == ends[:-1]
    assert ends[-1] == pytest.approx(num_frames / rate if num_frames > 1 else 0, abs=1e-6)
    lengths = np.subtract(ends, starts)
    np.testing.assert_allclose(lengths[:-1], seconds)
    if len(bounds) > 1:
        assert 0.5 * seconds - 1e-6 <= lengths[-1]
    assert lengths[-1] <= 1.5 * seconds + 1e-6


def test_video_without_a_length_of_segments_is_one_segment():
    assert segment_bounds(np.arange(100) / 4, None) == [(0.0, 25.0)]
    assert segment_bounds(np.array([0.0]), None) == [(0.0, 0.0)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, [(0, 4, [0, 20, 39])]),
        (100, [(0, 4, [0, 20, 39])]),
        (2, [(0, 2, [0, 10, 19]), (2, 4, [20, 30, 39])]),
        (1.5, [(0, 1.5, [0, 7, 14]), (1.5, 3, [15, 22, 29]), (3, 4, [30, 34, 39])]),
        (3, [(0, 4, [0, 20, 39])]),  # what is left is too little for another
    ],
)
def test_frames_of_a_segment_are_its_own_and_spread_over_it(video, seconds, expected):
    assert told(video, seconds=seconds) == expected


def test_segment_of_few_frames_gives_all_of_them(video):
    assert [frames for _, _, frames in told(video, rate=1, seconds=2)] == [[0, 10], [20, 30]]
    every = [number for _, _, frames in told(video, None, 1.3, 99) for number in frames]
    assert every == list(range(40))


def test_segments_in_which_no_frame_is_shown_are_left_out(tmp_path):
    path = write_video(tmp_path / "a.mp4", map(numbered, range(4)), rate=10, pts=[0, 1, 35, 36])
    assert told(path, seconds=1) == [(0, 1, [0, 1]), (3, 3.7, [2, 3])]


def test_folder_of_pictures_is_a_video(tmp_path):
    for number in range(12):
        Image.fromarray(numbered(number)).save(tmp_path / f"frame{number}.png")
    assert told(tmp_path, seconds=5, max_frames=2) == [(0, 5, [0, 4]), (5, 12, [5, 11])]
    assert told(tmp_path, rate=4, seconds=1.5, max_frames=2) == [
        (0, 1.5, [0, 5]),
        (1.5, 3, [6, 11]),
    ]


def test_only_chosen_frames_are_prepared_and_one_frame_is_held_at_a_time(video, monkeypatch):
    alive, most, prepared = [], [], []

    def watched(path, rate):
        for frame in read_frames(path, rate):
            alive.append(weakref.ref(frame))
            most.append(sum(reference() is not None for reference in alive))
            yield frame

    def prepare(frame):
        assert frame.dtype == np.uint8 and frame.shape == (48, 64, 3)
        prepared.append(number_of(frame))
        return frame.mean()

    monkeypatch.setattr(segments, "read_frames", watched)
    stream = stream_segments(video, None, 2, 3, prepare)
    next(stream)
    assert prepared == [0, 10, 19] and len(alive) == 20  # no frame is read before it is needed
    assert len(list(stream)) == 1 and prepared == [0, 10, 19, 20, 30, 39]
    assert len(most) == 40 and max(most) <= 3  # what yields, what takes, and what comes


def test_damaged_video_gives_its_good_segments_first(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = write_video(tmp_path / "a.avi", frames, codec="mpeg4", rate=10)
    whole = [
        [frame.tobytes() for frame in part]
        for *_, part in stream_segments(path, None, 1, 4, lambda frame: frame)
    ]
    content = bytearray(path.read_bytes())
    for place in range(len(content) * 9 // 10, len(content) * 9 // 10 + 2000, 40):
        content[place] ^= 255
    path.write_bytes(content)
    good = []
    with pytest.raises(VideoError, match=r"a\.avi: damaged: 2\d frames could be read"):
        for *_, part in stream_segments(path, None, 1, 4, lambda frame: frame):
            good.append([frame.tobytes() for frame in part])
    assert good == whole[:2]


def test_file_that_breaks_off_is_refused_at_once(tmp_path):
    path = write_video(tmp_path / "a.mp4", map(numbered, range(40)), movflags="faststart")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(VideoError, match="breaks off"):
        next(stream_segments(path, None, 1, 3, number_of))


def test_damage_behind_the_last_frame_shows_after_the_last_segment(video, monkeypatch):
    def breaks(path, rate):
        yield from read_frames(path, rate)
        raise VideoError(path, "damaged: behind its last frame")

    monkeypatch.setattr(segments, "read_frames", breaks)
    good = []
    with pytest.raises(VideoError, match="behind its last frame"):
        good.extend(stream_segments(video, None, 2, 3, number_of))
    # `extend` keeps what came before the error.
    assert [frames for _, _, frames in good] == [[0, 10, 19], [20, 30, 39]]


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(VideoError, match="missing"):
        told(tmp_path / "gone.mp4")


@pytest.mark.parametrize("seconds", [0, -2.5, float("nan")])
def test_segment_without_length_is_refused(video, seconds):
    with pytest.raises(ValueError, match=f"lasts 0.1 seconds or longer, got {seconds}"):
        told(video, seconds=seconds)
