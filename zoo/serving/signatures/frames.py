"""What the signatures of models of videos share: from frames' bytes to features, row by row."""

import json

import tensorflow as tf

from zoo.data.images.decode import OK
from zoo.data.videos.clips import resize_frames, view_frames
from zoo.serving.signatures.pictures import STATUS, encode_pictures

MAX_FRAMES = 64  # of a row
CHUNK = 32  # frames that are in memory as pictures at the same time
BAD_COUNT = f"num_frames: expected 1 to {MAX_FRAMES}, and no more than the row has"


def frame_specs():
    """`tf.TensorSpec`s of what all of them take: rows of frames, and how many of a row count."""
    return [
        tf.TensorSpec([None, None], tf.string, name="frames"),
        tf.TensorSpec([None], tf.int32, name="num_frames"),
    ]


def settings_table(settings):
    """A table in the graph from a setting's name to its value in JSON, `null` for other names."""
    values = tf.constant([json.dumps(value) for value in settings.values()])
    keys = tf.constant(list(settings))
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), "null")


def encode_rows(encoder, settings, frames, num_frames):
    """Encodes the frames that count.

    Args:
        encoder: `keras.Model` from frames `(batch, size, size, 3)` to features.
        settings: Dict of `size`, to which frames are brought first, and `modality`.
        frames: String `(B, T)`, the bytes of pictures.
        num_frames: int32 `(B,)`.

    Returns:
        Features, float32 `(B, T, F)`, T at most `MAX_FRAMES`, zeros where no frame counts and in
        a bad row; and each row's status, string `(B,)`.
    """
    rows, given = tf.shape(frames)[0], tf.shape(frames)[1]
    frames, length = frames[:, :MAX_FRAMES], tf.minimum(given, MAX_FRAMES)
    counted = (num_frames >= 1) & (num_frames <= tf.minimum(given, MAX_FRAMES))
    wanted = tf.sequence_mask(tf.where(counted, num_frames, 0), length)  # (B, T)
    places = tf.where(wanted)  # (N, 2) int64, row and time: nothing else is decoded
    wanted_frames = tf.boolean_mask(frames, wanted)  # (N,)
    chunks = (tf.shape(wanted_frames)[0] + CHUNK - 1) // CHUNK
    feature_dim = encoder.output_shape[-1]

    # However many clips come at once, `CHUNK` of their frames are pictures at a time.
    def encode(i, features, numbers):
        found, number = encode_frames(encoder, settings, wanted_frames[i * CHUNK : (i + 1) * CHUNK])
        return i + 1, tf.concat([features, found], 0), tf.concat([numbers, number], 0)

    _, features, numbers = tf.while_loop(
        lambda i, *_: i < chunks,
        encode,
        [0, tf.zeros((0, feature_dim)), tf.zeros(0, tf.int32)],
        shape_invariants=[
            tf.TensorShape([]),
            tf.TensorShape([None, feature_dim]),
            tf.TensorShape([None]),
        ],
        parallel_iterations=1,
    )
    shape = tf.cast(tf.stack([rows, length]), tf.int64)
    numbers = tf.scatter_nd(places, numbers, shape)  # (B, T), OK is 0
    features = tf.scatter_nd(places, features, tf.concat([shape, [feature_dim]], 0))
    bad = tf.not_equal(numbers, OK)
    # With a column for rows that have no frame at all.
    first = tf.argmax(tf.pad(bad, [[0, 0], [0, 1]]), axis=1, output_type=tf.int32)
    reason = tf.gather(tf.pad(numbers, [[0, 0], [0, 1]]), first, batch_dims=1)
    why = tf.strings.join(["frame ", tf.as_string(first), ": ", tf.gather(STATUS, reason)])
    status = tf.where(reason == OK, STATUS[OK], why)
    status = tf.where(counted, status, BAD_COUNT)
    return tf.where((status == STATUS[OK])[:, None, None], features, 0.0), status


def count_status(features, num_frames):
    """Status of rows of features `(B, T, F)`, string `(B,)`: whether `num_frames` can be."""
    good = (num_frames >= 1) & (num_frames <= tf.minimum(tf.shape(features)[1], MAX_FRAMES))
    return tf.where(good, STATUS[OK], BAD_COUNT)


def encode_frames(encoder, settings, frames):
    """Features `(N, F)` of frames, string `(N,)`, and places in `STATUS`, int32 `(N,)`."""

    def prepare(frame):
        frame = resize_frames(frame[None], settings["size"])
        side = encoder.input_shape[1]
        return view_frames(frame, side, ["center"], settings["modality"])[0, 0]

    return encode_pictures(encoder, frames, prepare)
