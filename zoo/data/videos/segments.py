"""A video as a stream of segments: a few frames of each, in memory that does not grow with it."""

import math

import numpy as np

from zoo.data.videos.clips import spread_frames
from zoo.data.videos.reading import frame_times, read_frames

SHORT = 20.0  # seconds; a longer video is told in several sentences
SHORTEST = 0.1  # seconds of a segment
SECONDS = 10.0  # of a segment of a long video, where nobody says otherwise


def segment_bounds(times, seconds):
    """Cuts a video into segments of about one length.

    >>> segment_bounds(np.arange(0, 10, 0.5), seconds=4)
    [(0.0, 4.0), (4.0, 10.0)]

    Args:
        times: float `(num_frames,)`, when each frame is shown, in seconds, from 0.
        seconds: Length of a segment; the last one takes what is left over, up to half as much
            again, or lacks up to half. None for a single segment.

    Returns:
        List of `(start, end)`, seconds; the last one ends where the last frame does.
    """
    end = video_end(times)
    count = 1 if seconds is None else max(math.ceil(end / seconds - 0.5), 1)
    starts = [float(n * seconds) for n in range(1, count)]
    return list(zip([0.0, *starts], [*starts, end], strict=True))


def video_end(times):
    """Finds when a video ends: its last frame is shown as long as the one before.

    >>> video_end(np.arange(0, 10, 0.5))
    10.0

    Args:
        times: float `(num_frames,)`, when each frame is shown, in seconds, from 0.

    Returns:
        Seconds.
    """
    last_frame = times[-1] - times[-2] if len(times) > 1 else 0.0
    return round(float(times[-1] + last_frame), 6)


def segment_length(path, seconds, rate=None):
    """Chooses the length of the segments of a video.

    Args:
        path: Path of a video file, or of a folder of pictures.
        seconds: Length that was asked for, or None.
        rate: Frames per second, as in `zoo.data.videos.reading.read_frames`.

    Returns:
        `seconds` if given; otherwise None, one segment, for a video of up to `SHORT` seconds, and
        `SECONDS` for a longer one.
    """
    if seconds is not None:
        return seconds
    ((_, end),) = segment_bounds(frame_times(path, rate), None)
    return None if end <= SHORT else SECONDS


def stream_segments(path, rate, seconds, max_frames, prepare):
    """Reads a video once and gives some frames of each of its segments.

    Args:
        path: Path of a video file, or of a folder of pictures.
        rate: Frames per second to which it is brought; None takes the frames as they are.
        seconds: Length of a segment; None for the whole video.
        max_frames: Frames of a segment, spread over it.
        prepare: Function of a frame, uint8 `(height, width, 3)`; what it gives is kept until the
            segment is whole.

    Yields:
        For each segment that has frames `(start, end, prepared)`: seconds, and a list.

    Raises:
        ValueError: If `seconds` is below `SHORTEST`.
        zoo.data.videos.reading.VideoError: If the video cannot be read to its end: at once where
            the file breaks off, otherwise behind the segments before the damage.
    """
    if seconds is not None and not seconds >= SHORTEST:
        raise ValueError(f"A segment lasts {SHORTEST} seconds or longer, got {seconds}.")
    times = frame_times(path, rate)
    bounds = segment_bounds(times, seconds)
    firsts = np.searchsorted(times, [start for start, _ in bounds])
    frames, index = read_frames(path, rate), 0
    for (start, end), first, stop in zip(bounds, firsts, [*firsts[1:], len(times)], strict=True):
        if first == stop:
            continue
        wanted, prepared = set((first + spread_frames(stop - first, max_frames)).tolist()), []
        while index < stop:
            frame = next(frames)
            if index in wanted:
                prepared.append(prepare(frame))
            index += 1
        yield start, end, prepared
    next(frames, None)  # damage behind the last frame shows only now
