"""Videos of moving digits as files, for the presets that know nothing else."""

import os
import pathlib
from fractions import Fraction

from zoo.data.datasets.synthetic.described_digits import described_digits
from zoo.data.datasets.synthetic.moving_digits import moving_digits
from zoo.data.videos.packages import av
from zoo.files import aside

RATE = 8  # frames per second
QUALITY = "10"  # x264's constant rate factor: hardly any loss


def write_digit_videos(folder, num_videos=3, seed=0):
    """Writes videos of moving digits, of handwriting that no training video shows.

    Args:
        folder: Folder to write to; created if missing.
        num_videos: Videos of each kind: a digit that moves (`activity0.mp4`, ...), for
            recognizers, and one or two digits after one another (`described0.mp4`, ...), for
            describers.
        seed: Integer. The same seed gives the same videos.

    Returns:
        List of pairs of a path and what the video shows: the name of the motion, or a sentence.

    Raises:
        FileExistsError: If one of the files exists. No file is written then.
        ModuleNotFoundError: If scikit-learn is not installed.
    """
    folder = pathlib.Path(folder)
    clips, labels, class_names = moving_digits("test", num_videos, seed)
    videos = {
        folder / f"activity{n}.mp4": (clip, class_names[label])
        for n, (clip, label) in enumerate(zip(clips, labels, strict=True))
    }
    clips, examples = described_digits("test", num_videos, seed)
    for n, (clip, example) in enumerate(zip(clips, examples, strict=True)):
        videos[folder / f"described{n}.mp4"] = (clip, example.captions[0])

    for path in videos:
        if path.exists():
            raise FileExistsError(f"{path} exists. Choose another folder, or delete it.")
    os.makedirs(folder, exist_ok=True)
    for path, (clip, _) in videos.items():
        write_video(path, clip, RATE)
    return [(str(path), shown) for path, (_, shown) in videos.items()]


def write_video(path, frames, rate):
    """Writes frames as an MP4 file (H.264).

    Args:
        path: File to write, in a folder that exists.
        frames: uint8 RGB `(time, height, width, 3)`, height and width even.
        rate: Frames per second.
    """
    height, width = frames.shape[1:3]
    with aside(path) as part, av.open(part, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": QUALITY})
        stream.height = height
        stream.width = width
        stream.pix_fmt = "yuv420p"  # every player knows it
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
