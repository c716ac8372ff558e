"""Little videos for the tests, written with PyAV, whose frames say which they are."""

import av
import numpy as np

CODEC = "libx264" if "libx264" in av.codecs_available else "mpeg4"


def numbered(number, height=48, width=64):
    """A frame of one grey that says its number, with a red corner at the top left."""
    frame = np.full((height, width, 3), 8 + 6 * (number % 40), np.uint8)
    frame[: height // 2, : width // 4] = 255, 0, 0
    return frame


def number_of(frame):
    """The number of a frame of `numbered`, whichever way it was turned."""
    middle = frame[frame.shape[0] // 2 - 4 :, frame.shape[1] // 2 - 4 :][:8, :8]
    return round((float(middle.mean()) - 8) / 6)


def write_video(
    path,
    frames,
    codec=CODEC,
    rate=25,
    pts=None,
    b_frames=0,
    group=12,
    matrix=None,
    options=None,
    **container_options,
):
    """Writes frames, at ticks of `1 / rate`: one after the other, or at `pts`."""
    frames = list(frames)
    with av.open(str(path), "w", container_options=container_options) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = group
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.bit_rate = 2_000_000
        if matrix:
            stream.set_display_matrix(matrix)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = number if pts is None else pts[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey(values, height=32, width=40):
    """Frames of one grey each."""
    return [np.full((height, width, 3), value, np.uint8) for value in values]


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
