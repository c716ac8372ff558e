"""Pictures that a served captioner is asked about: good ones, bad ones, and a bomb."""

import io
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

from zoo.data.images.decode import decode_image, resize_image
from zoo.data.videos.clips import resize_frames, view_frames


def picture(colour, kind="PNG", size=(30, 20)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def bomb(side=13000):
    """A PNG of 169 megapixels in some kilobytes."""

    def chunk(name, data):
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(side * (3 * side + 1)), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


GOOD = [
    picture(c, k) for c, k in (("red", "PNG"), ("blue", "JPEG"), ("green", "BMP"), ("gray", "GIF"))
]
BAD = {"empty": b"", "not an image": b"hello", "damaged": GOOD[1][:400]}


def library_images(pictures, captioner):
    """What the library makes of pictures, for its own captioner."""
    size = captioner.image_encoder.input_shape[1]
    return np.stack([resize_image(decode_image(one), size).numpy() for one in pictures])


def noise_jpegs(count, seed, height=30, width=40):
    """Frames of coarse noise, bytes."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, 5, 5, 3), np.uint8)
    noise = tf.image.resize(noise, (height, width), "nearest")
    return [tf.io.encode_jpeg(tf.cast(frame, tf.uint8)).numpy() for frame in noise]


def library_frames(jpegs):
    """What the library makes of frames for the tiny models of videos, `(time, 16, 16, 3)`."""
    frames = [resize_frames(decode_image(frame)[None], (20, 24)) for frame in jpegs]
    return np.stack([view_frames(frame, 16, ["center"])[0, 0] for frame in frames])
