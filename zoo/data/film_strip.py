"""A video in one picture: some of its frames beside and below each other."""

import numpy as np
import tensorflow as tf

from zoo.data.clips import spread_frames
from zoo.files import aside

ROWS, COLUMNS = 2, 3  # frames
WIDTH = 160  # pixels of one frame
GAP = 4  # pixels between them


def write_film_strip(source, row, path):
    """Writes six frames, spread over a video, as one JPEG.

    Args:
        source: `zoo.data.file_source.VideoFiles`, or another source of videos.
        row: Which of its videos.
        path: File to write.

    Returns:
        The path.
    """
    frames = source.read(row, spread_frames(int(source.num_frames[row]), ROWS * COLUMNS))
    height = max(round(frames.shape[1] * WIDTH / frames.shape[2]), 1)
    frames = tf.image.resize(frames, (height, WIDTH), antialias=True)
    frames = tf.cast(tf.round(frames), tf.uint8).numpy()
    sheet = np.full((ROWS * (height + GAP), COLUMNS * (WIDTH + GAP), 3), 128, "uint8")
    for n, frame in enumerate(frames):
        top, left = n // COLUMNS * (height + GAP), n % COLUMNS * (WIDTH + GAP)
        sheet[top : top + height, left : left + WIDTH] = frame
    with aside(path) as part:
        tf.io.write_file(part, tf.io.encode_jpeg(sheet))
    return path
