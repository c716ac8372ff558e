"""Clips of one real handwritten digit that moves, made on the spot: a task that needs time."""

import functools

import numpy as np

from zoo.data.datasets.example import split_name

# What a step adds to (y, x), by class; y grows downwards.
MOTIONS = {
    "left": (0, -1),
    "right": (0, 1),
    "up": (-1, 0),
    "down": (1, 0),
    "up-left": (-1, -1),
    "up-right": (-1, 1),
    "down-left": (1, -1),
    "down-right": (1, 1),
}
SPEEDS = (2, 3, 4)  # pixels a frame, along each axis that the motion changes
SCALE = 2  # the pictures are 8x8, and are drawn 16x16
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}  # of every digit's pictures


def moving_digits(split, num_clips, seed, num_frames=16, size=32):
    """Makes labelled clips of moving digits.

    The picture wraps around at the borders of the frame, and starts anywhere: in every frame its
    position is uniform whatever the motion, so that no single frame tells the class. The pictures
    are split before clips are made: no picture of one split is seen in another.

    Args:
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.
        num_clips: Number of clips; every class has its share of them, to within one.
        seed: Integer. The same seed gives the same clips.
        num_frames: Frames in a clip.
        size: Height and width of a frame in pixels.

    Returns:
        Clips, uint8 RGB `(num_clips, num_frames, size, size, 3)`, their labels, int64
        `(num_clips,)`, and the names of the classes, index = label.

    Raises:
        ModuleNotFoundError: If scikit-learn is not installed.
        ValueError: If the split is unknown, or a frame is smaller than the pictures.

    Source:
        Pictures: E. Alpaydin and C. Kaynak, 1998, Optical Recognition of Handwritten Digits,
        as scikit-learn's package holds them. https://doi.org/10.24432/C50P49
    """
    pictures, _ = digit_pictures(split)
    if size < pictures.shape[1]:
        raise ValueError(
            f"Expected frames no smaller than the pictures, {pictures.shape[1]} pixels a side, got "
            f"`size={size}`."
        )
    # With the seed alone, clips of two splits would start and move alike.
    random = np.random.default_rng([seed, list(SHARES).index(split_name(split))])
    labels = random.permutation(np.arange(num_clips) % len(MOTIONS))
    clips = np.empty((num_clips, num_frames, size, size, 3), "uint8")
    steps = np.array(list(MOTIONS.values()))
    for clip, label in zip(clips, labels, strict=True):
        start = random.integers(size, size=2)
        step = random.choice(SPEEDS) * steps[label]
        positions = start + step * np.arange(num_frames)[:, None]  # (frames, 2)
        clip[:] = render(random.choice(pictures), positions, size)[..., None]
    return clips, labels, list(MOTIONS)


def placed_digits(split, num_frames, seed, size=32):
    """Makes single frames with a digit somewhere: what a CNN learns of pictures before videos.

    Args:
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.
        num_frames: Number of frames.
        seed: Integer. The same seed gives the same frames.
        size: Height and width of a frame in pixels.

    Returns:
        Frames, uint8 RGB `(num_frames, size, size, 3)`; the digits, int64 `(num_frames,)`; and
        their places, float32 `(num_frames, 4)`: sine of y and x as angles, as the borders meet,
        then their cosine.

    Raises:
        ModuleNotFoundError: If scikit-learn is not installed.
        ValueError: If the split is unknown.
    """
    pictures, digits = digit_pictures(split)
    random = np.random.default_rng([seed, len(SHARES) + list(SHARES).index(split_name(split))])
    chosen = random.integers(len(pictures), size=num_frames)
    places = random.integers(size, size=(num_frames, 2))
    frames = np.concatenate(
        [render(pictures[n], place[None], size) for n, place in zip(chosen, places, strict=True)]
    )
    angles = 2 * np.pi * places / size
    places = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype("float32")
    return np.repeat(frames[..., None], 3, axis=-1), digits[chosen], places


def render(digit, positions, size):
    """Draws a picture along a path, on a black frame whose borders meet.

    Args:
        digit: uint8 `(height, width)`, no larger than the frame.
        positions: Integers `(frames, 2)`: y and x of the picture's upper left corner, which may
            lie outside of the frame.
        size: Height and width of a frame in pixels.

    Returns:
        uint8 `(frames, size, size)`.

    Example:
        >>> render(np.array([[1, 2]], "uint8"), np.array([[0, 0], [1, 2]]), size=3)
        array([[[1, 2, 0],
                [0, 0, 0],
                [0, 0, 0]],
               [[0, 0, 0],
                [2, 0, 1],
                [0, 0, 0]]], dtype=uint8)
    """
    height, width = digit.shape
    frame = np.pad(digit, [(0, size - height), (0, size - width)])
    rows, columns = np.moveaxis((np.arange(size) - positions[..., None]) % size, 1, 0)
    return frame[rows[:, :, None], columns[:, None, :]]


def digit_pictures(split):
    """Gives the handwritten digits of a split: which is fixed, and holds each digit in its share.

    Returns:
        uint8 `(pictures, 16, 16)`, 255 is ink, and the digits 0 to 9 that they show, `(pictures,)`.

    Raises:
        ModuleNotFoundError: If scikit-learn is not installed.
        ValueError: If the split is unknown.
    """
    split = split_name(split)
    pictures, digits = _all_pictures()
    random = np.random.default_rng(0)  # not the caller's seed: splits must never overlap
    first = sum(SHARES[name] for name in list(SHARES)[: list(SHARES).index(split)])
    rows = []
    for digit in range(10):
        of_digit = random.permutation(np.flatnonzero(digits == digit))
        begin, end = np.rint(np.array([first, first + SHARES[split]]) * len(of_digit)).astype(int)
        rows.extend(of_digit[begin:end])
    return pictures[rows], digits[rows]


@functools.cache
def _all_pictures():
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The moving digits are those of scikit-learn, which is not installed. Install it: "
            'pip install "lrcn-zoo[demo]"'
        ) from error
    data = load_digits()  # 1797 pictures, 8x8, ink from 0 to 16
    pictures = np.rint(data.images * (255 / 16)).astype("uint8")
    return np.kron(pictures, np.ones((1, SCALE, SCALE), "uint8")), data.target
