"""Clips of videos to batches with OpenCV or PyAV and a PyTorch `DataLoader`: a peer.

python benchmarks/peers/torch_clips.py --data DIR        # by itself: all MP4 files in a folder
"""

import argparse
import itertools
import pathlib
import random
import sys

import av
import cv2
import numpy as np
import torch

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from harness import run_alone

FRAME_SIZE = (240, 320)
WORKERS = 2


class Clips(torch.utils.data.Dataset):
    """Clips, an item each: uint8 `(time, size, size, 3)`.

    Args:
        clips: List of `(video, frames, top, left, mirrored)`.
        size: Side of the squares.
        read: Function from a video and ascending indices of frames to a list of RGB arrays.
    """

    def __init__(self, clips, size, read):
        self.clips, self.size, self.read = clips, size, read

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, n):
        video, frames, top, left, mirrored = self.clips[n]
        squares = []
        for frame in self.read(video, frames):
            if frame.shape[:2] != FRAME_SIZE:
                frame = resize(frame)
            square = frame[top : top + self.size, left : left + self.size]
            squares.append(square[:, ::-1] if mirrored else square)
        return torch.from_numpy(np.stack(squares))


class FrameFolders:
    """Reads `folder/video/frame.jpg`."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, video, frames):
        files = [f"{self.folder}/{video}/{frame:05}.jpg" for frame in frames]
        return [cv2.imread(file, cv2.IMREAD_COLOR_RGB) for file in files]


class Files:
    """Reads video files of a constant rate, from the keyframe before the first frame on."""

    def __init__(self, paths):
        self.paths = paths

    def __call__(self, video, frames):
        wanted, read = set(frames), {}
        with av.open(self.paths[video]) as container:
            stream = container.streams.video[0]
            stream.thread_type, stream.codec_context.thread_count = "SLICE", 1  # workers do it
            ticks = 1 / (stream.average_rate * stream.time_base)  # a frame
            start = stream.start_time or 0
            container.seek(start + int(frames[0] * ticks), stream=stream)
            for frame in container.decode(stream):
                index = round((frame.pts - start) / ticks)
                if index in wanted:
                    read[index] = frame.to_ndarray(format="rgb24")
                if index >= frames[-1]:
                    break
        return [read[index] for index in frames]


def resize(frame):
    """Resizes as torchvision does, with antialiasing."""
    frame = torch.from_numpy(frame).permute(2, 0, 1)[None]  # channels last in memory: fast
    frame = torch.nn.functional.interpolate(frame, FRAME_SIZE, mode="bilinear", antialias=True)
    return frame[0].permute(1, 2, 0).numpy()


def from_frames(place, **settings):
    """Gets ready for files of frames."""
    return _clips(FrameFolders(place), **settings)


def from_files(place, **settings):
    """Gets ready for video files."""
    return _clips(Files(place), **settings)


def _clips(read, clips, size, batch_size, batches):
    loader = torch.utils.data.DataLoader(
        Clips(clips, size, read),
        batch_size,
        num_workers=WORKERS,
        persistent_workers=True,
        worker_init_fn=_one_thread,
    )
    epoch = iter(loader)

    def turn():
        for batch in itertools.islice(epoch, batches):
            last = batch.float()  # here: between processes bytes are a quarter of it
        return last.numpy()

    return turn


def _one_thread(_):
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def main():
    """Times it alone, on video files."""
    parser = argparse.ArgumentParser(description="Times batches of clips in PyTorch.")
    parser.add_argument("--data", required=True, metavar="DIR", help="MP4 files")
    paths = sorted(str(path) for path in pathlib.Path(parser.parse_args().data).rglob("*.mp4"))
    chance, clips = random.Random(0), []
    for _ in range(7 * 8 * 8):
        video, crop = chance.randrange(len(paths)), [chance.randrange(17), chance.randrange(97)]
        clips.append((video, list(range(4, 20)), *crop, chance.random() < 0.5))
    run_alone(from_files(paths, clips=clips, size=224, batch_size=8, batches=8))


if __name__ == "__main__":
    main()
