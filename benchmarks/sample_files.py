"""Photographs and videos for benchmarks, made from a few pictures that other packages ship."""

import pathlib

import av
import numpy as np
from PIL import Image
from tqdm import tqdm

from zoo.data.images.sample_pictures import sample_pictures

PHOTOGRAPHS = 256
PHOTOGRAPH_SIZE, QUALITY = (375, 500), 90  # as most of Flickr8k's
VIDEOS, FRAMES = 24, 100
VIDEO_SIZE, RATE = (240, 320), 25  # as UCF101's
KEYFRAMES = 25  # frames from one to the next
CODEC = "libx264" if "libx264" in av.codecs_available else "mpeg4"


def make_photographs(folder, count=PHOTOGRAPHS):
    """Writes JPEGs, pieces of the pictures at several scales; returns the folder."""
    rng = np.random.default_rng(0)
    for n, picture in enumerate(tqdm(_pictures(count), "making photographs", delay=2)):
        whole = _at_least(picture, PHOTOGRAPH_SIZE, rng.uniform(1, 1.5))
        piece = _piece(whole, PHOTOGRAPH_SIZE, *rng.random(2))
        piece.save(pathlib.Path(folder, f"{n:03}.jpg"), quality=QUALITY)
    return folder


def make_videos(folder):
    """Writes MP4 files in which a camera wanders over a picture; returns the folder."""
    pathlib.Path(folder).mkdir()
    rng = np.random.default_rng(0)
    for n, picture in enumerate(tqdm(_pictures(VIDEOS), "making videos", delay=2)):
        whole, speed = _at_least(picture, VIDEO_SIZE, 1.5), rng.uniform(0.02, 0.08, 2)
        with av.open(str(pathlib.Path(folder, f"{n:02}.mp4")), "w") as container:
            stream = container.add_stream(CODEC, rate=RATE)
            stream.height, stream.width = VIDEO_SIZE
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = KEYFRAMES
            stream.codec_context.bit_rate = 1_000_000
            for time in range(FRAMES):
                piece = _piece(whole, VIDEO_SIZE, *(0.5 + 0.5 * np.sin(time * speed)))
                container.mux(stream.encode(av.VideoFrame.from_image(piece)))
            container.mux(stream.encode(None))
    return folder


def _pictures(count):
    pictures = [Image.open(path).convert("RGB") for path in sample_pictures()]
    return [pictures[n % len(pictures)] for n in range(count)]


def _at_least(picture, size, zoom):
    """Resizes a picture so that its smaller side is `zoom` times what `size` needs."""
    scale = zoom * max(size[0] / picture.height, size[1] / picture.width)
    return picture.resize((int(picture.width * scale) + 1, int(picture.height * scale) + 1))


def _piece(picture, size, down, right):
    """Cuts a piece out of a picture, down and to the right in shares of the room."""
    height, width = size
    top, left = int(down * (picture.height - height)), int(right * (picture.width - width))
    return picture.crop((left, top, left + width, top + height))
