"""A split of described videos, as a frozen encoder or a recogniser of roles sees it."""

import numpy as np

from zoo.data.batches.videos import pack_features
from zoo.data.datasets.described.described_video import place_of
from zoo.data.features.captioned import Captioned, with_words
from zoo.data.features.frame_features import encode_videos
from zoo.data.sources.files import VideoFiles


class DescribedVideos(Captioned):
    """The readable videos of a split that have captions with words.

    Args:
        examples: List of `zoo.data.datasets.DescribedVideo`.
        rate: Frames per second to which every video is brought; None takes them as they are.
        source: Where the frames come from, if not from files, such as `zoo.data.sources.arrays
            .ClipArray`: a video for each of the examples.
        frames: Whether the videos are to be opened. Not where their labels are all that is seen.

    Attributes:
        examples: Those of the `examples` that are used, with those captions that have a word.
        source: `zoo.data.sources.files.VideoFiles`, the one that was given, or None.
        rows: int `(videos,)`: where each example is in the source.
        skipped: Dict from the path of a video left out to the reason.
        features: float16 `(videos, time, features)` and `num_frames`, int32 `(videos,)`, or None
            before `encode`.
        labels: float32 `(videos, labels of all roles)`, what a describer that reads labels is to
            see; or None.

    Raises:
        ValueError: If no video is left, or two have the same id.
    """

    unit = "videos"

    def __init__(self, examples, rate=None, source=None, frames=True):
        used, self.skipped = with_words(examples, "video")
        if source is None:
            if frames:
                source = VideoFiles(used, rate=rate)
                used = source.videos
                self.skipped |= source.skipped
            self.rows = np.arange(len(used))
        else:
            place = {example.video_id: row for row, example in enumerate(examples)}
            self.rows = np.array([place[example.video_id] for example in used], int)
        if not used:
            raise ValueError(f"No video is left of {len(examples)}. {self.skipped_line()}")
        self.source, self.examples = source, used
        self.features = self.num_frames = self.labels = None

    def encode(self, encoder, frame_size, cache_dir, max_frames):
        """Gives every video the features of its frames; what turns out damaged is left out.

        Args:
            encoder: `keras.Model` from frames to features, see `zoo.data.features.frame_features`.
            frame_size: Height and width in pixels to which frames are brought first.
            cache_dir: Folder in which features are kept.
            max_frames: Of a longer video so many frames are taken, all over it.

        Raises:
            ValueError: If no video is left, or one was encoded before and cannot be now.
        """
        features, damaged = encode_videos(encoder, self.source, frame_size, cache_dir)
        good = [row not in damaged for row in self.rows]
        if self.features is not None and not all(good):
            lost = good.index(False)
            raise ValueError(
                f"{place_of(self.examples[lost])} could be read before and cannot be now: "
                f"{damaged[self.rows[lost]]}. Bring it back, and give the command again."
            )
        for example, row, kept in zip(self.examples, self.rows, good, strict=True):
            if not kept:
                reason = damaged[row].removeprefix(f"{example.path}: ")
                self.skipped[place_of(example)] = reason
        self.examples = [e for e, kept in zip(self.examples, good, strict=True) if kept]
        self.rows = self.rows[good]
        if not self.examples:
            raise ValueError(f"No video can be read to its end. {self.skipped_line()}")
        chosen = [features[row] for row in self.rows]
        self.features, self.num_frames = pack_features(chosen, max_frames)

    def sequences(self, rows=slice(None)):
        """Features and number of frames of the videos, as the models take them."""
        return self.features[rows], self.num_frames[rows]

    def seen(self, rows=slice(None)):
        """What a describer takes of the videos: labels where there are any, else features."""
        return self.sequences(rows) if self.labels is None else self.labels[rows]
