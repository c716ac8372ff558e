"""Optical flow: how far each pixel moves to the next frame, and that as a picture."""

import numpy as np

from zoo.data.videos.packages import cv2

CENTER = 128  # what no motion is in a flow image; the authors' MATLAB code
SCALE = 16  # levels for a pixel of motion, so that 8 pixels a frame and more are all the same


def optical_flow(frames, method="dis"):
    """Estimates the motion between consecutive frames.

    Args:
        frames: Iterable of uint8 RGB `(height, width, 3)`, all of one size.
        method: `"dis"`, dense inverse search (Kroeger et al., 2016), or `"farneback"`
            (Farnebäck, 2003). The paper's flow is that of Brox et al., 2004, which OpenCV lacks.

    Yields:
        float32 `(height, width, 2)`, one less than there are frames: how many pixels to the right
        (x) and down (y) each pixel of a frame lies in the next one.

    Raises:
        ValueError: If the method is neither of the two, or a frame differs in size.
    """
    if method not in _METHODS:
        raise ValueError(f"method is one of {', '.join(_METHODS)}; got {method!r}.")
    estimate = _METHODS[method]()
    before = None
    for frame in frames:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if before is not None:
            if grey.shape != before.shape:
                raise ValueError(
                    f"optical_flow expects frames of one size; {before.shape} is followed by "
                    f"{grey.shape} (height, width). Resize them first."
                )
            yield estimate(before, grey)
        before = grey


def flow_image(flow):
    """Turns flow into the paper's picture: motion right, motion down, and speed as R, G and B.

    Args:
        flow: float32 `(height, width, 2)`, in pixels.

    Returns:
        uint8 `(height, width, 3)`: 128 + 16 times x, y and the length of (x, y), rounded and cut to
        0..255.

    Example:

    >>> flow_image(np.array([[[3.0, -4.0]]])).tolist()
    [[[176, 64, 208]]]

    Source:
        `create_flow_images_LRCN.m`, https://github.com/LisaAnne/lisa-caffe-public
    """
    length = np.sqrt(np.sum(np.square(flow), axis=-1, keepdims=True))
    levels = np.concatenate([flow, length], axis=-1) * SCALE + CENTER
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _dis():
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return lambda before, after: search.calc(before, after, None)


def _farneback():
    def estimate(before, after):
        return cv2.calcOpticalFlowFarneback(
            before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0
        )  # pyramid of halves, 3 levels, windows of 15, 3 rounds: OpenCV's own example

    return estimate


_METHODS = {"dis": _dis, "farneback": _farneback}
