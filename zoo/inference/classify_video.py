"""From a video file to labels, as a whole and over time, by an activity recognizer."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.data.sources.video_records import read_flow
from zoo.data.videos.clip_stream import stream_clips
from zoo.data.videos.clips import resize_frames, view_frames
from zoo.data.videos.reading import read_frames
from zoo.data.videos.sampled_frames import center_squares, sample_frames

BATCH_SIZE = 32  # frames that go through the CNN at once


class VideoClassification(NamedTuple):
    """What a recognizer finds in a video.

    Attributes:
        class_names: List of names.
        clips: List of `(start, end, probabilities)` over time: seconds, and float32
            `(num_classes,)`.
        distance: `zoo.models.feature_statistics.TrainingDistance`, or None if the model has no
            statistics of its training videos.
        scope: What the model is for, one sentence, or None.
    """

    class_names: list
    clips: list
    distance: tuple | None
    scope: str | None

    @property
    def is_unlike(self):
        """Whether the video is known to be unlike the training videos."""
        return self.distance is not None and self.distance.is_unlike

    @property
    def probabilities(self):
        """float32 `(num_classes,)`, the mean over the clips."""
        return np.mean([probabilities for *_, probabilities in self.clips], axis=0)

    def top(self, count=5):
        """Returns the `count` most probable classes: list of `(name, probability)`."""
        probabilities = self.probabilities
        best = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.class_names[n], float(probabilities[n])) for n in best]


def classify_video(recognizer, path):
    """Classifies a video, as a whole and over time.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` from `from_preset`.
        path: Path of a video file, or of a folder of frames.

    Returns:
        `VideoClassification`.

    Raises:
        ValueError: If the model takes no frames, or its metadata lack the settings of frames.
        zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
    """
    if recognizer.frame_encoder is None or "frames" not in recognizer.metadata:
        raise ValueError(
            "Expected a recognizer from `from_preset` that takes frames, with the settings of "
            'frames in `metadata["frames"]`. Classify arrays of features instead.'
        )
    return VideoClassification(
        class_names=recognizer.class_names,
        clips=list(classify_clips(recognizer, path)),
        distance=compare_with_training(recognizer, path),
        scope=recognizer.metadata.get("scope"),
    )


def classify_clips(recognizer, path):
    """Classifies a video clip by clip, in a stream: memory does not grow with its length.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` from `from_preset`.
        path: File, or folder of frames.

    Yields:
        For each clip `(start, end, probabilities)`: seconds, and float32 `(num_classes,)`, the
        mean over the clip's frames. The last clip ends with the video.

    Raises:
        zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
    """
    settings = recognizer.metadata["frames"]
    for start, end, features in stream_clips(path, settings, _features(recognizer, path, settings)):
        yield start, end, recognizer.classify(features[None])[0].mean(0)


def compare_with_training(recognizer, path):
    """Compares a video with the videos that a recognizer was trained on.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` from `from_preset`.
        path: File, or folder of frames.

    Returns:
        `zoo.models.feature_statistics.TrainingDistance`, or None where the model has no statistics
        of its training videos.

    Raises:
        zoo.data.videos.reading.VideoError: If the video cannot be read.
    """
    statistics = recognizer.feature_statistics
    if statistics is None:
        return None
    settings = recognizer.metadata["frames"]
    side = recognizer.frame_encoder.input_shape[1]
    # RGB frames also where the model reads optical flow, which says little of what is shown.
    frames = sample_frames(path, statistics.num_frames, settings["rate"])
    return recognizer.compare_with_training(center_squares(frames, settings["size"], side))


def _features(recognizer, path, settings):
    """Yields the features of each frame, encoded a batch at a time."""
    encoder, modality = recognizer.frame_encoder, settings["modality"]
    side = encoder.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
    def encode(frames):
        frames = resize_frames(frames, settings["size"])
        squares = view_frames(frames, side, ["center"], modality)[0]
        return encoder(squares, training=False)

    if modality == "flow":
        frames = read_flow(path, settings["rate"], settings["size"])
    else:
        frames = read_frames(path, settings["rate"])
    batch = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == BATCH_SIZE:
            yield from encode(np.stack(batch)).numpy()
            batch.clear()
    if batch:
        yield from encode(np.stack(batch)).numpy()
