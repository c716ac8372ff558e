"""Clips: which frames of a video belong together, and how they become squares for a network."""

import numpy as np
import tensorflow as tf

from zoo.data.images.decode import resize_images

CLIP_LENGTH = 16  # frames; paper, section 4.1
STRIDE = 8  # frames between the clips of a test; paper, section 4.1
FRAME_SIZE = (240, 320)  # height and width to which frames are brought; paper, section 4.1
# Where a crop lies, down and to the right, in shares of the room that it has.
CROPS = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
}
VIEWS = (*CROPS, *(f"mirror_{crop}" for crop in CROPS))  # the ten of the authors' test


def clip_starts(num_frames, clip_length=CLIP_LENGTH, stride=STRIDE):
    """Covers a video with clips; the last one ends with the video.

    >>> clip_starts(43)
    [0, 8, 16, 24, 27]
    >>> clip_starts(9)  # one clip, padded
    [0]

    Args:
        num_frames: Frames of the video.
        clip_length: Frames of a clip.
        stride: Frames from one clip to the next.

    Returns:
        List of the clips' first frames.
    """
    last = max(num_frames - clip_length, 0)
    return [*range(0, last, stride), last]


def uniform_starts(num_frames, num_clips, clip_length=CLIP_LENGTH):
    """Spreads clips evenly over a video, the first at its beginning, the last at its end.

    >>> uniform_starts(43, 4)
    [0, 9, 18, 27]

    Args:
        num_frames: Frames of the video.
        num_clips: Number of clips; a single one lies in the middle.
        clip_length: Frames of a clip.

    Returns:
        List of the clips' first frames.
    """
    last = max(num_frames - clip_length, 0)
    if num_clips == 1:
        return [last // 2]
    return [round(last * n / (num_clips - 1)) for n in range(num_clips)]


def spread_frames(num_frames, max_frames):
    """Chooses frames all over a video, all of them if they are no more than are wanted.

    >>> spread_frames(43, 4).tolist()
    [0, 14, 28, 42]
    >>> spread_frames(3, 4).tolist()
    [0, 1, 2]

    Args:
        num_frames: Frames of the video.
        max_frames: Most frames to choose; a single one lies in the middle.

    Returns:
        int array of indices, ascending.
    """
    if num_frames <= max_frames:
        return np.arange(num_frames)
    if max_frames == 1:
        return np.array([num_frames // 2])
    return np.rint(np.linspace(0, num_frames - 1, max_frames)).astype(int)


def random_start(chance, num_frames, clip_length=CLIP_LENGTH):
    """Draws a clip, or many.

    >>> random_start([0.99, 0.99], [43, 9])
    array([27, 0])

    Args:
        chance: Uniform random numbers in [0, 1).
        num_frames: Frames of each video.
        clip_length: Frames of a clip.

    Returns:
        int array, each clip's first frame.
    """
    room = np.maximum(np.asarray(num_frames) - clip_length, 0)
    return (np.asarray(chance, "float64") * (room + 1)).astype(int)


def clip_frames(start, num_frames, clip_length=CLIP_LENGTH):
    """Lists the frames of a clip; a short video is padded with its last frame.

    >>> clip_frames(0, num_frames=3, clip_length=5)
    (array([0, 1, 2, 2, 2]), array([ True,  True,  True, False, False]))

    Args:
        start: First frame of the clip; or those of many, `(..., 1)`, as the next one.
        num_frames: Frames of the video, at least 1.
        clip_length: Frames of the clip.

    Returns:
        int `(clip_length,)`, indices of frames, and bool `(clip_length,)`, False for padding.
    """
    frames = start + np.arange(clip_length)
    return np.minimum(frames, num_frames - 1), frames < num_frames


def resize_frames(frames, frame_size):
    """Brings frames to one size, whatever their sides' ratio, as the paper does.

    Args:
        frames: `(time, height, width, 3)`, uint8 or float32.
        frame_size: Height and width in pixels.

    Returns:
        float32 `(time, *frame_size, 3)` in the range of `frames`. Bilinear, with antialiasing.
    """
    return resize_images(frames, tuple(frame_size))


def square_frames(frames, frame_size, size, corner, mirror, modality="rgb"):
    """Brings frames to one size, and cuts the same square out of all of them.

    Args:
        frames: uint8 `(time, height, width, 3)`.
        frame_size: Height and width in pixels, see `resize_frames`.
        size, corner, mirror, modality: See `crop_frames`.

    Returns:
        float32 `(time, size, size, 3)`.
    """
    shape, cut = tf.shape(frames), (size, corner, mirror, modality)

    def cut_first():  # bytes, and only those of the square become floats
        fitting = tf.ensure_shape(frames, (None, *frame_size, 3))
        return tf.cast(crop_frames(fitting, *cut), tf.float32)

    return tf.cond(
        (shape[1] == frame_size[0]) & (shape[2] == frame_size[1]),
        cut_first,
        lambda: crop_frames(resize_frames(frames, frame_size), *cut),
    )


def crop_frames(frames, size, corner, mirror, modality="rgb"):
    """Cuts the same square out of all frames of a clip.

    Args:
        frames: `(time, height, width, 3)`, uint8 or float32.
        size: Side of the square in pixels; no larger than the frames.
        corner: float `(2,)` in [0, 1]: where the square lies, down and to the right, in shares of
            the room that it has.
        mirror: bool, whether all frames are mirrored.
        modality: `"rgb"` or `"flow"`; in a mirrored flow image motion to the left is motion to
            the right.

    Returns:
        `(time, size, size, 3)`, of the type of `frames`.
    """
    height, width = frames.shape[1:3]
    if size > min(height, width):
        raise ValueError(
            f"A square of {size} pixels does not fit into frames of {height} x {width}. Choose "
            "larger frames, or a network that takes smaller ones."
        )
    room = tf.constant([height - size, width - size], tf.float32)
    top, left = tf.unstack(tf.cast(tf.round(corner * room), tf.int32))
    frames = frames[:, top : top + size, left : left + size]
    frames = tf.cond(
        tf.convert_to_tensor(mirror), lambda: _mirror(frames, modality), lambda: frames
    )
    return tf.ensure_shape(frames, (None, size, size, 3))


def view_frames(frames, size, views, modality="rgb"):
    """Cuts views out of frames.

    Args:
        frames: float32 `(time, height, width, 3)`.
        size: Side of the squares in pixels.
        views: Names out of `VIEWS`.
        modality: See `crop_frames`.

    Returns:
        float32 `(num_views, time, size, size, 3)`.
    """
    return tf.stack(
        [
            crop_frames(
                frames, size, CROPS[view.removeprefix("mirror_")], view not in CROPS, modality
            )
            for view in views
        ]
    )


def _mirror(frames, modality):
    frames = tf.reverse(frames, [2])
    if modality != "flow":
        return frames
    # x is kept as 128 + 16 x, so its negative is 256 - x; 0 would become 256, and is cut off.
    x = tf.minimum(256 - tf.cast(frames[..., :1], tf.float32), 255)
    return tf.concat([tf.cast(x, frames.dtype), frames[..., 1:]], axis=-1)
