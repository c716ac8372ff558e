"""A video as a stream of clips, in memory that does not grow with its length."""

import collections
import itertools

import numpy as np

from zoo.data.videos.clips import clip_starts
from zoo.data.videos.reading import frame_times


def stream_clips(path, settings, features):
    """Cuts what is known of each frame of a video into clips.

    Args:
        path: Path of the video.
        settings: Dict of `modality`, `rate`, `clip_length` and `stride`, as a preset's
            `metadata["frames"]` has them.
        features: Iterator over arrays `(F,)`, one for each frame of that modality, in order.

    Yields:
        For each clip `(start, end, features)`: seconds, and an array `(frames, F)`. The last clip
        ends with the video.

    Raises:
        zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
    """
    length, times = settings["clip_length"], frame_times(path, settings["rate"])
    # Flow has one fewer; a single frame has none, which reading it says.
    num_frames = max(len(times) - (settings["modality"] == "flow"), 1)
    last, count = collections.deque(maxlen=length), 0  # the features of a clip
    for start in clip_starts(num_frames, length, settings["stride"]):
        end = min(start + length, num_frames)
        last.extend(itertools.islice(features, end - count))
        count = end
        yield times[start], times[min(end, len(times) - 1)], np.stack(last)
    next(features, None)  # damage behind the last frame shows only now
