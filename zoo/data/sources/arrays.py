"""Clips in memory, offered as the videos of a data set are."""

import hashlib

import numpy as np


class ClipArray:
    """A source of videos whose frames are in memory, such as `moving_digits`.

    Args:
        clips: uint8 `(videos, time, height, width, 3)`, or a list of `(time, height, width, 3)`.
        labels: int `(videos,)`, or None where no activity is named.
        class_names: List of the activities' names, or None.

    Attributes:
        num_frames: int `(videos,)`.
        groups: A list of None: nothing is known of them.
        skipped: An empty dict.
    """

    modality = "rgb"

    def __init__(self, clips, labels=None, class_names=None):
        self._clips, self.labels, self.class_names = clips, labels, class_names
        if labels is not None:
            self.labels = np.asarray(labels)
        self.num_frames = np.array([len(clip) for clip in clips])
        self.video_ids = [f"clip{n}" for n in range(len(clips))]
        self.groups = [None] * len(clips)
        self.skipped = {}

    def identity(self, row):
        """A text that changes when the frames of a video have changed."""
        return hashlib.sha256(self._clips[row].tobytes()).hexdigest()

    def frames(self, row):
        """Gives the frames of a video one after another, uint8 `(height, width, 3)`."""
        return iter(self._clips[row])

    def read(self, row, indices):
        """Reads some frames of a video, uint8 `(len(indices), height, width, 3)`."""
        return self._clips[row][indices]
