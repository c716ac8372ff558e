"""A video in one picture: some of its frames beside and below each other."""

from PIL import Image

from zoo.data.videos.clips import spread_frames
from zoo.files import aside

ROWS, COLUMNS = 2, 3  # frames
WIDTH = 160  # pixels of one frame
GAP = 4  # pixels between them


def write_film_strip(source, row, path):
    """Writes six frames, spread over a video, as one JPEG.

    Args:
        source: `zoo.data.sources.files.VideoFiles`, or another source of videos.
        row: Which of its videos.
        path: File to write.

    Returns:
        The path.
    """
    rows = spread_frames(int(source.num_frames[row]), ROWS * COLUMNS)
    frames = source.read(row, rows)
    height = max(round(frames.shape[1] * WIDTH / frames.shape[2]), 1)
    size = (COLUMNS * (WIDTH + GAP), ROWS * (height + GAP))
    sheet = Image.new("RGB", size, (128, 128, 128))
    for number, frame in enumerate(frames):
        picture = Image.fromarray(frame).resize((WIDTH, height), Image.Resampling.BILINEAR)
        left = number % COLUMNS * (WIDTH + GAP)
        top = number // COLUMNS * (height + GAP)
        sheet.paste(picture, (left, top))
    with aside(path) as part:
        sheet.save(part, "JPEG", quality=95)
    return path
