"""What models take as videos: frames or their features, filled up to one length, and the counts."""

import keras
import numpy as np

from zoo.models.backbones import check_image_encoder
from zoo.models.layers.every_frame import EveryFrame
from zoo.models.layers.fused_convolution import fuse_batch_normalization


def video_inputs(source):
    """Begins a functional model of videos.

    Args:
        source: `keras.Model` from frames `(batch, height, width, 3)` to features `(batch,
            features)`, or an int: the length of features that are fed instead of frames.

    Returns:
        Three things: a dict of the model's inputs, `frames (batch, time, height, width, 3)` or
        `features (batch, time, features)`, and `num_frames`, int32 `(batch,)`; the frames'
        features, `(batch, time, features)`; and the CNN, or None.

    Raises:
        ValueError: If it gives more than one vector a frame.
    """
    num_frames = keras.Input((), dtype="int32", name="num_frames")
    if isinstance(source, int):
        features = keras.Input((None, source), name="features")
        return {"features": features, "num_frames": num_frames}, features, None
    check_image_encoder(source)
    frames = keras.Input((None, *source.input_shape[1:]), name="frames")
    features = EveryFrame(fuse_batch_normalization(source), name="every_frame")(frames)
    return {"frames": frames, "num_frames": num_frames}, features, source


def with_counts(videos):
    """Gives videos as two arrays.

    Args:
        videos: Array `(batch, time, ...)` of videos of one length; or a pair of such an array and
            `num_frames`, int `(batch,)`: what stands behind so many frames only fills up.

    Returns:
        float32 `(batch, time, ...)` and int32 `(batch,)`.

    Raises:
        ValueError: If there are no videos, or the counts do not fit them.
    """
    frames, num_frames = videos if isinstance(videos, tuple | list) else (videos, None)
    frames = np.asarray(frames, "float32")
    if frames.ndim < 3 or not frames.shape[0] or not frames.shape[1]:
        raise ValueError(
            "Expected videos (batch, time, height, width, 3), or features (batch, time, "
            f"features), at least one with at least one frame. Received: shape {frames.shape}"
        )
    if num_frames is None:
        num_frames = np.full(len(frames), frames.shape[1])
    num_frames = np.asarray(num_frames, "int32")
    if (
        num_frames.shape != (len(frames),)
        or not ((num_frames >= 1) & (num_frames <= frames.shape[1])).all()
    ):
        raise ValueError(
            f"Expected a number of frames from 1 to {frames.shape[1]} for each of {len(frames)} "
            f"videos. Received: {num_frames.tolist()}"
        )
    return frames, num_frames


def encode_videos(videos, frame_encoder, feature_dim, compiled_functions, batch_size):
    """Encodes the frames of videos; features pass unchanged.

    Args:
        videos: See `with_counts`: frames, float RGB in 0..255 `(batch, time, height, width, 3)`,
            or features `(batch, time, feature_dim)`.
        frame_encoder: The CNN, or None where only features are taken.
        feature_dim: Length of its features.
        compiled_functions: `CompiledFunctions` of the model that asks.
        batch_size: Videos at a time.

    Returns:
        float32 `(batch, time, feature_dim)` and int32 `(batch,)`.

    Raises:
        ValueError: If the frames' shape is another.
    """
    frames, num_frames = with_counts(videos)
    if frames.shape[2:] == (feature_dim,):
        return frames, num_frames
    expected = f"features (batch, time, {feature_dim})"
    if frame_encoder is not None:
        side = frame_encoder.input_shape[1:]
        expected = f"frames (batch, time, {', '.join(map(str, side))}) or {expected}"
    if frame_encoder is None or frames.shape[2:] != frame_encoder.input_shape[1:]:
        raise ValueError(f"Expected {expected}. Received: shape {frames.shape}")
    encode = compiled_functions.get(
        "encode", lambda x: EveryFrame(frame_encoder)(x, training=False), [frame_encoder]
    )
    return encode.run(frames, batch_size), num_frames
