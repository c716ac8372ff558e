"""A copy of a video with a label in each frame."""

from fractions import Fraction

from PIL import Image, ImageDraw, ImageFont

from zoo.data.videos.packages import av
from zoo.data.videos.reading import frame_times, read_frames
from zoo.files import aside

FONT_SHARE = 0.06  # of a frame's height, for the label that is written into it


def annotate_video(class_names, source, clips, path):
    """Writes a copy of a video, without sound, that names the activity in each frame.

    Args:
        class_names: List of names.
        source: The video.
        clips: List of `(start, end, probabilities)`: seconds, and float32 `(num_classes,)`.
        path: MP4 file to write.
    """
    times = frame_times(source)
    middles = [(start + end) / 2 for start, end, _ in clips]
    ticks = 90_000  # a second
    with aside(path) as part, av.open(part, "w", format="mp4") as out:
        stream = None
        for time, frame in zip(times, read_frames(source), strict=False):
            height, width = (side // 2 * 2 for side in frame.shape[:2])  # the codec wants even ones
            if stream is None:
                stream = out.add_stream("libx264", time_base=Fraction(1, ticks))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                font = ImageFont.load_default(max(round(FONT_SHARE * height), 10))
            nearest = min(range(len(clips)), key=lambda n: abs(middles[n] - time))
            probabilities = clips[nearest][2]
            label = f"{class_names[probabilities.argmax()]}  {probabilities.max():.0%}"
            picture = Image.fromarray(frame[:height, :width])
            draw = ImageDraw.Draw(picture)
            draw.text((8, 6), label, "white", font, stroke_width=2, stroke_fill="black")
            shown = av.VideoFrame.from_image(picture)
            shown.pts, shown.time_base = round(time * ticks), Fraction(1, ticks)
            out.mux(stream.encode(shown))
        out.mux(stream.encode())
