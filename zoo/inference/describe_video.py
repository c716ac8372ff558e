"""From a video file to sentences over time, by a captioner of photographs or by a describer.

A result is a dict of `start` and `end`, seconds, `sentence`, and `log_prob`, the log-probability
of the sentence. With a captioner that has a fitted confidence it also has `confidence`, from 0 to
1, and `unsure`, a boolean. Results are yielded as they are computed, in memory that does not grow
with the video.
"""

import functools
import math

import numpy as np
import tensorflow as tf

from zoo.data.images.decode import resize_image
from zoo.data.videos.clips import resize_frames, view_frames
from zoo.data.videos.segments import segment_length, stream_segments

POOLINGS = {
    "mean": "the mean of the features of the frames",
    "middle": "the middle frame",
}
SAMPLES_PER_SECOND = 2  # frames of a shot that the CNN encodes
MAX_SAMPLES = 32  # of a segment, whatever its length


class ShotCaptioner:
    """Describes the shots of videos with a captioner of photographs.

    The captioner was trained on photographs alone: what changes from frame to frame is lost.

    Args:
        captioner: `LRCNCaptioner` with an image encoder and a vocabulary.
        pooling: `"mean"`: the decoder gets the mean of the features of the frames of a shot, the
            transfer from photographs of Venugopalan et al. `"middle"`: the features of the middle
            one of the sampled frames.

    Raises:
        ValueError: If the pooling is unknown.

    Source:
        Venugopalan et al., 2015. https://arxiv.org/abs/1412.4729
    """

    def __init__(self, captioner, pooling="mean"):
        if pooling not in POOLINGS:
            raise ValueError(
                f"Expected `pooling` to be one of {', '.join(POOLINGS)}. Received: {pooling!r}"
            )
        self.captioner = captioner
        self.pooling = pooling

    def method(self, seconds=None):
        """Returns in words what a sentence describes."""
        part = "shot" if seconds is None else f"segment of {seconds:g} s"
        return f"{POOLINGS[self.pooling]} of each {part}"

    def describe(self, path, seconds=None):
        """Describes a video, shot by shot.

        Args:
            path: Path of a video file, or of a folder of pictures.
            seconds: Length of segments that are described instead of shots; None finds the shots,
                see `zoo.data.videos.shots`.

        Yields:
            A result for each shot or segment.

        Raises:
            ImportError: If PySceneDetect is needed and not installed.
            zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
        """
        side = self.captioner.image_encoder.input_shape[1]
        prepare = functools.partial(_resize_to_square, side=side)
        for start, end, squares in self._stream(path, seconds, prepare):
            yield {"start": float(start), "end": float(end), **self.caption(squares)}

    def caption(self, squares):
        """Describes the frames of one shot in one sentence.

        Args:
            squares: List of float32 RGB in 0..255 `(side, side, 3)`, of the captioner's side.

        Returns:
            A dict of `sentence` and `log_prob`; and of `confidence` and `unsure` if the captioner
            has a fitted confidence. It was fitted on single photographs.
        """
        if self.pooling == "middle":
            squares = squares[len(squares) // 2 :][:1]
        features = self.captioner.encode(np.stack(squares))  # (frames, features)
        pooled = features.mean(axis=0, keepdims=True)
        best = self.captioner.caption_candidates(pooled)[0][0]
        result = {"sentence": best.text, "log_prob": best.log_prob}
        if best.confidence is not None:
            result["confidence"] = best.confidence
            result["unsure"] = best.unsure
        return result

    def _stream(self, path, seconds, prepare):
        """Yields `(start, end, squares)` of each shot or segment."""
        if seconds is not None:
            max_frames = min(math.ceil(seconds * SAMPLES_PER_SECOND), MAX_SAMPLES)
            return stream_segments(path, None, seconds, max_frames, prepare)
        from zoo.data.videos.shots import stream_shots  # needs PySceneDetect

        return stream_shots(path, SAMPLES_PER_SECOND, prepare)


class SegmentDescriber:
    """Describes the segments of videos with a describer.

    Args:
        describer: `LRCNVideoDescriber` from `from_preset`, with a frame encoder.
    """

    def __init__(self, describer):
        self.describer = describer
        self._settings = describer.metadata["frames"]
        self._side = describer.frame_encoder.input_shape[1]
        # Traced once, not for each number of frames.
        frame = tf.TensorSpec((None, None, 3), tf.uint8)
        squares = tf.TensorSpec((None, self._side, self._side, 3), tf.float32)
        self._crop = tf.function(self._crop, input_signature=[frame], autograph=False)
        self._encode = tf.function(self._encode, input_signature=[squares], autograph=False)

    def method(self, seconds=None):
        """Returns in words what a sentence describes."""
        part = "segment" if seconds is None else f"segment of {seconds:g} s"
        return f"the frames of each {part}"

    def describe(self, path, seconds=None):
        """Describes a video, segment by segment.

        Args:
            path: Path of a video file, or of a folder of pictures.
            seconds: Length of a segment; None chooses it, see `segment_length`.

        Yields:
            A result for each segment.

        Raises:
            zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
        """
        rate = self._settings["rate"]
        max_frames = self._settings["max_frames"]
        length = segment_length(path, seconds, rate)
        for start, end, squares in stream_segments(path, rate, length, max_frames, self._crop):
            # Filled up to one length, so that the search is compiled once.
            features = np.zeros((1, max_frames, self.describer.feature_dim), "float32")
            features[0, : len(squares)] = self._encode(tf.stack(squares))
            decoded = self.describer.generate((features, [len(squares)]))
            yield {
                "start": float(start),
                "end": float(end),
                "sentence": self.describer.vocabulary.decode(decoded.token_ids[0, 0]),
                "log_prob": float(decoded.log_probs[0, 0]),
            }

    def _crop(self, frame):
        frames = resize_frames(frame[None], self._settings["size"])
        return view_frames(frames, self._side, ["center"])[0, 0]

    def _encode(self, squares):
        return self.describer.frame_encoder(squares, training=False)


def _resize_to_square(frame, side):
    return resize_image(frame, side).numpy()
