"""Training batches of clips, in an order that depends on nothing but seed and epoch."""

import os

import numpy as np
import tensorflow as tf

from zoo.data.batches.captions import WHOLE, epoch_order
from zoo.data.batches.service import read_batches
from zoo.data.videos.clips import clip_frames, random_start, square_frames

BUFFER = 1 << 18  # bytes that are read at a time
FRAME = tf.TensorSpec((None, None, 3), tf.uint8)


def clip_feature_batches(
    features,
    labels,
    clip_length,
    batch_size,
    clips_a_video,
    seed,
    epoch,
    first_batch=0,
    share=WHOLE,
):
    """Batches of clips for a head whose frozen encoder has run already.

    Args:
        features: List of the videos' features, see
            `zoo.data.features.frame_features.encode_videos`; of its views one is drawn for each
            clip.
        labels: int `(videos,)`.
        clip_length: Frames of a clip, which starts anywhere in its video.
        batch_size: Clips a batch.
        clips_a_video: Clips that an epoch draws from each video.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch: Batches to leave out, because a run that goes on has seen them.
        share: Which rows of every batch are read.

    Returns:
        `tf.data.Dataset` of `(features, labels, weights)`: float32 `(batch_size, clip_length,
        features)`, int32 and float32 `(batch_size, clip_length)`. Padding of a short video has
        weight 0.
    """
    drawn = draw_clips(len(labels), batch_size, clips_a_video, seed, epoch)
    order, chances = (share.of(one, first_batch) for one in drawn)
    labels = np.asarray(labels, "int32")
    width = features[0][0].shape[1]

    def gather(rows, chances):
        clips = np.empty((len(rows), clip_length, width), "float16")
        weights = np.empty((len(rows), clip_length), "float32")
        for n, (row, (place, view, *_)) in enumerate(zip(rows, chances, strict=True)):
            views = features[row]
            vectors = views[int(view * len(views))]
            start = random_start(place, len(vectors), clip_length)
            frames, weights[n] = clip_frames(start, len(vectors), clip_length)
            clips[n] = vectors[frames]
        return clips, np.repeat(labels[rows][:, None], clip_length, 1), weights

    def read(rows, chances):
        clips, targets, weights = tf.numpy_function(
            gather, (rows, chances), (tf.float16, tf.int32, tf.float32), stateful=False
        )
        shape = (order.shape[1], clip_length)
        clips = tf.ensure_shape(tf.cast(clips, tf.float32), (*shape, width))
        return clips, tf.ensure_shape(targets, shape), tf.ensure_shape(weights, shape)

    batches = tf.data.Dataset.from_tensor_slices((order, chances))
    return batches.map(read, num_parallel_calls=2, deterministic=True).prefetch(2)


def clip_batches(
    source,
    rows,
    frame_size,
    size,
    mirror,
    clip_length,
    batch_size,
    clips_a_video,
    seed,
    epoch,
    first_batch=0,
    share=WHOLE,
    service=None,
):
    """Batches of clips for training the whole network: only the frames of a clip are read.

    A clip starts anywhere in its video, is cropped anywhere, and may be mirrored; crop and
    mirroring are the same for all of its frames.

    Args:
        source: `zoo.data.sources.files.VideoFiles` or `zoo.data.sources.shard_writer.VideoShards`.
        rows: Indices of the videos in it that are used.
        frame_size: Height and width in pixels to which frames are brought before they are cropped.
        size: Side of the squares that the encoder sees.
        mirror: Whether half of the clips are mirrored; not where left and right are different
            activities.
        clip_length: Frames of a clip.
        batch_size: Clips a batch.
        clips_a_video: Clips that an epoch draws from each video.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch, share: See `clip_feature_batches`. Of what other workers see
            nothing is read.
        service: See `zoo.data.batches.service.read_batches`; of prepared videos only.

    Returns:
        `tf.data.Dataset` of `(frames, labels, weights)`: float32 RGB in 0..255 `(batch_size,
        clip_length, size, size, 3)`, int32 and float32 `(batch_size, clip_length)`. Padding of a
        short video has weight 0.

    Raises:
        ValueError: If video files are to be decoded by a service.
    """
    if service and not hasattr(source, "places"):
        raise ValueError(
            "A data service runs TensorFlow alone, and video files are decoded by other means: "
            "`lrcn prepare` turns them into files that it can read."
        )
    rows = np.asarray(rows)
    drawn = draw_clips(len(rows), batch_size, clips_a_video, seed, epoch)
    order, chances = (share.of(one, first_batch) for one in drawn)
    order = rows[order]
    num_frames = source.num_frames[order]
    starts = random_start(chances[..., 0], num_frames, clip_length)
    frames, weights = clip_frames(starts[..., None], num_frames[..., None], clip_length)
    labels = np.repeat(np.asarray(source.labels, "int32")[order][..., None], clip_length, -1)
    if service:
        load, places = record_loader(source), source.places(order, frames)
    else:
        load, places = _loader(source), (order, frames)

    def read(labels, weights, chances, *place):
        frames = tf.ensure_shape(load(*place), (clip_length, None, None, 3))
        mirrored = (chances[1] < 0.5) & mirror
        frames = square_frames(frames, frame_size, size, chances[2:4], mirrored, source.modality)
        return frames, labels, weights

    drawn = (labels, weights.astype("float32"), chances, *places)
    return read_batches(drawn, read, service).prefetch(2)


def record_loader(shards):
    """Gives the function that reads a clip of prepared videos in TensorFlow alone.

    It reads the whole record of the clip's video: what reads a few bytes amid a file is not to be
    had in TensorFlow.

    Args:
        shards: `zoo.data.sources.shards.VideoShards`.

    Returns:
        Function of a clip's `shards.places` to its frames, uint8 `(time, height, width, 3)`.
    """
    files = tf.constant([os.fsencode(os.path.abspath(file)) for file in shards.files])

    def load(file, start, offsets, lengths):
        # `tf.data.TFRecordDataset`, but for the byte at which it begins.
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=files[file][None],
            compression_type="",
            buffer_size=tf.constant(BUFFER, tf.int64),
            byte_offsets=start[None],
        )
        kind = {"output_types": [tf.string], "output_shapes": [()]}
        one = tf.constant(1, tf.int64)
        first = tf.raw_ops.TakeDataset(input_dataset=records, count=one, **kind)
        (record,) = tf.raw_ops.DatasetToSingleElement(dataset=first, **kind)
        return tf.map_fn(
            lambda place: _decode(tf.strings.substr(record, *place)),
            (offsets, lengths),
            fn_output_signature=FRAME,
        )

    return load


def _loader(source):
    """Like `record_loader`, for any source, of a video and frames; reads them and nothing else."""

    def load(video, frames):
        return tf.numpy_function(source.read, (video, frames), tf.uint8, stateful=False)

    return load


def _decode(jpeg):
    return tf.io.decode_jpeg(jpeg, 3, dct_method="INTEGER_ACCURATE")


def draw_clips(num_videos, batch_size, clips_a_video, seed, epoch):
    """Draws the clips of an epoch.

    Args:
        num_videos: Number of videos.
        batch_size, clips_a_video, seed, epoch: As for `clip_batches`.

    Returns:
        int64 `(batches, batch_size)`, of which videos they are; and float32 `(batches,
        batch_size, 4)` in [0, 1): where a clip begins, whether it is mirrored (below 0.5; or which
        view it is), and how far down and to the right it is cropped.
    """
    order = epoch_order(num_videos * clips_a_video, batch_size, seed, epoch) % num_videos
    chances = np.random.default_rng([seed, epoch, 1]).random((*order.shape, 4), dtype="float32")
    return order, chances
