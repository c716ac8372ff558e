"""Videos prepared for training: frames as JPEG in TFRecord files, read back one by one."""

import copy
import json
import os

import numpy as np

from zoo.data.sources.video_records import FRAMING
from zoo.data.videos.packages import cv2

INDEX = "index.json"  # the settings, and whether all shards are there
SKIPPED = "skipped.json"  # {path: why it could not be read}


class VideoShards:
    """The videos in a folder that `zoo.data.sources.shard_writer.prepare` has written.

    Args:
        folder: Path of the folder.

    Attributes:
        class_names: List of names; its index is the label.
        video_ids: List of the videos' ids.
        labels: int64 `(videos,)`.
        groups: List of the videos' groups, or None; a group stays in one split.
        num_frames: int64 `(videos,)`.
        sizes: int64 `(videos, 2)`, height and width of a video's frames.
        modality: `"rgb"` or `"flow"`: what the frames are, see `zoo.data.videos.flow.flow_image`.
        rate: Frames per second, or None for each video's own.
        skipped: Dict from the path of a video that could not be read to the reason.
        files: List of the shards' paths.

    Raises:
        ValueError: If the folder has no complete index, or a shard is missing or has another
            length than the index says.
    """

    def __init__(self, folder):
        settings = _load(folder, INDEX)
        if not settings["complete"]:
            raise ValueError(
                f"{folder} is not complete: `lrcn prepare` was broken off. Give the same command "
                "again; it goes on where it was."
            )
        self.class_names = settings["class_names"]
        self.modality, self.rate = settings["modality"], settings["rate"]
        self.skipped = _load(folder, SKIPPED)
        self.video_ids, self.groups, labels, sizes = [], [], [], []
        self.files, shards, records, offsets, lengths = [], [], [], [], []
        for number in range(settings["num_shards"]):
            shard = _load(folder, f"{shard_name(number)}.json")
            file = os.path.join(folder, f"{shard_name(number)}.tfrecord")
            _check_length(file, shard["bytes"])
            self.files.append(file)
            record = 0
            for video in shard["videos"]:
                self.video_ids.append(video["id"])
                self.groups.append(video["group"])
                labels.append(video["label"])
                sizes.append(video["size"])
                shards.append(number)
                records.append(record)
                # A record ends with its last frame.
                record = video["offsets"][-1] + video["lengths"][-1] + FRAMING[1]
                offsets.append(np.array(video["offsets"], np.int64))  # a tenth of Python's own
                lengths.append(np.array(video["lengths"], np.int64))
        self.labels, self._shards = np.array(labels, np.int64), np.array(shards, np.int64)
        self._records = np.array(records, np.int64)
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        self.num_frames = np.array([len(video) for video in offsets], np.int64)
        self._starts = np.cumsum(self.num_frames) - self.num_frames
        none = np.zeros(0, np.int64)
        self._offsets = np.concatenate([none, *offsets])
        self._lengths = np.concatenate([none, *lengths])

    def __len__(self):
        return len(self.video_ids)

    def subset(self, rows):
        """Gives the videos of these rows, or where a mask is true, as `VideoShards`."""
        rows = np.arange(len(self))[rows]
        chosen = copy.copy(self)
        chosen.video_ids = [self.video_ids[row] for row in rows]
        chosen.groups = [self.groups[row] for row in rows]
        for name in ("labels", "num_frames", "sizes", "_shards", "_records", "_starts"):
            setattr(chosen, name, getattr(self, name)[rows])
        return chosen

    def identity(self, video):
        """Gives a text that changes when the frames of a video may have changed."""
        status = os.stat(self.files[self._shards[video]])
        return f"{self.video_ids[video]} {status.st_size} {status.st_mtime_ns}"

    def read(self, video, indices):
        """Reads some frames of a video, uint8 `(len(indices), height, width, 3)`.

        Args:
            video: Row of the video.
            indices: As for `read_jpegs`.

        Raises:
            ValueError: As `read_jpegs`, or if a frame cannot be decoded.
        """
        frames = np.empty((len(indices), *self.sizes[video], 3), np.uint8)
        jpegs = self.read_jpegs(video, indices)
        for index, jpeg, frame in zip(indices, jpegs, frames, strict=True):
            bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if bgr is None or bgr.shape != frame.shape:
                file = self.files[self._shards[video]]
                raise ValueError(f"{file}: frame {index} of {self.video_ids[video]} is damaged.")
            cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=frame)
        return frames

    def read_jpegs(self, video, indices):
        """Reads some frames of a video, and nothing else.

        Args:
            video: Row of the video.
            indices: Which of its frames, from 0; in any order, and they may repeat.

        Returns:
            List of bytes, a JPEG each.

        Raises:
            ValueError: If the video has no such frame, or the shard is not what it was.
        """
        for index in indices:
            if not 0 <= index < self.num_frames[video]:
                raise ValueError(
                    f"{self.video_ids[video]} has {self.num_frames[video]} frames; frame {index} "
                    "(from 0) was asked for."
                )
        places = self._starts[video] + np.asarray(indices, np.int64)
        file = self.files[self._shards[video]]
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return [
                _read(file, descriptor, int(self._offsets[place]), int(self._lengths[place]))
                for place in places
            ]
        finally:
            os.close(descriptor)

    def places(self, videos, frames):
        """Says where frames lie.

        Args:
            videos: int `(...)`, rows of videos.
            frames: int `(..., time)`, which of their frames; each must be there.

        Returns:
            int64 arrays: `(...)`, which of the `files`; `(...)`, the first byte of the video's
            record in it; `(..., time)`, the frames' first bytes in the record; and `(..., time)`,
            their lengths.
        """
        places = self._starts[videos][..., None] + frames
        records = self._records[videos]
        offsets = self._offsets[places] - records[..., None] - FRAMING[0]
        return self._shards[videos], records, offsets, self._lengths[places]

    def frames(self, video):
        """Yields the frames of a video, uint8 `(height, width, 3)`, in order."""
        for index in range(self.num_frames[video]):
            yield self.read(video, [index])[0]


def shard_name(number):
    """`7` -> `"shard-00007"`, the name of a shard's two files without their endings."""
    return f"shard-{number:05d}"


def _load(folder, name):
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise ValueError(
            f"{path}: {error.strerror}. Expected a folder that `lrcn prepare` has written."
        ) from None


def _check_length(file, length):
    there = os.path.getsize(file) if os.path.exists(file) else None
    if there != length:
        found = "it is missing" if there is None else f"it has {there}"
        raise ValueError(
            f"{file} should have {length} bytes, and {found}. Delete it, and give the `lrcn "
            "prepare` command again: it makes this file anew."
        )


def _read(file, descriptor, offset, length):
    found = os.pread(descriptor, length, offset)
    if len(found) != length:
        raise ValueError(f"{file} ends before byte {offset + length}: it has been cut short.")
    return found
