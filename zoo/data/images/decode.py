"""Pictures: from the bytes of a file to upright RGB squares, the same in training and in serving.

Every function but `explain` works on tensors, inside `tf.data` and inside an exported SavedModel.
"""

import functools
import os

import tensorflow as tf

from zoo.data.images import headers

MAX_PIXELS = 40_000_000  # more is refused unseen: 164 KB of PNG can cost 3 GB to decode

OK, EMPTY, NOT_AN_IMAGE, TOO_LARGE, DAMAGED = range(5)  # status of a picture
REASONS = (
    "fine",
    "empty: the file has 0 bytes",
    "not an image: expected JPEG, PNG, GIF or BMP",
    f"too large: more than {MAX_PIXELS // 10**6} megapixels",
    "damaged, or of a kind that cannot be decoded",
)


# Traced once in a process, however many pipelines and exports use it; and single pictures go
# through 20 times faster than operation by operation.
_in_graph = functools.partial(
    tf.function, input_signature=[tf.TensorSpec((), tf.string)], autograph=False
)


@_in_graph
def image_status(image_bytes):
    """Says from the header alone, without decoding, whether a picture can be decoded.

    Args:
        image_bytes: String scalar, the bytes of a file.

    Returns:
        int32 scalar: `OK`, `EMPTY`, `NOT_AN_IMAGE`, `TOO_LARGE` (more than `MAX_PIXELS`), or
        `DAMAGED` if the header names no size. Damage further on shows only in `decode_image`.
        Never fails, whatever the bytes.

    Example:

    >>> from zoo.data.images.decode import NOT_AN_IMAGE, image_status
    >>> int(image_status(b"<html>")) == NOT_AN_IMAGE
    True
    """
    return _status(image_bytes, headers.read_header(image_bytes))


@_in_graph
def decode_image(image_bytes):
    """Decodes a picture: RGB, upright.

    JPEG (grey, RGB, CMYK), PNG (any kind; 16 bits lose the lower 8, alpha is dropped), GIF (its
    first frame) and BMP (8, 24 and 32 bits a pixel). The orientation that EXIF gives a JPEG is
    carried out.

    Args:
        image_bytes: String scalar, the bytes of a file.

    Returns:
        uint8 `(height, width, 3)`.

    Raises:
        tf.errors.InvalidArgumentError: If the picture cannot be decoded, or if its header says
            that it has more than `MAX_PIXELS`.
    """
    # Most pictures are JPEGs, and libjpeg reads their size ten times as fast as `read_header`.
    is_jpeg = tf.strings.substr(image_bytes, 0, 3) == bytes(headers.SIGNATURES[0][:3])
    decode = [lambda: _decode_jpeg(image_bytes), lambda: _decode_other(image_bytes)]
    return tf.ensure_shape(tf.cond(is_jpeg, *decode), (None, None, 3))


def resize_image(image, size):
    """Squashes a picture to a square; the sides' ratio is not kept, as in the paper.

    Args:
        image: `(height, width, 3)`, uint8 or float32.
        size: Side of the square in pixels.

    Returns:
        float32 `(size, size, 3)` in the range of `image`, 0..255. Bilinear, with antialiasing.
    """
    return resize_images(tf.expand_dims(image, 0), (size, size))[0]


def resize_images(images, size):
    """Brings pictures of one size to another, whatever their sides' ratio.

    Args:
        images: `(batch, height, width, 3)`, uint8 or float32.
        size: Height and width in pixels.

    Returns:
        float32 `(batch, *size, 3)` in the range of `images`. Bilinear, with antialiasing: the
        numbers of `tf.image.resize`, to the last bit.
    """
    shape = tf.shape(images)
    images = tf.cond(
        (shape[1] == size[0]) & (shape[2] == size[1]),
        lambda: tf.cast(images, tf.float32),
        lambda: _resize(images, size),
    )
    return tf.ensure_shape(images, (None, *size, 3))


def read_images(paths, size):
    """Reads pictures from disk, several at a time, in order.

    Args:
        paths: List of paths.
        size: Side of the squares in pixels.

    Returns:
        `tf.data.Dataset` of `(index, image)`: int64 scalar, the place in `paths`, and float32
        RGB `(size, size, 3)` in 0..255. A picture that cannot be read is left out, so its index
        is missing; `explain` says why.
    """

    def read(index, path):
        return index, resize_image(decode_image(tf.io.read_file(path)), size)

    return read_each(paths, read)


def read_each(paths, read):
    """Maps `read(index, path)` over paths, in parallel and in order; where it fails: left out."""
    there = [index for index, path in enumerate(paths) if os.path.isfile(path)]  # TF logs the rest
    indices = tf.constant(there, tf.int64, shape=(len(there),))
    names = [os.fsencode(paths[index]) for index in there]
    names = tf.constant(names, tf.string, shape=(len(there),))
    dataset = tf.data.Dataset.from_tensor_slices((indices, names))
    read = tf.autograph.experimental.do_not_convert(read)  # nothing to convert; traced faster
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.ignore_errors(log_warning=False).prefetch(tf.data.AUTOTUNE)


def explain(path):
    """Says in plain words why a picture cannot be read.

    Args:
        path: Path of a file.

    Returns:
        None if the picture can be read, otherwise the reason, such as `"missing: there is no such
        file"`. The path is not part of it.
    """
    if not os.path.exists(path):
        return "missing: there is no such file"
    try:
        with open(path, "rb") as file:
            image_bytes = file.read()
    except OSError as error:
        return f"unreadable: {error.strerror}"
    status, height, width = (int(number) for number in _look(image_bytes))
    if status == TOO_LARGE:
        return f"{REASONS[status]} ({width} x {height} pixels)"
    if status == OK:
        try:
            decode_image(image_bytes)
            return None
        except tf.errors.OpError:
            status = DAMAGED
    return REASONS[status]


@_in_graph
def _look(image_bytes):
    header = headers.read_header(image_bytes)
    return _status(image_bytes, header), header.height, header.width


def _status(image_bytes, header):
    pixels = tf.minimum(header.height, 2**31) * tf.minimum(header.width, 2**31)  # no overflow
    status = tf.where(pixels > MAX_PIXELS, TOO_LARGE, OK)
    status = tf.where(pixels < 1, DAMAGED, status)
    status = tf.where(header.format == headers.UNKNOWN, NOT_AN_IMAGE, status)
    return tf.where(tf.strings.length(image_bytes) == 0, EMPTY, status)


def _decode_jpeg(image_bytes):
    sides = tf.cast(tf.image.extract_jpeg_shape(image_bytes)[:2], tf.int64)
    small = tf.raw_ops.Assert(
        condition=sides[0] * sides[1] <= MAX_PIXELS, data=[tf.constant(REASONS[TOO_LARGE])]
    )
    with tf.control_dependencies([small]):
        # INTEGER_ACCURATE gives Pillow's pixels; the default is no faster and up to 6 levels off.
        image = tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE")
    has_exif = tf.strings.regex_full_match(image_bytes, headers.HAS_EXIF)
    return tf.cond(has_exif, lambda: _turn(image, image_bytes), lambda: image)


# Called rather than inlined, as is `_decode_other`: of a branch that is not taken every operation
# costs time, in each picture, and in the start of each epoch.
_called = {"autograph": False, "experimental_attributes": {"_noinline": True}}


@tf.function(
    input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.string)],
    **_called,
)
def _turn(image, image_bytes):
    return tf.ensure_shape(
        _upright(image, headers.read_header(image_bytes).orientation), (None, None, 3)
    )


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], **_called)
def _decode_other(image_bytes):
    header = headers.read_header(image_bytes)
    status = _status(image_bytes, header)

    def refuse():
        stop = tf.raw_ops.Assert(
            condition=tf.constant(False), data=[tf.gather(tf.constant(REASONS), status)]
        )
        with tf.control_dependencies([stop]):
            return tf.zeros((0, 0, 3), tf.uint8)

    def png():
        return tf.io.decode_png(image_bytes, channels=3)

    def gif():
        frame = headers.first_gif_frame(image_bytes)
        return tf.io.decode_image(frame, channels=3, expand_animations=False)

    def bmp():
        image = tf.io.decode_bmp(image_bytes)  # 1, 3 or 4 channels
        return tf.cond(
            tf.shape(image)[2] == 1,
            lambda: tf.gather(headers.bmp_palette(image_bytes), tf.cast(image[..., 0], tf.int32)),
            lambda: image[..., :3],
        )

    branch = tf.where(status == OK, tf.cast(header.format, tf.int32), headers.UNKNOWN)
    # In the order of the formats; what begins as a JPEG does not come here.
    return tf.switch_case(branch, [refuse, refuse, png, gif, bmp])


def _resize(images, size):
    """Resizes height, and then width as if it were height: one pixel after another is slow."""
    (height, width), (batch, _, before, _) = size, tf.unstack(tf.shape(images))
    images = _resize_height(tf.reshape(images, (batch, -1, 1, before * 3)), height)
    images = tf.transpose(tf.reshape(images, (batch, height, before, 3)), (0, 2, 1, 3))
    images = _resize_height(tf.reshape(images, (batch, before, 1, height * 3)), width)
    return tf.transpose(tf.reshape(images, (batch, width, height, 3)), (0, 2, 1, 3))


def _resize_height(rows, height):
    """Resizes `(batch, height, 1, numbers of a row)`; whole rows are weighted and added."""
    scale = tf.stack([height / tf.cast(tf.shape(rows)[1], tf.float32), 1.0])
    return tf.raw_ops.ScaleAndTranslate(
        images=rows,
        size=[height, 1],
        scale=scale,
        translation=[0.0, 0.0],
        kernel_type="triangle",
        antialias=True,
    )


def _upright(image, orientation):
    """Carries out an EXIF orientation: 5 to 8 swap the sides, then rows and columns may turn."""

    def turn():
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        columns = tf.reduce_any(orientation == [2, 3, 6, 7])
        rows = tf.reduce_any(orientation == [3, 4, 7, 8])
        turned = tf.cond(columns, lambda: tf.reverse(turned, [1]), lambda: turned)
        return tf.cond(rows, lambda: tf.reverse(turned, [0]), lambda: turned)

    return tf.cond(orientation == 1, lambda: image, turn)
