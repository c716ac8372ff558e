"""Views of a picture: the whole, crops of its corners and its centre, and all of them mirrored."""

import tensorflow as tf

from zoo.data.images.decode import resize_image

CROP = 224 / 256  # of each side, as Caffe's networks see 224 or 227 of 256 pixels

# Where a crop lies, down and to the right, in shares of the room that it has.
CORNERS = {
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
    "center": (0.5, 0.5),
}
VIEWS = ("full", *CORNERS, "mirror", *(f"mirror_{crop}" for crop in CORNERS))


def view_images(image, size, views):
    """Cuts views out of a picture, each squashed to a square.

    Args:
        image: uint8 `(height, width, 3)`.
        size: Side of the squares in pixels.
        views: Names out of `VIEWS`: `"full"` is the whole picture; `"top_left"`, ... `"center"`
            are crops of 7/8 of each side; `"mirror"`, `"mirror_center"`, ... are the same mirrored.

    Returns:
        float32 `(num_views, size, size, 3)` in 0..255.

    Example:

    >>> from zoo.data.images.views import view_images
    >>> image = [[[0, 0, 0], [9, 9, 9]], [[3, 3, 3], [6, 6, 6]]]
    >>> view_images(image, 2, ["full", "mirror"]).numpy()[..., 0].tolist()
    [[[0.0, 9.0], [3.0, 6.0]], [[9.0, 0.0], [6.0, 3.0]]]
    """
    squares = {}  # resized once for a view and its mirror
    chosen = []
    for view in views:
        crop = "full" if view == "mirror" else view.removeprefix("mirror_")
        if crop not in squares:
            squares[crop] = resize_image(_crop(image, CORNERS.get(crop)), size)
        mirrored = view.startswith("mirror")
        chosen.append(tf.reverse(squares[crop], [1]) if mirrored else squares[crop])
    return tf.stack(chosen)


def _crop(image, corner):
    if corner is None:
        return image
    sides = tf.shape(image)[:2]
    crop = tf.maximum(tf.cast(tf.cast(sides, tf.float32) * CROP, tf.int32), 1)
    top, left = tf.unstack(tf.cast(tf.cast(sides - crop, tf.float32) * corner, tf.int32))
    return image[top : top + crop[0], left : left + crop[1]]
