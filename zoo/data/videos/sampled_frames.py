"""Frames that are spread over a video, whatever its length."""

import os

import numpy as np
import tensorflow as tf

from zoo.data.videos.clips import resize_frames, spread_frames, view_frames
from zoo.data.videos.ffmpeg import read_timing
from zoo.data.videos.reading import frame_times, read_clip

ONE_PASS = 600  # frames; in a longer video, each frame is looked up from the keyframe before it


def sample_frames(path, num_frames, rate=None):
    """Reads RGB frames that are spread over a video.

    Args:
        path: Path of a video file, or of a folder of pictures.
        num_frames: Most frames to read; a shorter video gives all of its frames.
        rate: Frames per second, as in `zoo.data.videos.reading.read_frames`.

    Returns:
        List of uint8 RGB `(height, width, 3)`.

    Raises:
        zoo.data.videos.reading.VideoError: If the video cannot be read as far as the last frame
        wanted.
    """
    timing = None if os.path.isdir(path) else read_timing(path)
    length = len(frame_times(path, rate, timing))
    indices = spread_frames(length, num_frames)
    if length <= ONE_PASS:
        return list(read_clip(path, indices, rate))
    return [read_clip(path, [index], rate, timing)[0] for index in indices]


def center_squares(frames, frame_size, size):
    """Brings RGB frames to one size and cuts the middle out, as for the network.

    Args:
        frames: List of uint8 `(height, width, 3)`.
        frame_size: Height and width in pixels to which frames are brought first.
        size: Side of the squares in pixels.

    Returns:
        NumPy float32 `(frames, size, size, 3)` in 0..255.
    """
    if len({frame.shape for frame in frames}) == 1:
        resized = resize_frames(np.stack(frames), frame_size)  # (frames, *frame_size, 3)
    else:  # a file may change its size midway
        resized = tf.concat([resize_frames(frame[None], frame_size) for frame in frames], axis=0)
    return view_frames(resized, size, ["center"])[0].numpy()
