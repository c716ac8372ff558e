"""What the signatures of all models share: from the bytes of pictures to features, row by row."""

import tensorflow as tf

from zoo.data.images.decode import OK, decode_image, image_status

STATUS = (
    "ok",
    "empty",
    "not an image",
    "too large",
    "damaged",
)  # in the order of zoo.data.images.decode
DAMAGED = STATUS.index("damaged")


def encode_pictures(encoder, image_bytes, prepare):
    """Encodes the pictures that can be decoded, inside an exported graph.

    Args:
        encoder: `keras.Model` from float32 RGB `(batch, size, size, 3)` to features.
        image_bytes: String `(B,)`, the bytes of files.
        prepare: Function from a decoded picture, uint8 `(height, width, 3)`, to float32 `(size,
            size, 3)`.

    Returns:
        Features, float32 `(B, F)`, zeros where there is no picture; and int32 `(B,)`, places in
        `STATUS`.
    """
    rows, size = tf.shape(image_bytes)[0], encoder.input_shape[1]
    status = tf.map_fn(image_status, image_bytes, fn_output_signature=tf.int32)

    def read(row, one):
        return row, prepare(decode_image(one))

    # A map over rows would fail as a whole; a pipeline leaves the bad ones out.
    good = tf.data.Dataset.from_tensor_slices((tf.range(rows), image_bytes))
    good = good.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    # One batch has to come even where every row is bad: it ends with a row beyond the last.
    nothing = tf.zeros((1, size, size, 3))
    beyond = tf.data.Dataset.from_tensor_slices((rows[None], nothing))
    both = good.concatenate(beyond).batch(tf.cast(rows, tf.int64) + 1)
    where, images = both.get_single_element()
    # It is encoded only then: convolutions refuse an empty batch.
    used = tf.maximum(tf.shape(where)[0] - 1, 1)
    where, features = where[:used, None], encoder(images[:used], training=False)
    features = tf.scatter_nd(where, features, (rows + 1, encoder.output_shape[-1]))[:rows]
    decoded = tf.scatter_nd(where, tf.ones(used, tf.int32), (rows + 1,))[:rows] > 0
    status = tf.where(decoded, OK, tf.where(status == OK, DAMAGED, status))
    return features, status


def a_picture():
    """A small JPEG of noise, for requests that warm up."""
    noise = tf.random.stateless_uniform((64, 64, 3), (0, 0), 0, 256, tf.int32)
    return tf.io.encode_jpeg(tf.cast(noise, tf.uint8))
