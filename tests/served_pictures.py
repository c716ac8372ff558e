"""Pictures that a served captioner is asked about: good ones, bad ones, and a bomb."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from zoo.data.images import decode_image, resize_image


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
