"""Training batches of described videos, in an order that depends on nothing but seed and epoch.

Videos of a batch differ in length: the shorter ones are filled up, and `num_frames` says what
counts.
"""

import numpy as np
import tensorflow as tf

from zoo.data.batches.captions import WHOLE, epoch_order, teach
from zoo.data.videos.clips import spread_frames, square_frames


def pack_features(features, max_frames):
    """Brings the features of videos into one array.

    Args:
        features: List of the videos' features, see
            `zoo.data.features.frame_features.encode_videos`; the first view counts.
        max_frames: Of a longer video so many frames are taken, all over it.

    Returns:
        float16 `(videos, time, features)`, zeros behind the end of a video, and int32
        `(videos,)`, how many frames each has.
    """
    chosen = [views[0][spread_frames(len(views[0]), max_frames)] for views in features]
    num_frames = np.array([len(vectors) for vectors in chosen], "int32")
    packed = np.zeros((len(chosen), num_frames.max(), chosen[0].shape[1]), "float16")
    for row, vectors in zip(packed, chosen, strict=True):
        row[: len(vectors)] = vectors
    return packed, num_frames


def sequence_batches(
    features,
    num_frames,
    video_index,
    token_ids,
    batch_size,
    seed,
    epoch,
    first_batch=0,
    share=WHOLE,
):
    """Batches of captions for a describer whose frozen encoder has run already.

    Args:
        features: float16 `(videos, time, features)`, from `pack_features`.
        num_frames: int32 `(videos,)`.
        video_index: int `(captions,)`, which video a caption describes.
        token_ids: int32 `(captions, max_words)`, padded with 0.
        batch_size: Captions a batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch: Batches to leave out, because a run that goes on has seen them.
        share: Which rows of every batch are read.

    Returns:
        `tf.data.Dataset` of `({"features", "num_frames", "token_ids"}, targets, weights)`:
        float32 `(batch_size, time, features)`, int32 `(batch_size,)`; int32 `(batch_size, words)`
        as input, as target, and float32 as weight.
    """
    order = epoch_order(len(token_ids), batch_size, seed, epoch, (token_ids != 0).sum(1))
    video_index, token_ids = tf.constant(video_index, tf.int64), tf.constant(token_ids)
    sight = _Sight(features, num_frames)

    def gather(captions):
        inputs = sight.of(tf.gather(video_index, captions))
        return teach(inputs, tf.gather(token_ids, captions))

    batches = tf.data.Dataset.from_tensor_slices(share.of(order, first_batch))
    return batches.map(gather, num_parallel_calls=2).prefetch(2)


def role_batches(features, num_frames, labels, batch_size, seed, epoch, first_batch=0, share=WHOLE):
    """Batches of videos for a recogniser of roles whose frozen encoder has run already.

    Args:
        labels: int32 `(videos, roles)`.
        features, num_frames, batch_size, seed, epoch, first_batch, share: As for
            `sequence_batches`.

    Returns:
        `tf.data.Dataset` of `({"features", "num_frames"}, labels)`.
    """
    order = epoch_order(len(labels), batch_size, seed, epoch)
    sight, labels = _Sight(features, num_frames), tf.constant(labels)

    def gather(rows):
        return sight.of(rows), tf.gather(labels, rows)

    batches = tf.data.Dataset.from_tensor_slices(share.of(order, first_batch))
    return batches.map(gather, num_parallel_calls=2).prefetch(2)


def video_batches(
    source,
    rows,
    frame_size,
    size,
    max_frames,
    targets,
    batch_size,
    seed,
    epoch,
    first_batch=0,
    share=WHOLE,
):
    """Batches of videos for training the whole network.

    All frames of a video are cropped at the same place, drawn by chance. They are never mirrored:
    left and right are words.

    Args:
        source: `zoo.data.sources.files.VideoFiles`, or another source of videos.
        rows: Indices of the videos in it that are used.
        frame_size: Height and width in pixels to which frames are brought before they are cropped.
        size: Side of the squares that the encoder sees.
        max_frames: Of a longer video so many frames are taken, all over it.
        targets: int32 array, a row for each of `rows`. `(videos, roles)`: labels, for a recogniser
            of roles. `(videos, captions, max_words)`: token ids, for a describer.
        batch_size: Videos a batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch: Batches to leave out, because a run that goes on has seen them.
        share: Which rows of every batch are read.

    Returns:
        `tf.data.Dataset` of `({"frames", "num_frames"}, labels)`, or of `({"frames",
        "num_frames", "token_ids"}, targets, weights)`: float32 RGB in 0..255 `(batch_size, time,
        size, size, 3)`, int32 `(batch_size,)`, and what is taught. Behind the end of a video its
        last frame stands still.
    """
    order = epoch_order(len(rows), batch_size, seed, epoch)
    corners = np.random.default_rng([seed, epoch, 1]).random((*order.shape, 2), dtype="float32")
    order, corners = (share.of(drawn, first_batch) for drawn in (order, corners))
    rows, targets = np.asarray(rows), tf.constant(targets)

    def fetch(n):
        row = int(rows[n])
        return source.read(row, spread_frames(int(source.num_frames[row]), max_frames))

    def read(n, corner):
        frames = tf.numpy_function(fetch, [n], tf.uint8, stateful=False)
        frames = tf.ensure_shape(frames, (None, None, None, 3))
        frames = square_frames(frames, frame_size, size, corner, False, source.modality)
        return frames, tf.shape(frames)[0], n

    def collect(frames, num_frames, n):
        last = num_frames[:, None] - 1
        places = tf.minimum(tf.range(tf.shape(frames)[1])[None], last)
        inputs = {"frames": tf.gather(frames, places, batch_dims=1), "num_frames": num_frames}
        taught = tf.gather(targets, n)
        return (inputs, taught) if targets.shape.rank == 2 else teach(inputs, taught)

    videos = (order.ravel(), corners.reshape(-1, 2))
    videos = tf.data.Dataset.from_tensor_slices(videos)
    videos = videos.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = videos.padded_batch(order.shape[1], drop_remainder=True).map(collect)
    return batches.prefetch(2)


class _Sight:
    """What is seen of chosen videos: their features, no longer than the longest of them."""

    def __init__(self, features, num_frames):
        self.features = tf.constant(features)
        self.num_frames = tf.constant(num_frames, tf.int32)

    def of(self, rows):
        num_frames = tf.gather(self.num_frames, rows)
        features = tf.gather(self.features, rows)[:, : tf.reduce_max(num_frames)]
        return {"features": tf.cast(features, tf.float32), "num_frames": num_frames}
