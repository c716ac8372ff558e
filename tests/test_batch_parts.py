"""Workers that share every batch see, together, what one would see; each reads its own rows."""

import functools
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from made_videos import numbered, write_video
from PIL import Image

from zoo.data.batches.captions import Share, feature_batches, image_batches, sampling_batches
from zoo.data.batches.clips import clip_batches, clip_feature_batches, record_loader
from zoo.data.batches.videos import role_batches, sequence_batches, video_batches
from zoo.data.datasets.activities.labeled_video import LabelledVideo
from zoo.data.sources import shard_writer
from zoo.data.sources.arrays import ClipArray
from zoo.data.sources.shard_writer import prepare

RNG = np.random.default_rng(0)
CLIPS = [RNG.integers(0, 256, (3 + n % 4, 10, 12, 3), "uint8") for n in range(9)]
SHARED = {"batch_size": 6, "seed": 2, "epoch": 1}


def captions(*shape):
    token_ids = RNG.integers(1, 50, (*shape, 7), "int32")
    token_ids[np.arange(7) >= RNG.integers(1, 7, (*shape, 1))] = 0
    return token_ids


class Recorded(ClipArray):
    """Clips in memory that remember which of them were read."""

    def read(self, row, indices):
        self.seen.append(int(row))
        return super().read(row, indices)


def recorded():
    source = Recorded(CLIPS, np.arange(9) % 2, ["a", "b"])
    source.seen = []
    return source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(9):
        Image.new("RGB", (20, 30), (20 * n, 0, 0)).save(folder / f"{n}.png")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "VIDEOS_A_SHARD", 4)
    videos = []
    for n in range(9):
        path = write_video(tmp_path / f"{n}.mp4", [numbered(4 * n + t) for t in range(3 + n % 4)])
        videos.append(LabelledVideo(str(path), n % 2))
    return prepare(videos, ["a", "b"], tmp_path / "prepared", frame_size=(10, 12))


def whole_network(source, make=clip_batches):
    if make is clip_batches:
        return functools.partial(
            make, source, range(9), (10, 12), 8, True, clip_length=4, clips_a_video=2
        )
    return functools.partial(make, source, range(9), (10, 12), 8, 5, captions(9, 3))


def makers(pictures, prepared):
    vectors = RNG.random((9, 2, 3), dtype="float32")
    sequences = RNG.random((9, 6, 3)).astype("float16")
    num_frames = RNG.integers(1, 7, 9, "int32")
    sequences[np.arange(6) >= num_frames[:, None]] = 0
    views = [[RNG.random((5 + n, 3)).astype("float16")] for n in range(9)]
    index, labels = RNG.integers(9, size=20), np.arange(9) % 2
    return {
        "features": functools.partial(feature_batches, vectors, index, captions(20)),
        "images": functools.partial(image_batches, pictures, captions(9, 3), 8),
        "sampling": functools.partial(sampling_batches, vectors, 2, 5),
        "clip features": functools.partial(
            clip_feature_batches, views, labels, clip_length=4, clips_a_video=2
        ),
        "clips": whole_network(recorded()),
        "clips of shards": whole_network(prepared),
        "sequences": functools.partial(
            sequence_batches, sequences, num_frames, index, captions(20)
        ),
        "roles": functools.partial(role_batches, sequences, num_frames, captions(9)),
        "videos": whole_network(recorded(), video_batches),
    }


NAMES = ["features", "images", "sampling", "clip features", "clips", "clips of shards"]
NAMES += ["sequences", "roles", "videos"]


def arrays(batches):
    return [tf.nest.flatten(batch) for batch in batches.as_numpy_iterator()]


def widened(array, like):
    """Padding as in the whole batch, whose longest caption or video other workers may have."""
    room = [(0, 0), *((0, b - a) for a, b in zip(array.shape[1:], like.shape[1:], strict=True))]
    return np.pad(array, room, mode="edge" if array.ndim == 5 else "constant")  # a video's end


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_all_workers_are_the_batches(name, pictures, prepared):
    make = functools.partial(makers(pictures, prepared)[name], **SHARED)
    whole = arrays(make(first_batch=1))
    parts = [arrays(make(first_batch=1, share=Share(worker, 3))) for worker in range(3)]
    assert len(whole) > 0
    for batch, *shares in zip(whole, *parts, strict=True):
        for leaf, *pieces in zip(batch, *shares, strict=True):
            assert [len(piece) for piece in pieces] == [2, 2, 2]
            together = np.concatenate([widened(piece, leaf) for piece in pieces])
            np.testing.assert_array_equal(together, leaf)


@pytest.mark.parametrize("make", [clip_batches, video_batches])
def test_a_worker_reads_no_video_of_the_others(make):
    seen = []
    for worker in range(3):
        source = recorded()
        arrays(whole_network(source, make)(**SHARED, share=Share(worker, 3)))
        seen.append(sorted(source.seen))
    source = recorded()
    batches = len(arrays(whole_network(source, make)(**SHARED)))
    assert sorted(sum(seen, [])) == sorted(source.seen)
    assert [len(own) for own in seen] == [2 * batches] * 3


def test_a_worker_opens_no_picture_of_the_others(pictures, tmp_path):
    token_ids = np.arange(1, 10, dtype="int32")[:, None, None]
    make = functools.partial(image_batches, token_ids=token_ids, size=8, **SHARED)
    own = {int(n) - 1 for _, t, _ in make(pictures, share=Share(1, 3)) for n in t[:, 0, 0]}
    assert len(own) < 9
    there = [path if n in own else str(tmp_path / "gone") for n, path in enumerate(pictures)]
    assert len(arrays(make(there, share=Share(1, 3)))) == 2
    with pytest.raises(tf.errors.NotFoundError):
        arrays(make(there))


def test_a_worker_reads_only_the_bytes_of_its_clips(prepared, monkeypatch):
    wanted = [bytearray(os.path.getsize(file)) for file in prepared.files]
    contents = [pathlib.Path(file).read_bytes() for file in prepared.files]
    make, reads = functools.partial(whole_network(prepared), **SHARED), []

    def spy(descriptor, length, offset):
        reads.append((os.readlink(f"/proc/self/fd/{descriptor}"), offset, length))
        return pread(descriptor, length, offset)

    pread = os.pread
    monkeypatch.setattr(os, "pread", spy)
    own = arrays(make(share=Share(0, 3)))
    assert len(reads) == len(own) * 2 * 4  # clips of four frames
    for file, offset, length in reads:
        number = prepared.files.index(type(prepared.files[0])(file))
        wanted[number][offset : offset + length] = contents[number][offset : offset + length]
    for file, content in zip(prepared.files, wanted, strict=True):
        pathlib.Path(file).write_bytes(content)
    for one, other in zip(own, arrays(make(share=Share(0, 3))), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    with pytest.raises(tf.errors.InvalidArgumentError, match="damaged"):
        arrays(make())


def test_records_hold_the_frames_where_their_places_say(prepared):
    videos, frames = np.array([1, 8, 4]), np.array([[0, 1, 2], [2, 2, 2], [0, 2, 1]])
    load = record_loader(prepared)
    for n, place in enumerate(zip(*prepared.places(videos, frames), strict=True)):
        expected = np.stack(list(prepared.frames(videos[n])))[frames[n]]
        np.testing.assert_array_equal(load(*map(tf.constant, place)), expected)
    some = prepared.subset([8, 1])
    place = [array[0] for array in some.places(np.array([1]), frames[:1])]
    np.testing.assert_array_equal(
        load(*map(tf.constant, place)), np.stack(list(prepared.frames(1)))[:3]
    )
