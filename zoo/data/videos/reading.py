"""Videos, be they files or folders of pictures, as upright RGB frames in order."""

import math
import os
import re

import numpy as np
import tensorflow as tf

from zoo.data.images.decode import decode_image
from zoo.data.images.decode import explain as explain_image
from zoo.data.videos.ffmpeg import THREADS, VideoError, decode, read_timing, to_rgb

__all__ = ["VideoError", "explain", "frame_times", "read_clip", "read_frames"]

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
SEEK_FROM = 32  # frames; before that, looking for a keyframe costs more than it saves
TOLERANCE = 0.001  # seconds; some formats round times to milliseconds
LONGEST_GAP = 3600  # seconds between two frames; more is damage, and would be frames for ever


def read_frames(path, rate=None):
    """Reads a video in a stream: memory does not grow with its length.

    Args:
        path: Path of a video file, or of a folder of pictures (JPEG, PNG, BMP), which are taken in
            natural order: `frame2.jpg` before `frame10.jpg`.
        rate: Frames per second wanted of a file: frame k is then the one on screen `k / rate`
            seconds after the first. None takes the frames as they are, as a folder's always are.

    Yields:
        uint8 RGB `(height, width, 3)`, turned upright, all of the first one's size.

    Raises:
        VideoError: If the video cannot be read. Where it is damaged or breaks off further on, its
            good frames come first, and the reason says how many they were.
        ValueError: If the rate is not above 0.
    """
    _check_rate(rate)
    if os.path.isdir(path):
        pictures = _pictures(path)
        yield from _read_pictures(path, pictures, range(len(pictures)))
        return
    first = None
    for _, frame in _from_start(path, rate):
        first = first or frame
        yield to_rgb(frame, like=first)


def frame_times(path, rate=None, timing=None):
    """Finds when each frame of `read_frames` is shown, without decoding any.

    Args:
        path: Path of a video file, or of a folder of pictures.
        rate: Frames per second, as in `read_frames`.
        timing: What `read_timing` says of a file, if that is known already.

    Returns:
        float64 `(num_frames,)`, in seconds after the first frame. A folder's pictures have no
        times: they are numbered, one a second or `rate` a second.

    Raises:
        VideoError: If the video cannot be read, or breaks off.
        ValueError: If the rate is not above 0.
    """
    _check_rate(rate)
    if os.path.isdir(path):
        return np.arange(len(_pictures(path))) / (rate or 1)
    timing = timing or read_timing(path)
    if rate is None:
        return timing.seconds
    _check_gap(path, np.diff(timing.pts, append=timing.end).max() * timing.tick)
    seconds = (timing.end - timing.pts[0]) * timing.tick
    return np.arange(max(1, _count_before(seconds, rate))) / rate


def read_clip(path, indices, rate=None, timing=None):
    """Reads some frames of a video in one pass, which ends with the last of them.

    It decodes in one thread: where clips are wanted, several are read at the same time.

    Args:
        path: Path of a video file, or of a folder of pictures.
        indices: Which frames of `read_frames(path, rate)`: ascending, and they may repeat.
        rate: Frames per second, as in `read_frames`.
        timing: What `read_timing` says of a file, if that is known already: then decoding begins
            at the last keyframe that it can begin at.

    Returns:
        uint8 RGB `(len(indices), height, width, 3)`.

    Raises:
        VideoError: If the video cannot be read as far as the last index, or ends before it.
        ValueError: If the indices do not ascend from 0 or above, or the rate is not above 0.
    """
    _check_rate(rate)
    indices = [int(index) for index in indices]
    if not indices or indices[0] < 0 or indices != sorted(indices):
        raise ValueError(f"read_clip expects ascending indices from 0 or above; got {indices}.")
    if os.path.isdir(path):
        pictures = _pictures(path)
        if indices[-1] >= len(pictures):
            raise VideoError(path, _too_short(len(pictures), indices[-1]))
        wanted = sorted(set(indices))
        read = dict(zip(wanted, _read_pictures(path, pictures, wanted), strict=True))
    else:
        read = _read_some(_near(path, rate, indices[0], timing), set(indices))
        read = read or _read_some(_from_start(path, rate, threads=1), set(indices))
        if indices[-1] not in read:
            raise VideoError(path, _too_short(len(frame_times(path, rate)), indices[-1]))
    return np.stack([read[index] for index in indices])


def explain(path):
    """Says in plain words why a video cannot be read to its end.

    Args:
        path: Path of a video file, or of a folder of pictures.

    Returns:
        None if all of it can be read, otherwise the reason, such as `"missing: there is no such
        file"`. The path is not part of it.
    """
    try:
        for _ in read_frames(path) if os.path.isdir(path) else decode(path):
            pass
    except VideoError as error:
        return error.reason
    return None


def _check_rate(rate):
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"rate is a number of frames per second above 0, or None; got {rate}.")


def _too_short(num_frames, index):
    return f"too short: it has {num_frames} frames, and frame {index} (from 0) was asked for"


def _read_some(numbered, wanted):
    """Converts the wanted frames of `(index, frame)`; `{}` where the last of them is missing."""
    read, first = {}, None
    for index, frame in numbered:
        first = first or frame
        if index in wanted:
            read[index] = to_rgb(frame, like=first)
        if index == max(wanted):
            return read
    return {}


def _from_start(path, rate, threads=THREADS):
    """Yields `(index, frame)` of all that a file shows."""
    shown = decode(path, threads=threads)
    if rate is not None:
        return _resample(path, shown, rate)
    return ((index, frame) for index, (_, _, frame) in enumerate(shown))


def _near(path, rate, index, timing):
    """Yields `(index, frame)` from a keyframe before the index on; nothing where that fails."""
    if index < SEEK_FROM and not timing:
        return
    try:
        timing = timing or read_timing(path)
        if rate is None:
            target = timing.pts[min(index, len(timing.pts) - 1)]
        else:
            target = timing.pts[0] + index / rate / timing.tick
        before = [pair for pair in timing.keyframes if timing.pts[0] < pair[0] <= target]
        if not before:
            return
        shown = decode(path, max(before), threads=1)
        if rate is not None:
            yield from _resample(path, shown, rate, origin=timing.pts[0])
            return
        for pts, _, frame in shown:
            yield int(np.searchsorted(timing.pts, pts)), frame
    except VideoError:
        return  # reading from the start says it better, or reaches the wanted frames


def _resample(path, shown, rate, origin=None):
    """Yields `(k, frame)`: the frame on screen `k / rate` seconds after the origin."""
    index, last = 0, None
    for pts, end, frame in shown:
        tick = float(frame.time_base)
        origin = pts if origin is None else origin
        start = _count_before((pts - origin) * tick, rate)
        if last is not None:
            _check_gap(path, (pts - last[0]) * tick)
            for k in range(index, start):
                yield k, last[1]
        index, last = max(index, start), (pts, frame)
        stop = max(1, _count_before((end - origin) * tick, rate))
    if last is not None:
        _check_gap(path, (end - pts) * tick)
        for k in range(index, stop):
            yield k, frame


def _count_before(seconds, rate):
    """How many of the times 0, 1 / rate, 2 / rate, ... come before a frame that is shown then."""
    return max(0, math.ceil((seconds - TOLERANCE) * rate))


def _check_gap(path, seconds):
    if seconds > LONGEST_GAP:
        raise VideoError(path, f"damaged: {seconds:.0f} seconds pass between two of its frames")


def _pictures(path):
    """Lists the pictures of a folder in natural order."""
    names = [name for name in os.listdir(path) if name.lower().endswith(PICTURES)]
    names = sorted((name for name in names if name[0] != "."), key=_natural)
    if not names:
        raise VideoError(path, "no frames: expected a folder of JPEG, PNG or BMP pictures")
    return names


def _natural(name):
    """`"frame10.jpg"` -> `["frame", 10, ".jpg"]`, and the name itself to tell 1 from 01."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _read_pictures(path, names, indices):
    """Yields the pictures of a folder that have these indices."""
    shape = None
    for index in indices:
        file = os.path.join(path, names[index])
        try:
            with open(file, "rb") as stream:
                picture = decode_image(stream.read()).numpy()
        except (OSError, tf.errors.OpError) as error:
            reason = explain_image(file) or str(error)
            raise VideoError(path, f"damaged: {names[index]} is {reason}") from None
        shape = shape or picture.shape
        if picture.shape != shape:
            raise VideoError(
                path,
                f"{names[index]} has {picture.shape[1]} x {picture.shape[0]} pixels, pictures "
                f"before it {shape[1]} x {shape[0]}: the frames of a video have one size",
            )
        yield picture
