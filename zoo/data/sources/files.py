"""The videos of a data set as files: their frames, and any few of them, at one rate."""

import os
from concurrent import futures

import numpy as np
from tqdm import tqdm

from zoo.data.datasets.described.described_video import is_part, place_of
from zoo.data.videos.ffmpeg import read_timing
from zoo.data.videos.reading import TOLERANCE, VideoError, frame_times, read_clip, read_frames

PROBES = 4  # files looked at side by side
AT_ONCE = 32  # frames of a part of a file


class VideoFiles:
    """Videos that are read from their files, or from folders of raw frames.

    Args:
        videos: List of `zoo.data.datasets.LabelledVideo` or `DescribedVideo`.
        class_names: List of the activities' names, or None.
        rate: Frames per second to which every video is brought; None takes them as they are.

    Attributes:
        videos: Those that can be opened.
        class_names: As given.
        labels: int `(videos,)`, of labelled videos.
        num_frames: int `(videos,)`.
        skipped: Dict from a video left out, its path and which part of it, to the reason.

    Raises:
        ValueError: If no video is left.
    """

    modality = "rgb"

    def __init__(self, videos, class_names=None, rate=None):
        self.class_names, self.rate = class_names, rate
        self.videos, self._parts, self.skipped = [], [], {}
        self._timings = {}  # of files, which may be used in several parts
        with futures.ThreadPoolExecutor(PROBES) as pool:
            probed = pool.map(self._probe, videos)
            probed = tqdm(probed, "opening videos", len(videos), unit=" videos", delay=2)
            for video, (part, reason) in zip(videos, probed, strict=True):
                if reason:
                    self.skipped[place_of(video)] = reason
                    continue
                self.videos.append(video)
                self._parts.append(part)
        if not self.videos:
            path, reason = next(iter(self.skipped.items()), ("", "the list is empty"))
            raise ValueError(
                f"None of the {len(videos)} videos can be read. The first one: {path}: {reason}"
            )
        self.num_frames = np.array([len(part) for part in self._parts])

    def _probe(self, video):
        """The indices of a video's frames in its file, which may show more; or why not."""
        try:
            if video.path not in self._timings and not os.path.isdir(video.path):
                self._timings[video.path] = read_timing(video.path)
            times = frame_times(video.path, self.rate, self._timings.get(video.path))
        except VideoError as error:
            return None, error.reason
        first, stop = 0, len(times)
        if not is_part(video):
            return range(stop), None
        if video.start is not None:
            first = int(np.searchsorted(times, video.start - TOLERANCE))
        if video.end is not None:
            stop = int(np.searchsorted(times, video.end - TOLERANCE))
        if first == len(times):
            return None, f"too short: its last frame comes after {times[-1]:.1f} seconds"
        return range(first, max(stop, first + 1)), None  # some frame is on screen at any time

    @property
    def labels(self):
        """Index of each video's activity."""
        return np.array([video.label for video in self.videos])

    @property
    def video_ids(self):
        """List of the videos' ids."""
        return [video.video_id for video in self.videos]

    @property
    def groups(self):
        """List of the videos' groups, or None for a video of which nothing is known."""
        return [getattr(video, "group", None) for video in self.videos]

    def identity(self, row):
        """A text that changes when the frames of a video may have changed."""
        video = self.videos[row]
        path = os.path.abspath(video.path)
        status = os.stat(path)
        part = f" from {video.start} to {video.end}" if is_part(video) else ""
        return f"{path} {status.st_size} {status.st_mtime_ns} rate {self.rate}{part}"

    def frames(self, row):
        """Gives the frames of a video one after another, uint8 `(height, width, 3)`."""
        video, part = self.videos[row], self._parts[row]
        if not is_part(video):
            yield from read_frames(video.path, self.rate)
            return
        for start in range(0, len(part), AT_ONCE):
            yield from self._read(row, part[start : start + AT_ONCE])

    def read(self, row, indices):
        """Reads some frames of a video, uint8 `(len(indices), height, width, 3)`."""
        return self._read(row, np.asarray(indices) + self._parts[row][0])

    def _read(self, row, indices):
        path = self.videos[row].path
        return read_clip(path, indices, self.rate, self._timings.get(path))
