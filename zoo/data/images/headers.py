"""What the first bytes of a picture say: its format, its size, and which side is up.

Read in the graph, with core operations. No string of bytes makes it fail: bytes behind the end
read as zeros, and every walk has a limit.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

UNKNOWN, JPEG, PNG, GIF, BMP = range(5)  # formats; also branches in `zoo.data.images.decode`

ANY = -1  # in a pattern of bytes
SIGNATURES = [
    [0xFF, 0xD8, 0xFF, ANY, ANY, ANY, ANY, ANY],  # JPEG
    [*b"\x89PNG\r\n\x1a\n"],
    [*b"GIF8", ANY, ANY, ANY, ANY],
    [*b"BM", ANY, ANY, ANY, ANY, ANY, ANY],
]
EXIF = [0xFF, 0xE1, ANY, ANY, *b"Exif\0\0"]  # a JPEG's APP1 segment
HAS_EXIF = r"\C*Exif\x00\x00\C*"  # for RE2, where \C is any byte: perhaps there is such a segment
ORIENTATION = 0x0112  # tag of EXIF 2.3, section 4.6.4; one number of type 3, two bytes

# What FF xx means to the walk through a JPEG, by xx (ITU-T T.81, table B.1).
JUNK, ALONE, SEGMENT, FRAME, STOP = range(5)
MARKERS = np.full(256, SEGMENT)  # its length follows
MARKERS[[0x00, 0xFF]] = JUNK
MARKERS[[0x01, *range(0xD0, 0xD9)]] = ALONE
MARKERS[[code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)]] = FRAME  # size
MARKERS[[0xD9, 0xDA]] = STOP  # the end; the pixels

MAX_JPEG_SEGMENTS = 2_000  # before the size; a camera writes about 20
MAX_GIF_EXTENSIONS = 4_000  # blocks of at most 255 bytes before the first frame
MAX_GIF_BLOCKS = 50_000  # and in it: 12 MB; a second of walking
FAR = 2**40  # behind the end of any file


class Header(NamedTuple):
    """Integer scalars; a header that names no size has height and width 0."""

    format: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor  # EXIF, 1 to 8; 1 is upright


def read_header(image_bytes):
    """Reads format, size and orientation of a picture, without decoding it.

    Args:
        image_bytes: String scalar, the bytes of a file.

    Returns:
        A `Header` of int64 scalars. `format` is `UNKNOWN` for bytes that are no picture. The size
        of a GIF is that of its first frame.

    Example:

    >>> from zoo.data.images.headers import read_header
    >>> bmp = b"BM" + bytes(12) + bytes([40, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 24, 0])
    >>> [int(number) for number in read_header(bmp)]  # a BMP, 2 high, 3 wide, upright
    [4, 2, 3, 1]
    """
    data = _padded(image_bytes)
    matches = tf.cast(_matches(_bytes(data, 0, 8), SIGNATURES), tf.int64)  # (4,)
    kind = tf.reduce_sum(matches * [JPEG, PNG, GIF, BMP])
    branches = [lambda _: _integers(0, 0), _jpeg, _png, _gif, _bmp]  # in the order of the formats
    height, width, orientation = tf.switch_case(
        tf.cast(kind, tf.int32), [lambda read=read: read(data) for read in branches]
    )
    return Header(kind, height, width, orientation)


def first_gif_frame(image_bytes):
    """Cuts a GIF down to its first frame: later ones would be decoded too, whatever they cost.

    Args:
        image_bytes: String scalar, the bytes of a GIF.

    Returns:
        String scalar: a GIF of one frame, moved to the upper left corner. Empty where the first
        frame has no end.
    """
    data = _padded(image_bytes)
    frame = _gif_frame(data)
    end = _after_gif_blocks(data, frame + 11 + _gif_colors(_byte(data, frame + 9)))
    length = tf.cast(tf.strings.length(image_bytes), tf.int64)
    whole = (end <= length) & (_byte(data, end - 1) == 0)

    def cut():
        parts = [
            tf.strings.substr(image_bytes, tf.zeros_like(frame), frame + 1),
            tf.constant(b"\0\0\0\0"),  # left and top
            tf.strings.substr(image_bytes, frame + 5, end - frame - 5),
            tf.constant(b";"),
        ]
        return tf.strings.join(parts)

    return tf.cond(whole, cut, lambda: tf.constant(b""))


def bmp_palette(image_bytes):
    """Reads the colours of a BMP of 8 bits a pixel: uint8 RGB `(256, 3)`."""
    data = _padded(image_bytes)
    start = 14 + _number(_bytes(data, 14, 4), little=True)
    colors = tf.reshape(_bytes(data, start, 4 * 256), (256, 4))
    return tf.cast(colors[:, 2::-1], tf.uint8)  # stored as blue, green, red, nothing


def _padded(image_bytes):
    """Gives uint8 `(length + 1,)`; the zero at the end stands for all that is missing."""
    return tf.pad(tf.io.decode_raw(image_bytes, tf.uint8), [[0, 1]])


def _bytes(data, start, count):
    """Gives `count` bytes from `start` on as int64, zeros behind the end."""
    offsets = np.arange(count) if isinstance(count, int) else tf.range(count)
    last = tf.size(data, out_type=tf.int64) - 1
    return tf.cast(tf.gather(data, tf.minimum(start + offsets, last)), tf.int64)


def _byte(data, position):
    return _bytes(data, position, 1)[0]


def _matches(values, pattern):
    """Compares bytes with a pattern, or with each row of several."""
    pattern = np.array(pattern)
    return tf.reduce_all((values == pattern) | (pattern == ANY), axis=-1)


def _number(values, little):
    """Reads the last axis as one unsigned number, its lowest byte first if `little`."""
    powers = 256 ** np.arange(values.shape[-1])
    return tf.reduce_sum(values * (powers if little else powers[::-1]), axis=-1)


def _integers(height, width, orientation=1):
    return tuple(tf.cast(number, tf.int64) for number in (height, width, orientation))


def _png(data):
    header = _bytes(data, 0, 24)
    known = tf.cast(_matches(header[12:16], [*b"IHDR"]), tf.int64)
    width, height = tf.unstack(_number(tf.reshape(header[16:24], (2, 4)), little=False))
    return _integers(height * known, width * known)


def _jpeg(data):
    """Walks from marker to marker as libjpeg does, up to the one that holds the size."""
    end = tf.size(data, out_type=tf.int64)

    def step(position, frame, exif):
        segment = _bytes(data, position, 10)
        first, code, high, low = tf.unstack(segment[:4])
        meaning = tf.where(first == 0xFF, tf.gather(MARKERS, code), JUNK)
        length = tf.maximum(256 * high + low, 2)
        on = tf.gather(tf.stack([1, 2, 2 + length, FAR, FAR]), meaning)  # by meaning
        return (
            position + on,
            tf.where(meaning == FRAME, position, frame),
            tf.where(_matches(segment, EXIF), tf.minimum(position, exif), exif),  # the first
        )

    start, nowhere = tf.constant(2, tf.int64), tf.constant(FAR, tf.int64)
    _, frame, exif = tf.while_loop(
        lambda position, *_: position < end,
        step,
        (start, nowhere, nowhere),
        maximum_iterations=MAX_JPEG_SEGMENTS,
    )
    size = tf.reshape(_bytes(data, frame + 5, 4), (2, 2))  # zeros if there is no frame
    height, width = tf.unstack(_number(size, little=False))
    upright = tf.constant(1, tf.int64)
    orientation = tf.cond(exif < FAR, lambda: _orientation(data, exif), lambda: upright)
    return _integers(height, width, orientation)


def _orientation(data, segment):
    """Finds the orientation in an EXIF segment; 1 if anything is odd there."""
    end = segment + 2 + _number(_bytes(data, segment + 2, 2), little=False)
    start = segment + 10  # of the TIFF block, from where its addresses count
    order = _bytes(data, start, 8)
    little = _matches(order[:4], [*b"II*\0"])
    known = little | _matches(order[:4], [*b"MM\0*"])

    def number(values):
        return tf.where(little, _number(values, little=True), _number(values, little=False))

    directory = start + number(order[4:8])
    count = number(_bytes(data, directory, 2))
    count = tf.clip_by_value((end - directory - 2) // 12, 0, count)  # 12 bytes an entry
    entries = tf.reshape(_bytes(data, directory + 2, 12 * count), (-1, 12))
    wanted = (number(entries[:, 0:2]) == ORIENTATION) & (number(entries[:, 2:4]) == 3)
    value = tf.reduce_max(tf.where(wanted, number(entries[:, 8:10]), 0))
    return tf.where(known & (value >= 1) & (value <= 8), value, 1)


def _gif(data):
    descriptor = _bytes(data, _gif_frame(data), 10)
    known = tf.cast(descriptor[0] == ord(","), tf.int64)
    width, height = tf.unstack(_number(tf.reshape(descriptor[5:9], (2, 2)), little=True))
    return _integers(height * known, width * known)


def _gif_frame(data):
    """Finds where the first frame begins: behind the colours and any extensions."""

    def step(position, inside):
        byte = _byte(data, position)
        on = tf.where(inside, byte + 1, 2)  # behind a block, or behind "!" and what it announces
        return position + on, (byte > 0) | ~inside  # an empty block ends an extension

    frame, _ = tf.while_loop(
        lambda position, inside: inside | (_byte(data, position) == ord("!")),
        step,
        (13 + _gif_colors(_byte(data, 10)), tf.constant(False)),
        maximum_iterations=MAX_GIF_EXTENSIONS,
    )
    return frame


def _gif_colors(flags):
    """Gives the bytes that a colour table takes, from the flags that announce it."""
    return flags // 128 * 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8)


def _after_gif_blocks(data, position):
    """Skips blocks, each behind its length, up to and with the empty one that ends them."""
    (empty,) = tf.while_loop(
        lambda position: _byte(data, position) > 0,
        lambda position: (position + 1 + _byte(data, position),),
        (position,),
        maximum_iterations=MAX_GIF_BLOCKS,
    )
    return empty + 1


def _bmp(data):
    header = _bytes(data, 0, 66)
    width, height = tf.unstack(_number(tf.reshape(header[18:26], (2, 4)), little=True))
    height = tf.minimum(height, 2**32 - height)  # negative where the top row comes first

    bits, packing = header[28], header[30]
    plain = (packing == 0) & ((bits == 8) | (bits == 24) | (bits == 32))
    masks = [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0]  # of red, green and blue
    masked = (packing == 3) & (bits == 32) & _matches(header[54:66], masks)
    # Others (run lengths, 1, 4 or 16 bits, other masks) are refused or decoded wrong by TensorFlow.
    known = tf.cast((plain | masked) & (_number(header[14:18], little=True) >= 40), tf.int64)
    return _integers(height * known, width * known)
