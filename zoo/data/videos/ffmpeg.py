"""Video files through FFmpeg: when each frame is shown, and the frames, upright and in order."""

import contextlib
import os
from typing import NamedTuple

import numpy as np

from zoo.data.images.decode import MAX_PIXELS
from zoo.data.videos.packages import av

# No playlists and no manifests, which make FFmpeg open other files, and no text as ANSI art.
FORMATS = (
    "3g2,3gp,asf,avi,dv,flv,gif,h264,hevc,ivf,m4a,m4v,matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,"
    "mxf,nut,obu,ogg,rm,webm,yuv4mpegpipe"
)
TINY_PACKET = 16  # bytes; an MPEG-4 packet below may say "nothing new" and give no frame
SLACK = 0.25  # seconds; a file that ends earlier than it says is broken off
THREADS = 2  # decode while Python converts; more of them hold more frames
NO_FRAMES = "no frames: there is nothing in it that can be decoded"
_CONTAINER_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


class VideoError(ValueError):
    """Says in plain words why a video cannot be read, or not to its end.

    Args:
        path: Path of the video.
        reason: What is wrong with it.
    """

    def __init__(self, path, reason):
        super().__init__(os.fspath(path), reason)
        self.path, self.reason = self.args

    def __str__(self):
        return f"{self.path}: {self.reason}"


class Timing(NamedTuple):
    """When the frames of a file are shown, counted in ticks.

    Attributes:
        pts: int64, one tick count a frame, ascending.
        end: Tick at which the last frame goes.
        tick: Length of a tick in seconds.
        keyframes: `[(pts, dts)]` of frames at which decoding may begin; empty where it is doubtful.
    """

    pts: np.ndarray
    end: int
    tick: float
    keyframes: list

    @property
    def seconds(self):
        """When each frame is shown, in seconds after the first one, float64."""
        return (self.pts - self.pts[0]) * self.tick


def read_timing(path):
    """Finds when each frame of a file is shown, from its packets, without decoding.

    Raises:
        VideoError: If the file is no video, is damaged, or has no frame.
    """
    shown, keyframes, doubtful = [], [], False
    with _open(path) as (container, stream):
        tick, fallback = float(stream.time_base), _ticks_per_frame(stream)
        for packet in _packets(path, container, stream):
            if packet is None or packet.is_discard:  # the end; cut away by an edit list
                continue
            if packet.pts is None or _may_hide(packet) or _is_lost(packet, shown):
                doubtful = True
                break
            shown.append((packet.pts, packet.pts + (packet.duration or fallback)))
            if packet.is_keyframe and packet.dts is not None:
                keyframes.append((packet.pts, packet.dts))
    if doubtful:
        shown = [(pts, end) for pts, end, _ in decode(path)]
    if not shown:
        raise VideoError(path, NO_FRAMES)
    shown.sort()
    pts = np.array([pts for pts, _ in shown], np.int64)
    if doubtful or (np.diff(pts) <= 0).any():
        keyframes = []
    return Timing(pts, shown[-1][1], tick, keyframes)


def decode(path, keyframe=None, threads=THREADS):
    """Decodes a file in the order in which its frames are shown.

    Args:
        path: Path of a video file.
        keyframe: None for the whole file, or `(pts, dts)` out of `Timing.keyframes`: begin there.
        threads: Threads that decode.

    Yields:
        `(pts, end, frame)`: the ticks at which the frame comes and goes, and an `av.VideoFrame`,
        whose `time_base` is a tick. From a keyframe at which decoding cannot begin after all,
        nothing.

    Raises:
        VideoError: If the file cannot be read, or, after the good frames, not to its end.
    """
    count, last = 0, None
    with _open(path, threads) as (container, stream):
        fallback = _ticks_per_frame(stream)
        size = stream.codec_context.width, stream.codec_context.height
        try:
            for packet in _packets(path, container, stream, keyframe):
                for frame in stream.codec_context.decode(packet):
                    pts = frame.pts
                    if pts is None:
                        pts = 0 if last is None else last + fallback
                    if keyframe and count == 0 and not _begins(frame, pts, keyframe, size):
                        return
                    if frame.is_corrupt:
                        raise VideoError(path, _damaged(count, "then a broken one"))
                    frame.time_base = stream.time_base  # missing where the decoder held it back
                    yield pts, pts + (frame.duration or fallback), frame
                    count, last = count + 1, pts
        except av.FFmpegError as error:
            raise VideoError(path, _damaged(count, f"then: {error.strerror}")) from None
    if count == 0 and not keyframe:
        raise VideoError(path, NO_FRAMES)


def to_rgb(frame, like=None):
    """Converts a decoded frame to upright RGB.

    Args:
        frame: `av.VideoFrame`.
        like: Another frame of the file, whose size is taken: a file may change its size midway.

    Returns:
        uint8 `(height, width, 3)`.
    """
    like = like or frame
    picture = frame.to_ndarray(format="rgb24", width=like.width, height=like.height)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    # (x, y) is shown at (a x + c y, b x + d y): turned by 90 degrees, mirrored, both or neither.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


@contextlib.contextmanager
def _open(path, threads=1):
    """Opens a file and finds its video track, which is not the picture on an album's cover."""
    reason = _explain_file(path)
    if reason:
        raise VideoError(path, reason)
    try:
        # "file:" keeps FFmpeg from taking a name such as "http:..." for an address.
        container = av.open(f"file:{os.fspath(path)}", container_options=_CONTAINER_OPTIONS)
    except PermissionError as error:
        raise VideoError(path, f"unreadable: {error.strerror}") from None
    except av.FFmpegError:
        raise VideoError(path, "not a video, or damaged from its start") from None
    with container:
        covers = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & covers]
        if not streams:
            what = "only sound" if container.streams.audio else "no pictures"
            raise VideoError(path, f"not a video: there is {what} in it")
        stream = streams[0]
        context = stream.codec_context
        if context is None:
            raise VideoError(path, "its kind of video cannot be decoded")
        if context.width * context.height > MAX_PIXELS:
            raise VideoError(
                path,
                f"too large: more than {MAX_PIXELS // 10**6} megapixels a frame "
                f"({context.width} x {context.height} pixels)",
            )
        context.options = {"max_pixels": str(MAX_PIXELS)}  # the frames may belie the header
        context.thread_type, context.thread_count = "AUTO", threads
        yield container, stream


def _explain_file(path):
    if not os.path.exists(path):
        return "missing: there is no such file"
    if not os.path.isfile(path):
        return "not a file"
    if os.path.getsize(path) == 0:
        return "empty: the file has 0 bytes"
    return None


def _packets(path, container, stream, keyframe=None):
    """Yields the packets of a track; then None, at which a decoder gives out what it holds back.

    Raises:
        VideoError: In the end, if that is not where the file says that it ends.
    """
    count, end, broken = 0, 0, False
    num_packets, seconds = _announced(container, stream)
    try:
        if keyframe:
            container.seek(min(keyframe), stream=stream)
        for packet in container.demux(stream):
            if packet.is_corrupt:
                broken = True
                break
            if keyframe and count == 0 and packet.pts != keyframe[0]:
                continue  # the file was entered before the keyframe
            if packet.size:  # an empty one would end the decoder
                count += 1
                end = max(end, (packet.pts or 0) + (packet.duration or 0))
                yield packet
    except av.FFmpegError:
        broken = True
    yield None
    early = seconds - float(end * stream.time_base)
    if not keyframe and (broken or count < num_packets or early > SLACK):
        of = f"of {stream.frames} " if stream.frames else ""
        raise VideoError(path, f"damaged: it breaks off after {count} {of}frames")


def _announced(container, stream):
    """How many packets a track has, and when it ends in seconds, as far as the file says so."""
    name = container.format.name
    num_packets = sum(entry.size > 0 for entry in stream.index_entries)
    if name == "avi" and num_packets <= 1:  # its index is its end, and that is missing
        return 0, stream.frames * float(stream.time_base)
    if not name.startswith("matroska"):
        return num_packets, 0
    hours = stream.metadata.get("DURATION")
    if hours:
        return 0, sum(float(part) * 60**n for n, part in enumerate(reversed(hours.split(":"))))
    alone = len(container.streams) == 1  # another track may last longer
    return 0, (container.duration or 0) / av.time_base if alone else 0


def _begins(frame, pts, keyframe, size):
    """Whether a frame is a keyframe indeed, of the size that the file has at its start."""
    return pts == keyframe[0] and frame.key_frame and (frame.width, frame.height) == size


def _ticks_per_frame(stream):
    """How long a frame is shown where the file does not say."""
    rate = stream.average_rate or stream.guessed_rate or 25
    return max(1, round(1 / (rate * stream.time_base)))


def _may_hide(packet):
    """Whether a packet perhaps gives no frame: VP8's hidden ones, MPEG-4's "nothing new"."""
    name = packet.stream.codec_context.name
    if name == "vp8":
        return not bytes(packet)[0] & 0x10  # its bit show_frame
    return name == "mpeg4" and packet.size < TINY_PACKET


def _is_lost(packet, shown):
    """Whether decoding gives no frame: none before the first keyframe, nor one that leans there."""
    return packet.pts < shown[0][0] if shown else not packet.is_keyframe


def _damaged(count, then):
    return f"damaged: {count} frames could be read, {then}"
