"""Described videos: which are used, and why not the others; parts of files; film strips."""

import keras
import numpy as np
import pytest
from made_videos import number_of, numbered, write_video
from PIL import Image

from zoo.data.datasets import DescribedVideo, LabelledVideo
from zoo.data.features.described_videos import DescribedVideos
from zoo.data.sources.arrays import ClipArray
from zoo.data.sources.files import VideoFiles
from zoo.visualization.film_strip import write_film_strip

CAPTIONS = ["a man runs", "he runs"]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Seven seconds, 70 frames that say their number, up to 40."""
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    return str(write_video(path, map(numbered, range(70)), rate=10))


@pytest.fixture(scope="module")
def encoder():
    """Says of a frame how bright its middle is: 8 + 6 times its number, over 100."""
    frame = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 100)(frame[:, 3:5, 3:5])
    return keras.Model(frame, keras.layers.GlobalAveragePooling2D()(x))


def part(path, start=None, end=None, name=None):
    return DescribedVideo(name or f"{start}-{end}", str(path), CAPTIONS, None, start, end)


def numbers(frames):
    return [number_of(frame) for frame in frames]


def damage(path):
    """A video that opens, and says when its frames come, but cannot be decoded to its end."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    write_video(path, frames, codec="mpeg4", rate=10)
    content = bytearray(path.read_bytes())
    for place in range(len(content) * 9 // 10, len(content) * 9 // 10 + 2000, 40):
        content[place] ^= 255
    path.write_bytes(content)
    return str(path)


PARTS = {  # start and end in seconds -> rate -> the frames by their numbers
    (None, 0.3): {None: [0, 1, 2], 5: [0, 2]},
    (1, 1.25): {None: [10, 11, 12], 5: [10, 12]},
    (0.95, 1.35): {None: [10, 11, 12, 13], 5: [10, 12]},
    (6.5, None): {None: [25, 26, 27, 28, 29], 5: [26, 28]},
    (6.8, 99): {None: [28, 29], 5: [28]},
    (0.5, 5.5): {None: [n % 40 for n in range(5, 55)], 5: [n % 40 for n in range(6, 55, 2)]},
}


@pytest.mark.parametrize("rate", [None, 5])
def test_part_of_a_file_has_exactly_its_frames(video, rate):
    source = VideoFiles([part(video, *sides) for sides in PARTS], rate=rate)
    assert not source.skipped and source.video_ids == [f"{a}-{b}" for a, b in PARTS]
    for row, expected in enumerate(by_rate[rate] for by_rate in PARTS.values()):
        assert source.num_frames[row] == len(expected)
        assert numbers(source.frames(row)) == expected
        assert numbers(source.read(row, range(len(expected)))) == expected
        last = len(expected) - 1
        assert numbers(source.read(row, [0, last, last])) == [expected[0]] + 2 * expected[-1:]


def test_parts_that_follow_one_another_share_no_frame_and_lose_none(video):
    bounds = [None, 0.2, 0.21, 3.4, 3.45, 6.9, None]
    parts = [part(video, *sides) for sides in zip(bounds, bounds[1:], strict=False)]
    source = VideoFiles(parts)
    # Between 0.2 and 0.21 comes the frame at 0.2; between 3.4 and 3.45 the one at 3.4.
    assert source.num_frames.tolist() == [2, 1, 31, 1, 34, 1]
    frames = [n for row in range(len(source.videos)) for n in numbers(source.frames(row))]
    assert frames == [n % 40 for n in range(70)]


def test_part_of_a_folder_of_pictures_counts_its_pictures(tmp_path):
    for number in range(8):
        Image.fromarray(numbered(number)).save(tmp_path / f"{number}.png")
    one_a_second = VideoFiles([part(tmp_path, 2, 5)])
    assert numbers(one_a_second.frames(0)) == numbers(one_a_second.read(0, [0, 1, 2])) == [2, 3, 4]
    assert numbers(VideoFiles([part(tmp_path, 0.5, 1)], rate=4).frames(0)) == [2, 3]


def test_part_behind_the_end_is_skipped_with_its_reason(video):
    other = video.replace("a.mp4", "b.mp4")
    with open(video, "rb") as file, open(other, "wb") as copy:
        copy.write(file.read())
    source = VideoFiles([part(video, 1, 2), part(other, 7.5, 9)])
    assert source.video_ids == ["1-2"] and source.num_frames.tolist() == [10]
    reason = "too short: its last frame comes after 6.9 seconds"
    assert source.skipped == {f"{other} (7.5 to 9 s)": reason}
    with pytest.raises(ValueError, match=r"None of the 1 videos.*b\.mp4 \(7.5 to 9 s\): too short"):
        VideoFiles([part(other, 7.5, 9)])


def test_parts_and_rates_are_told_apart_and_whole_files_are_what_they_were(video):
    labelled = VideoFiles([LabelledVideo(video, 0)], ["runs"])
    whole = VideoFiles([part(video)])
    assert whole.identity(0) == labelled.identity(0)
    parts = VideoFiles([part(video, *sides) for sides in PARTS])
    slow = VideoFiles([part(video, *sides) for sides in PARTS], rate=5)
    texts = [source.identity(row) for source in (parts, slow) for row in range(len(PARTS))]
    assert len({*texts, whole.identity(0)}) == 2 * len(PARTS) + 1


def test_what_has_no_word_or_cannot_be_opened_is_left_out_and_named(video, tmp_path):
    gone, mute, text = (str(tmp_path / name) for name in ("gone.mp4", "mute.mp4", "text.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    examples = [
        part(gone, name="gone"),
        DescribedVideo("one", video, ["", "a dog", "..."]),
        DescribedVideo("mute", mute, [" ", "!"]),
        part(text, name="text"),
        part(video, 1, 2, "two"),
    ]
    videos = DescribedVideos(examples)
    assert [example.video_id for example in videos.examples] == ["one", "two"]
    assert videos.references == {"one": ["a dog"], "two": CAPTIONS}
    assert videos.rows.tolist() == [0, 1] and videos.source.video_ids == ["one", "two"]
    assert videos.skipped == {
        mute: "no caption with a word",
        gone: "missing: there is no such file",
        text: "not a video, or damaged from its start",
    }
    assert videos.skipped_line().startswith("3 videos were left out, the first one ")


def test_split_without_a_video_and_ids_that_repeat_are_refused(video, tmp_path):
    with pytest.raises(ValueError, match="None of the 1 videos can be read.*missing"):
        DescribedVideos([part(tmp_path / "gone.mp4")])
    with pytest.raises(ValueError, match=r"Two entries have the video id 'x': .*a\.mp4"):
        DescribedVideos([part(video, 1, 2, "x"), part(video, 3, 4, "x")])


def test_where_labels_are_all_that_is_seen_no_video_is_opened(tmp_path):
    examples = [part(tmp_path / "gone.mp4"), DescribedVideo("mute", "m.mp4", [])]
    videos = DescribedVideos(examples, frames=False)
    assert len(videos.examples) == 1 and videos.source is None
    videos.labels = np.eye(1, 3, dtype="float32")
    np.testing.assert_array_equal(videos.seen(), videos.labels)


def test_damage_found_while_encoding_leaves_the_video_out_and_the_others_aligned(
    video, encoder, tmp_path
):
    broken = damage(tmp_path / "broken.avi")
    examples = [
        part(video, 1, 1.3, "ten"),
        part(broken, name="broken"),
        part(video, 2, 2.8, "twenty"),
        part(broken, 0, 1, "before the damage"),
    ]
    videos = DescribedVideos(examples)
    assert len(videos.examples) == 4 and videos.features is None
    videos.encode(encoder, (8, 8), tmp_path / "cache", max_frames=4)
    assert [e.video_id for e in videos.examples] == ["ten", "twenty", "before the damage"]
    assert videos.rows.tolist() == [0, 2, 3]
    assert videos.num_frames.tolist() == [3, 4, 4] and videos.features.shape == (3, 4, 3)
    frames = (videos.features[:2, :, 0].astype(float) * 100 - 8) / 6
    np.testing.assert_allclose(frames[0, :3], [10, 11, 12], atol=0.4)
    np.testing.assert_allclose(frames[1], [20, 22, 25, 27], atol=0.4)
    assert list(videos.skipped) == [broken]
    assert videos.skipped[broken].startswith("damaged: 2")
    assert videos.skipped_line().count(broken) == 1
    for example, row in zip(videos.examples, videos.rows, strict=True):
        assert videos.source.video_ids[row] == example.video_id
    again = DescribedVideos(examples)
    again.encode(encoder, (8, 8), tmp_path / "cache", max_frames=4)
    np.testing.assert_array_equal(again.features, videos.features)


def test_split_of_which_nothing_can_be_decoded_is_refused(encoder, tmp_path):
    videos = DescribedVideos([part(damage(tmp_path / "broken.avi"))])
    with pytest.raises(ValueError, match=r"No video can be read to its end\. 1 videos.*damaged"):
        videos.encode(encoder, (8, 8), tmp_path / "cache", max_frames=4)


def test_videos_in_memory_keep_their_rows_where_one_has_no_caption(encoder, tmp_path):
    clips = [np.full((n + 1, 8, 8, 3), 50 * n, "uint8") for n in range(4)]
    sentences = [["a dog"], [], ["a cat"], ["a cow"]]
    examples = [DescribedVideo(f"v{n}", f"{n}", s) for n, s in enumerate(sentences)]
    videos = DescribedVideos(examples, source=ClipArray(clips))
    videos.encode(encoder, (8, 8), tmp_path / "cache", max_frames=9)
    assert videos.rows.tolist() == [0, 2, 3] and videos.skipped == {"1": "no caption with a word"}
    assert videos.num_frames.tolist() == [1, 3, 4]
    np.testing.assert_allclose(videos.features[:, 0, 0], [0, 1, 1.5], atol=1e-3)


def test_describer_sees_labels_where_there_are_any_and_features_otherwise(video, encoder, tmp_path):
    videos = DescribedVideos([part(video, n, n + 0.4) for n in (0, 1, 2)])
    videos.encode(encoder, (8, 8), tmp_path / "cache", max_frames=3)
    features, num_frames = videos.seen()
    assert features is not None and num_frames.tolist() == [3, 3, 3]
    for found, expected in zip(videos.seen([2, 0]), (features, num_frames), strict=True):
        np.testing.assert_array_equal(found, expected[[2, 0]])
    videos.labels = np.arange(6, dtype="float32").reshape(3, 2)
    assert videos.seen([2, 0]).tolist() == [[4, 5], [0, 1]]
    np.testing.assert_array_equal(videos.sequences()[0], features)


def test_film_strip_is_a_picture_of_six_frames_spread_over_the_video(video, tmp_path):
    source = VideoFiles([part(video, 0, 4), part(video, 1, 1.3)])
    path = tmp_path / "strip.jpg"
    assert write_film_strip(source, 0, path) == path
    with Image.open(path) as image:
        assert image.format == "JPEG" and image.mode == "RGB"
        sheet = np.asarray(image)
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 3
    frames = [sheet[r * height :, c * width :][:120, :160] for r in (0, 1) for c in (0, 1, 2)]
    assert numbers(frames) == [0, 8, 16, 23, 31, 39]
    assert all(frame[4, 4, 0] > 200 and frame[4, 4, 1] < 60 for frame in frames)  # upright
    assert [entry.name for entry in tmp_path.iterdir()] == ["strip.jpg"]


def test_film_strip_of_a_short_video_shows_each_frame_once(video, tmp_path):
    source = VideoFiles([part(video, 0, 4), part(video, 1, 1.2)])
    write_film_strip(source, 1, tmp_path / "strip.jpg")
    with Image.open(tmp_path / "strip.jpg") as image:
        sheet = np.asarray(image)
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 3
    assert numbers([sheet[:120, :160], sheet[:120, width:][:, :160]]) == [10, 11]
    rest = [sheet[:height, 2 * width + 8 :], sheet[height + 8 :]]
    assert all(np.abs(part.astype(int) - 128).max() < 20 for part in rest)
