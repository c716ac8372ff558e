import filecmp
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf
from made_videos import number_of, numbered, write_video

from zoo.data.datasets.activities.labeled_video import LabelledVideo
from zoo.data.images.decode import decode_image
from zoo.data.sources import shard_writer
from zoo.data.sources.shard_writer import VideoShards, prepare
from zoo.data.videos.flow import flow_image, optical_flow
from zoo.data.videos.reading import read_frames

NAMES = ["left", "right", "up"]
LENGTHS = [3, 5, 1, 4, 6]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shard_writer, "VIDEOS_A_SHARD", 2)


@pytest.fixture
def videos(tmp_path):
    """Five videos in three shards; the frames of video n are numbered from 8 n on."""
    found = []
    for row, length in enumerate(LENGTHS):
        frames = [numbered(8 * row + number) for number in range(length)]
        path = write_video(tmp_path / f"{row}.mp4", frames, movflags="faststart")
        found.append(LabelledVideo(str(path), row % 3, f"g{row // 2}", f"video{row}"))
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prepared"


def decode(jpeg):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)


def numbers(jpegs):
    return [number_of(decode(jpeg)) for jpeg in jpegs]


def test_any_frame_of_any_video_is_found(videos, folder):
    prepared = prepare(videos, NAMES, folder)
    for read in (prepared, VideoShards(folder)):
        assert len(read) == 5 and read.class_names == NAMES and read.skipped == {}
        assert read.labels.tolist() == [0, 1, 2, 0, 1]
        assert read.num_frames.tolist() == LENGTHS
        assert read.video_ids == [f"video{row}" for row in range(5)]
        assert read.groups == ["g0", "g0", "g1", "g1", "g2"]
        assert read.sizes.tolist() == [[48, 64]] * 5
        assert (read.modality, read.rate) == ("rgb", None)
    for row, length in enumerate(LENGTHS):
        indices = [length - 1, 0, length // 2, 0]
        assert numbers(prepared.read_jpegs(row, indices)) == [8 * row + index for index in indices]


def test_prepared_frames_are_those_of_the_video(videos, folder):
    prepared = prepare(videos, NAMES, folder)
    for row, video in enumerate(videos):
        frames, whole = list(prepared.frames(row)), list(read_frames(video.path))
        assert len(frames) == len(whole)
        assert np.mean(np.abs(np.subtract(frames, whole, dtype=int))) < 3  # JPEG is not exact


def test_shards_are_plain_sequence_examples(videos, folder):
    prepare(videos, NAMES, folder, rate=50)
    files = sorted(str(path) for path in folder.glob("*.tfrecord"))
    assert [os.path.basename(file) for file in files] == [
        f"shard-0000{number}.tfrecord" for number in range(3)
    ]
    context = {
        "video/id": tf.io.FixedLenFeature((), tf.string),
        "video/path": tf.io.FixedLenFeature((), tf.string),
        "video/label": tf.io.FixedLenFeature((), tf.int64),
        "video/group": tf.io.FixedLenFeature((), tf.string),
        "video/rate": tf.io.FixedLenFeature((), tf.float32),
        "video/height": tf.io.FixedLenFeature((), tf.int64),
        "video/width": tf.io.FixedLenFeature((), tf.int64),
        "num_frames": tf.io.FixedLenFeature((), tf.int64),
    }
    frames = {"image/encoded": tf.io.FixedLenSequenceFeature((), tf.string)}
    for row, record in enumerate(tf.data.TFRecordDataset(files)):
        features, lists = tf.io.parse_single_sequence_example(record, context, frames)
        assert {name: value.numpy() for name, value in features.items()} == {
            "video/id": f"video{row}".encode(),
            "video/path": videos[row].path.encode(),
            "video/label": row % 3,
            "video/group": f"g{row // 2}".encode(),
            "video/rate": 50,
            "video/height": 48,
            "video/width": 64,
            "num_frames": 2 * LENGTHS[row],
        }
        jpegs = list(lists["image/encoded"].numpy())
        assert jpegs == VideoShards(folder).read_jpegs(row, range(len(jpegs)))
        assert numbers(jpegs) == [8 * row + index // 2 for index in range(2 * LENGTHS[row])]
    assert row == 4


def test_files_are_the_same_whatever_the_number_of_workers(videos, tmp_path):
    for workers in (1, 2, 5):
        prepare(videos, NAMES, tmp_path / str(workers), workers=workers)
    names = os.listdir(tmp_path / "1")
    assert len(names) == 8  # three shards with their indices, and two files for all
    for other in ("2", "5"):
        assert sorted(os.listdir(tmp_path / other)) == sorted(names)
        same, _, _ = filecmp.cmpfiles(tmp_path / "1", tmp_path / other, names, shallow=False)
        assert sorted(same) == sorted(names)


@pytest.mark.parametrize("size", [(24, 32), (96, 100), (30, 80)])
def test_frames_are_resized(videos, folder, size):
    prepared = prepare(videos, NAMES, folder, frame_size=size)
    assert prepared.sizes.tolist() == [list(size)] * 5
    frames = list(prepared.frames(1))
    assert {frame.shape for frame in frames} == {(*size, 3)}
    assert [number_of(frame) for frame in frames] == [8, 9, 10, 11, 12]


def test_flow_is_kept_as_images_one_fewer_than_frames(videos, folder):
    prepared = prepare(videos, NAMES, folder, modality="flow")
    assert prepared.modality == "flow" and prepared.num_frames.tolist() == [2, 4, 3, 5]
    assert prepared.video_ids == ["video0", "video1", "video3", "video4"]
    assert prepared.skipped == {videos[2].path: "one frame only, in which nothing can move"}
    expected = [flow_image(flow) for flow in optical_flow(read_frames(videos[4].path))]
    got = list(prepared.frames(3))
    assert np.mean(np.abs(np.subtract(got, expected, dtype=int))) < 3


def test_unreadable_videos_are_skipped_and_listed(videos, folder, tmp_path):
    with open(videos[0].path, "r+b") as file:
        file.truncate(os.path.getsize(videos[0].path) - 30)
    pathlib.Path(videos[3].path).write_text("no video")
    videos.append(LabelledVideo(str(tmp_path / "nowhere.mp4"), 0, None, "missing"))
    prepared = prepare(videos, NAMES, folder)
    assert prepared.video_ids == ["video1", "video2", "video4"]
    assert prepared.labels.tolist() == [1, 2, 1]
    skipped = json.loads((folder / "skipped.json").read_text())
    assert skipped == prepared.skipped
    assert skipped.keys() == {videos[0].path, videos[3].path, videos[5].path}
    assert skipped[videos[0].path].startswith("damaged: it breaks off")
    assert skipped[videos[3].path].startswith("not a video")
    assert skipped[videos[5].path].startswith("missing")
    assert [numbers(prepared.read_jpegs(row, [0]))[0] for row in range(3)] == [8, 16, 32]


def test_frames_that_opencv_refuses_are_skipped(videos, folder, tmp_path):
    tiny = write_video(tmp_path / "tiny.mp4", [numbered(n, 8, 10) for n in range(3)])
    videos.append(LabelledVideo(str(tiny), 0, None, "tiny"))
    prepared = prepare(videos, NAMES, folder, modality="flow")
    assert "OpenCV refuses" in prepared.skipped[str(tiny)] and len(prepared) == 4


def test_nothing_readable_is_an_error(videos, folder):
    for video in videos:
        os.remove(video.path)
    with pytest.raises(ValueError, match="None of the 5 videos .* missing: there is no such file"):
        prepare(videos, NAMES, folder)
    with pytest.raises(ValueError, match="None of the 0 videos .* the list is empty"):
        prepare([], NAMES, folder.with_name("other"))


def test_second_call_makes_nothing_and_shows_no_bar(videos, folder, capfd):
    prepare(videos, NAMES, folder)
    assert "preparing videos" in capfd.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in folder.glob("shard*")}
    prepare(videos, NAMES, folder)
    assert "preparing" not in capfd.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("shard*")}


def test_shard_that_is_lost_or_cut_short_is_named_and_made_again(videos, folder):
    prepare(videos, NAMES, folder)
    shard = folder / "shard-00001.tfrecord"
    whole = shard.read_bytes()
    for damage in (shard.unlink, lambda: shard.write_bytes(whole[:-1])):
        damage()
        with pytest.raises(ValueError, match=r"shard-00001.tfrecord should have .* bytes"):
            VideoShards(folder)
        assert len(prepare(videos, NAMES, folder)) == 5 and shard.read_bytes() == whole


def test_shard_that_is_cut_while_it_is_read_is_noticed(videos, folder):
    prepared = prepare(videos, NAMES, folder)
    os.truncate(folder / "shard-00001.tfrecord", 500)
    with pytest.raises(ValueError, match="shard-00001.tfrecord ends before"):
        prepared.read(3, [3])


SCRIPT = """
import sys
from zoo.data.sources import shard_writer
from zoo.data.datasets.activities.labeled_video import LabelledVideo
shard_writer.VIDEOS_A_SHARD = 2
videos = [LabelledVideo(path, n % 3, None, f"video{n}") for n, path in enumerate(sys.argv[2:])]
shard_writer.prepare(videos, ["left", "right", "up"], sys.argv[1])
"""


def test_killed_run_goes_on_where_it_was(tmp_path, folder):
    frame = numbered(1, 240, 320)
    path = write_video(tmp_path / "a.mp4", (frame for _ in range(150)))
    paths = [str(path)] * 1 + [str(path.with_name(f"{n}.mp4")) for n in range(11)]
    for other in paths[1:]:
        os.link(path, other)
    videos = [LabelledVideo(path, n % 3, None, f"video{n}") for n, path in enumerate(paths)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), *paths], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "shard-00001.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(ValueError, match="not complete"):
        VideoShards(folder)
    done = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*.json")}
    assert 2 <= len(done) < 6
    prepared = prepare(videos, NAMES, folder)
    assert prepared.num_frames.tolist() == [150] * 12
    assert done == {path: path.stat().st_mtime_ns for path in done}  # these were not made again
    assert not list(folder.glob("*.part"))
    prepare(videos, NAMES, tmp_path / "at once")
    names = os.listdir(folder)
    same, _, _ = filecmp.cmpfiles(folder, tmp_path / "at once", names, shallow=False)
    assert sorted(same) == sorted(os.listdir(tmp_path / "at once")) == sorted(names)


def test_other_settings_are_refused(videos, folder):
    prepare(videos, NAMES, folder, rate=10)
    for change, told in {
        "rate": ({"rate": 12.5}, "rate was 10.0 and is now 12.5"),
        "size": (
            {"rate": 10, "frame_size": (24, 32)},
            r"frame_size was None and is now \[24, 32\]",
        ),
        "modality": ({"rate": 10, "modality": "flow"}, "modality was rgb and is now flow"),
        "quality": ({"rate": 10, "quality": 90}, "quality was 95 and is now 90"),
    }.values():
        with pytest.raises(ValueError, match=told):
            prepare(videos, NAMES, folder, **change)
    with pytest.raises(ValueError, match="class_names are not the same"):
        prepare(videos, ["a", "b", "c"], folder, rate=10)
    for others in (videos[:4], videos[::-1], [videos[0]._replace(label=1), *videos[1:]]):
        with pytest.raises(ValueError, match="videos are not the same"):
            prepare(others, NAMES, folder, rate=10)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"modality": "depth"}, "rgb, flow; got 'depth'"),
        ({"rate": 0}, "above 0"),
        ({"frame_size": (24,)}, r"\(height, width\)"),
        ({"frame_size": (0, 24)}, r"\(height, width\)"),
        ({"quality": 0}, "from 1 to 100"),
    ],
)
def test_senseless_settings_are_refused_before_anything_is_written(videos, folder, settings, told):
    with pytest.raises(ValueError, match=told):
        prepare(videos, NAMES, folder, **settings)
    assert not folder.exists()


def test_ids_are_unique_and_labels_have_classes(videos, folder):
    with pytest.raises(ValueError, match=r"Two videos have the id 'video1': .*1.mp4 and .*2.mp4"):
        prepare([videos[1], videos[2]._replace(video_id="video1")], NAMES, folder)
    for label in (-1, 3):
        with pytest.raises(ValueError, match=f"has the label {label}; expected one of the 3"):
            prepare([videos[0]._replace(label=label)], NAMES, folder)


def test_path_is_the_id_where_there_is_none(videos, folder):
    prepared = prepare([video._replace(video_id="", group=None) for video in videos], NAMES, folder)
    assert prepared.video_ids == [video.path for video in videos]
    assert prepared.groups == [None] * 5


def test_subset_reads_its_own_videos(videos, folder):
    prepared = prepare(videos, NAMES, folder)
    for rows in ([4, 1], prepared.labels == 1, slice(1, 5, 3)):
        some = prepared.subset(rows)
        chosen = np.arange(5)[rows].tolist()
        assert len(some) == 2 and some.labels.tolist() == [1, 1]
        assert some.video_ids == [f"video{row}" for row in chosen]
        assert some.num_frames.tolist() == [LENGTHS[row] for row in chosen]
        assert numbers(some.read_jpegs(0, [1, 2])) == [8 * chosen[0] + 1, 8 * chosen[0] + 2]
        assert some.subset([1]).video_ids == [f"video{chosen[1]}"]
        assert some.identity(0) == prepared.identity(chosen[0])
    assert len(prepared) == 5


def test_identity_tells_videos_and_versions_apart(videos, folder):
    prepared = prepare(videos, NAMES, folder)
    assert len({prepared.identity(row) for row in range(5)}) == 5
    before = prepared.identity(0)
    os.utime(folder / "shard-00000.tfrecord", ns=(0, 0))
    assert prepared.identity(0) != before


@pytest.mark.parametrize("index", [-1, 3])
def test_frame_that_is_not_there_is_an_error(videos, folder, index):
    prepared = prepare(videos, NAMES, folder)
    with pytest.raises(ValueError, match=rf"video0 has 3 frames; frame {index} \(from 0\)"):
        prepared.read(0, [0, index])


def test_only_the_wanted_bytes_are_read(videos, folder):
    prepared = prepare(videos, NAMES, folder)
    whole = (folder / "shard-00002.tfrecord").read_bytes()
    first, last = prepared.read_jpegs(4, [0, 5])
    # All else in the file is wiped out, and nobody notices.
    wiped = bytearray(len(whole))
    for jpeg in (first, last):
        place = whole.index(jpeg)
        wiped[place : place + len(jpeg)] = jpeg
    (folder / "shard-00002.tfrecord").write_bytes(wiped)
    assert prepared.read_jpegs(4, [5, 0]) == [last, first]
    assert not any(prepared.read_jpegs(4, [3])[0])
    with pytest.raises(ValueError, match="frame 3 of video4 is damaged"):
        prepared.read(4, [0, 3])


def test_pixels_are_those_that_a_server_decodes(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), "uint8")
    frames = [np.kron(frame, np.ones((8, 8, 1), "uint8")) for frame in frames]
    write_video(tmp_path / "a.mp4", frames)
    prepared = prepare([LabelledVideo(str(tmp_path / "a.mp4"), 0)], ["a"], tmp_path / "shards")
    served = [decode_image(jpeg).numpy() for jpeg in prepared.read_jpegs(0, [1, 0])]
    np.testing.assert_array_equal(prepared.read(0, [1, 0]), served)


def test_folder_that_is_not_prepared_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"index.json: No such file .* `lrcn prepare` has written"):
        VideoShards(tmp_path)
