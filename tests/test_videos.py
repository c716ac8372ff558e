import importlib
import os
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from made_videos import number_of, numbered, write_sound, write_video
from PIL import Image

from zoo.data.videos import ffmpeg
from zoo.data.videos.reading import VideoError, explain, frame_times, read_clip, read_frames

KINDS = {  # name of a file -> how it is written
    "plain.mp4": {},
    "b_frames.mp4": {"b_frames": 3},
    "open_groups.mp4": {"b_frames": 3, "options": {"x264-params": "open-gop=1"}},
    "fragments.mp4": {"b_frames": 2, "movflags": "frag_keyframe+empty_moov"},
    "cut.mp4": {"b_frames": 2, "pts": range(-10, 60)},  # what is before 0 an edit list hides
    "milliseconds.mkv": {"b_frames": 2, "rate": 30},
    "old.avi": {"codec": "mpeg4", "b_frames": 2},
    "raw.h264": {"b_frames": 2},
    "broadcast.ts": {"b_frames": 2},
}


@pytest.fixture(params=KINDS)
def video(request, tmp_path):
    """Seventy frames in one of many ways; an edit list may hide the first ten of them."""
    frames = [numbered(number) for number in range(70)]
    return write_video(tmp_path / request.param, frames, **KINDS[request.param])


@pytest.fixture
def plain(tmp_path):
    return write_video(tmp_path / "plain.mp4", map(numbered, range(20)), movflags="faststart")


def numbers(frames):
    return [number_of(frame) for frame in frames]


def reason_for(path):
    """The reason in the error of `read_frames`, and how many frames came before it."""
    count = 0
    with pytest.raises(VideoError) as caught:
        for _ in read_frames(path):
            count += 1
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason, count


def test_frames_come_in_the_order_in_which_they_are_shown(video):
    frames = list(read_frames(video))
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((48, 64, 3), "uint8")}
    first = 10 if video.name == "cut.mp4" else 0
    assert numbers(frames) == [number % 40 for number in range(first, 70)]
    red, green, blue = frames[0][8, 4].astype(int)
    assert red > 200 and green < 50 and blue < 50


def test_times_are_found_without_decoding(video):
    times = frame_times(video)
    count = 60 if video.name == "cut.mp4" else 70
    rate = KINDS[video.name].get("rate", 25)
    np.testing.assert_allclose(times, np.arange(count) / rate, atol=0.001)


@pytest.mark.parametrize("rate", [7, 12.5, 25, 30, 60])
def test_resampled_times_are_those_of_the_resampled_frames(video, rate):
    frames = numbers(read_frames(video, rate))
    times = frame_times(video, rate)
    np.testing.assert_array_equal(times, np.arange(len(frames)) / rate)
    shown = np.searchsorted(frame_times(video), times + 0.001, "right") - 1
    first = 10 if video.name == "cut.mp4" else 0
    assert frames == [(first + number) % 40 for number in shown]


def test_own_rate_changes_nothing(video):
    rate = KINDS[video.name].get("rate", 25)
    assert numbers(read_frames(video, rate)) == numbers(read_frames(video))


@pytest.mark.parametrize("rate", [None, 40])
def test_clip_is_the_same_wherever_reading_begins(video, rate):
    frames = list(read_frames(video, rate))
    for start in range(0, len(frames), 5):  # from 32 on, reading begins at a keyframe
        after = min(start + 3, len(frames) - 1)
        for indices in ([start, start, after], [start, len(frames) - 1]):
            clip = read_clip(video, indices, rate)
            np.testing.assert_array_equal(clip, [frames[index] for index in indices])


def test_clip_far_in_does_without_what_is_before_it(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    path = write_video(tmp_path / "a.mp4", frames)
    whole = read_clip(path, [50, 59])
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 4
    for place in range(begin + 2000, begin + 20000, 50):  # in the first of its groups
        content[place] ^= 255
    path.write_bytes(content)
    assert "damaged" in explain(path)
    np.testing.assert_array_equal(read_clip(path, [50, 59]), whole)


def test_clip_ends_with_its_last_frame(plain):
    content = plain.read_bytes()
    whole = read_clip(plain, [2, 4])
    plain.write_bytes(content[: len(content) * 4 // 5])
    np.testing.assert_array_equal(read_clip(plain, [2, 4]), whole)
    with pytest.raises(VideoError, match="breaks off"):
        read_clip(plain, [2, 19])


def test_clip_before_the_break_can_be_read(tmp_path):
    path = write_video(tmp_path / "a.mp4", map(numbered, range(70)), movflags="faststart")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    assert "breaks off" in explain(path)
    assert numbers(read_clip(path, [34, 36])) == [34, 36]


def test_clip_beyond_the_end_names_the_number_of_frames(plain):
    for indices in ([0, 20], [50]):
        with pytest.raises(VideoError, match=rf"20 frames, and frame {indices[-1]} \(from 0\)"):
            read_clip(plain, indices)


@pytest.mark.parametrize("indices", [[], [-1, 2], [3, 2]])
def test_indices_ascend(plain, indices):
    with pytest.raises(ValueError, match="ascending"):
        read_clip(plain, indices)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rate_is_above_0(plain, rate):
    for read in (lambda: next(read_frames(plain, rate)), lambda: frame_times(plain, rate)):
        with pytest.raises(ValueError, match="above 0"):
            read()


def test_variable_rate_shows_what_is_on_screen(tmp_path):
    # At 10 ticks a second: frame 1 stays for 0.6 s, frame 3 for 0.3 s.
    path = write_video(tmp_path / "a.mp4", map(numbered, range(5)), rate=10, pts=[0, 1, 7, 8, 11])
    np.testing.assert_allclose(frame_times(path), [0, 0.1, 0.7, 0.8, 1.1], atol=1e-6)
    assert numbers(read_frames(path, 5)) == [0, 1, 1, 1, 3, 3]
    assert numbers(read_frames(path, 10)) == [0, 1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 4]
    assert numbers(read_clip(path, [3, 4, 5], 5)) == [1, 3, 3]


def test_frames_that_repeat_may_be_changed(tmp_path):
    path = write_video(tmp_path / "a.mp4", map(numbered, range(2)), rate=10)
    frames = read_frames(path, 20)
    next(frames)[:] = 0
    assert next(frames).any()


# Where the red corner at the top left comes to lie: (matrix, row, column), 0 for top and left.
TURNS = {
    "left": ((0, -1, 0, 1, 0, 0), -1, 0),
    "right": ((0, 1, 0, -1, 0, 0), 0, -1),
    "upside down": ((-1, 0, 0, 0, -1, 0), -1, -1),
    "mirrored": ((-1, 0, 0, 0, 1, 0), 0, -1),
    "mirrored and turned": ((0, -1, 0, -1, 0, 0), -1, -1),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_turned_upright(tmp_path, turn):
    matrix, row, column = TURNS[turn]
    matrix = [entry * 65536 for entry in matrix] + [0, 0, 1 << 30]
    path = write_video(tmp_path / "a.mp4", map(numbered, range(3)), matrix=matrix)
    for frame in [*read_frames(path), *read_clip(path, [1])]:
        assert frame.shape == ((64, 48, 3) if matrix[0] == 0 else (48, 64, 3))
        red, green, _ = frame[row, column].astype(int)
        assert red > 200 and green < 50
        assert frame[-1 - row, -1 - column, 1] == frame[-1 - row, -1 - column, 0] or row == column


def test_odd_sizes_are_kept(tmp_path):
    frames = [numbered(number, 47, 61) for number in range(3)]
    path = write_video(tmp_path / "a.avi", frames, codec="mpeg4")
    read = list(read_frames(path))
    assert [frame.shape for frame in read] == [(47, 61, 3)] * 3 and numbers(read) == [0, 1, 2]


def test_one_frame_is_a_video(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered(3)])
    assert numbers(read_frames(path)) == numbers(read_frames(path, 10)) == [3]
    assert frame_times(path).tolist() == frame_times(path, 10).tolist() == [0]
    assert numbers(read_clip(path, [0, 0])) == [3, 3]


def test_memory_does_not_grow_with_the_video(tmp_path):
    frame = numbered(1, 120, 160)
    path = write_video(tmp_path / "a.mp4", (frame for _ in range(150)))
    for rate in (None, 100):
        tracemalloc.start()
        for _ in read_frames(path, rate):
            pass
        assert tracemalloc.get_traced_memory()[1] < 10 * frame.nbytes
        tracemalloc.stop()


def test_video_that_is_left_early_is_closed(plain):
    frames = read_frames(plain)
    next(frames)
    frames.close()
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    assert str(plain) not in [os.readlink(link) for link in links if os.path.lexists(link)]


BAD = {
    "missing.mp4": (None, "missing: there is no such file"),
    "empty.mp4": (b"", "empty: the file has 0 bytes"),
    "page.mp4": (b"<html>not found</html>" * 50, "not a video, or damaged from its start"),
    "words.txt": (b"a man rides a horse\n" * 50, "not a video, or damaged from its start"),
    "list.m3u8": (
        b"#EXTM3U\n#EXTINF:1,\nplain.mp4\n#EXT-X-ENDLIST\n",
        "not a video, or damaged from its start",
    ),
    "list.ffconcat": (
        b"ffconcat version 1.0\nfile plain.mp4\n",
        "not a video, or damaged from its start",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_video_has_a_reason(plain, name):
    content, reason = BAD[name]
    path = plain.with_name(name)
    if content is not None:
        path.write_bytes(content)
    assert reason_for(path) == (reason, 0)
    assert explain(path) == reason
    for read in (
        frame_times,
        lambda path: read_clip(path, [0]),
        lambda path: read_clip(path, [99]),
    ):
        with pytest.raises(VideoError):
            read(path)


def test_sound_and_pictures_are_no_video(tmp_path):
    assert reason_for(write_sound(tmp_path / "a.mp4")) == (
        "not a video: there is only sound in it",
        0,
    )
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    assert "not a video" in explain(tmp_path / "a.jpg")


def test_good_video_needs_no_explanation(video):
    assert explain(video) is None


def test_file_that_is_cut_short_gives_its_good_frames_first(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    for name, options in {
        "a.mp4": {"movflags": "faststart"},
        "b.mp4": {"movflags": "frag_keyframe+empty_moov"},
        "a.mkv": {},
        "a.avi": {"codec": "mpeg4"},
    }.items():
        path = write_video(tmp_path / name, frames, **options)
        path.write_bytes(path.read_bytes()[: os.path.getsize(path) // 2])
        reason, count = reason_for(path)
        assert reason.startswith("damaged: it breaks off after ") and 5 < count < 25, name
        assert abs(int(reason.split()[5]) - count) <= 2, name
        assert explain(path) == reason
        with pytest.raises(VideoError, match="breaks off"):
            frame_times(path)


def test_file_without_its_end_is_refused_where_the_index_was_there(tmp_path):
    path = write_video(tmp_path / "a.mp4", map(numbered, range(20)))
    path.write_bytes(path.read_bytes()[:-200])
    assert reason_for(path) == ("not a video, or damaged from its start", 0)


def test_broken_frame_ends_the_reading(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = write_video(tmp_path / "a.avi", frames, codec="mpeg4")
    whole = list(read_frames(path))
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 2000, 40):
        content[place] ^= 255
    path.write_bytes(content)
    reason, count = reason_for(path)
    assert reason.startswith(f"damaged: {count} frames could be read, then") and 5 < count < 20
    good = [frame for _, frame in zip(range(count), read_frames(path), strict=False)]
    np.testing.assert_array_equal(good, whole[:count])


def test_gap_of_days_is_damage_and_not_a_million_frames(tmp_path):
    path = write_video(tmp_path / "a.mkv", map(numbered, range(3)), pts=[0, 1, 25 * 86400])
    assert len(list(read_frames(path))) == 3
    for read in (lambda: list(read_frames(path, 25)), lambda: frame_times(path, 25)):
        with pytest.raises(VideoError, match="86400 seconds pass"):
            read()


def test_large_frames_are_refused_unseen(plain, monkeypatch):
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 64 * 48 - 1)
    assert reason_for(plain) == (
        "too large: more than 0 megapixels a frame (64 x 48 pixels)",
        0,
    )


def test_name_like_an_address_is_a_file(plain, monkeypatch):
    plain.rename(plain.with_name("http:a.mp4"))
    monkeypatch.chdir(plain.parent)
    assert len(list(read_frames("http:a.mp4"))) == 20


def test_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "empty")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "empty", "a.mp4: empty")


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, of which 10 comes after 2, and things that are no frames."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 13):
        kind = ("png", "jpg", "BMP")[number % 3]
        Image.fromarray(numbered(number)).save(folder / f"frame{number}.{kind}")
    (folder / "notes.txt").write_text("no frame")
    (folder / "._frame1.jpg").write_bytes(b"what macOS leaves behind")
    return folder


def test_folder_of_pictures_is_a_video(folder):
    assert numbers(read_frames(folder)) == numbers(read_frames(folder, 5)) == list(range(1, 13))
    assert frame_times(folder).tolist() == list(range(12))
    assert frame_times(folder, 5)[-1] == 2.2
    assert numbers(read_clip(folder, [2, 2, 9, 11])) == [3, 3, 10, 12]
    assert explain(folder) is None
    with pytest.raises(VideoError, match="12 frames, and frame 12"):
        read_clip(folder, [12])


def test_broken_picture_ends_the_folder(folder):
    (folder / "frame5.BMP").write_bytes(b"BM")
    reason, count = reason_for(folder)
    assert count == 4 and "frame5.BMP is " in reason and explain(folder) == reason


def test_pictures_of_a_folder_have_one_size(folder):
    Image.new("RGB", (30, 20)).save(folder / "frame13.png")
    reason, count = reason_for(folder)
    assert count == 12 and "frame13.png has 30 x 20 pixels" in reason and "64 x 48" in reason


def test_folder_without_pictures_is_no_video(tmp_path):
    for read in (explain, lambda path: reason_for(path)[0]):
        assert "expected a folder of JPEG, PNG or BMP" in read(tmp_path)


@pytest.mark.parametrize("package", ["av", "cv2"])
def test_missing_package_names_the_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "zoo.data.videos.packages")
    with pytest.raises(ImportError, match=r'pip install "lrcn-zoo\[video\]"'):
        importlib.import_module("zoo.data.videos.packages")
