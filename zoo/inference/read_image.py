"""One image file becomes an array, with the reader that training and serving use."""

import os

import tensorflow as tf

from zoo.data.images.decode import decode_image, explain, resize_images


def read_image(path, size):
    """Reads an image file.

    Args:
        path: Path of a JPEG, PNG, GIF or BMP file.
        size: Height and width of the result, in pixels.

    Returns:
        NumPy float32 RGB in 0..255 `(height, width, 3)`, upright.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as an image; the message states why.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {os.fspath(path)}")
    try:
        image = decode_image(tf.io.read_file(os.fsencode(path)))
    except tf.errors.OpError:
        reason = explain(path) or "it cannot be read"
        raise ValueError(f"{os.fspath(path)} cannot be read: {reason}") from None
    return resize_images(image[None], size)[0].numpy()
