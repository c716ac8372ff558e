"""Images as users have them become the batches that an image encoder takes."""

import os

import keras
import numpy as np

IMAGE_FORMS = (
    "a path, a PIL image, or an array (height, width), (height, width, 3) or (height, width, 4) "
    "with values in 0..255; one, or a list; or a batch (batch, height, width, 3)"
)
ROUNDING = 0.5  # by which resized pixels may leave 0..255


def is_single(images):
    """Returns whether this is one image, and not several.

    Args:
        images: See `load_images`.
    """
    if isinstance(images, (str, os.PathLike)) or _is_pil(images):
        return True
    if isinstance(images, list | tuple):
        return False
    return len(np.shape(images)) in (2, 3)


def load_images(images, size):
    """Turns images into one batch.

    Args:
        images: One image or a list: a path, a `PIL.Image.Image`, or an array `(height, width)`,
            `(height, width, 1)`, `(height, width, 3)` or `(height, width, 4)` with values in
            0..255, of any size and number type. Or a batch of arrays, `(batch, height, width,
            channels)`. Transparency is dropped; gray becomes RGB.
        size: Height and width of the batch, in pixels.

    Returns:
        NumPy float32 `(batch, height, width, 3)`, RGB in 0..255. An image of another size is
        resized (bilinear, with antialiasing); its aspect ratio is not kept, as in the paper.

    Raises:
        ValueError: If an image cannot be read, or its shape or its values are out of range.
    """
    if is_single(images):
        images = [images]
    elif not isinstance(images, list | tuple):
        images = _as_array(images)
        is_ready = images.ndim == 4 and images.shape[1:] == (*size, 3)
        if is_ready and len(images):
            check_range(images)
            return images.astype("float32", copy=False)
    if not len(images):
        raise ValueError(f"Expected at least one image: {IMAGE_FORMS}. Received: none")
    return np.stack([load_image(image, size) for image in images])


def load_image(image, size):
    """Turns one image into float32 RGB in 0..255 `(height, width, 3)`; see `load_images`."""
    if isinstance(image, (str, os.PathLike)):
        return _read_file(image, size)
    if _is_pil(image):
        image = _from_pil(image)
    pixels = _as_array(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"Expected {IMAGE_FORMS}. Received: an array of shape {pixels.shape}")
    check_range(pixels)
    pixels = pixels.astype("float32", copy=False)
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    pixels = pixels[..., :3]
    if pixels.shape[:2] != tuple(size):
        pixels = keras.ops.image.resize(pixels, size, interpolation="bilinear", antialias=True)
        pixels = keras.ops.convert_to_numpy(pixels)
    return pixels


def check_range(pixels):
    """Refuses pixels that are not in 0..255.

    Args:
        pixels: Array of pixels.

    Raises:
        ValueError: If the values are scaled to 0..1, or leave 0..255.
    """
    if not np.issubdtype(pixels.dtype, np.number):
        raise ValueError(f"Expected pixels in 0..255. Received: values of type {pixels.dtype}")
    smallest, largest = float(pixels.min()), float(pixels.max())
    if not -ROUNDING <= smallest <= largest <= 255 + ROUNDING:  # false for NaN, too
        raise ValueError(f"Expected pixels in 0..255. Received: {smallest:g} to {largest:g}")
    if np.issubdtype(pixels.dtype, np.floating) and 0 < largest <= 1:
        raise ValueError(
            f"Expected pixels in 0..255. Received: {smallest:g} to {largest:g}, which looks like "
            "an image scaled to 0..1. Multiply it by 255."
        )


def _read_file(path, size):
    """Reads an image file with the reader that training and serving use."""
    if "://" in os.fspath(path):
        raise ValueError(f"Expected a file on this machine. Received: {path}. Download it first.")
    from zoo.inference.read_image import read_image

    return read_image(path, size)


def _as_array(image):
    if isinstance(image, np.ndarray):
        return image
    return keras.ops.convert_to_numpy(image)


def _is_pil(image):
    return any(base.__module__ == "PIL.Image" for base in type(image).__mro__)


def _from_pil(image):
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    return np.asarray(upright.convert("RGB"))
