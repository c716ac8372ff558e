"""`lrcn classify`: names the activity in videos, as a whole and over time."""

import contextlib
import functools
import json
import sys
from typing import NamedTuple

from zoo.cli.arguments import RECOGNIZER, positive

BATCH_SIZE = 32  # frames that go through the CNN at once
SHOWN = 5  # classes in a timeline
FONT_SHARE = 0.06  # of a frame's height, for the label that is written into it


class Answer(NamedTuple):
    """What a model says about a video.

    Attributes:
        class_names: List of names.
        clips: List of what `classify_clips` yields.
        distance: `zoo.models.feature_statistics.TrainingDistance`, or None where the model has no
            statistics of its training videos.
        scope: What the model is for, one sentence, or None.
    """

    class_names: list
    clips: list
    distance: tuple | None
    scope: str | None

    @property
    def is_unlike(self):
        """Whether the video is known to be unlike the training videos."""
        return self.distance is not None and self.distance.is_unlike


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("classify", help="name the activity in videos")
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("videos", nargs="+", metavar="VIDEO", help="file, or folder of frames")
    model = p.add_mutually_exclusive_group()
    model.add_argument(
        "--model",
        metavar="PRESET",
        help=f"name or folder; default: {RECOGNIZER}, which knows fights and nothing else",
    )
    model.add_argument(
        "--server", metavar="HOST:PORT", help="ask a model server (gRPC) instead of loading a model"
    )
    p.add_argument("--tls-root", metavar="FILE", help="certificate to trust; speaks TLS to it")
    p.add_argument("--top", type=positive, default=5, metavar="N", help="classes a video")
    p.add_argument("--json", action="store_true", help="for scripts, with the labels over time")
    p.add_argument("--timeline", metavar="PNG", help="draw the classes over time; one video")
    p.add_argument("--annotate", metavar="MP4", help="write the label into the video; one video")


def _check(parser, options):
    if len(options.videos) > 1 and (options.timeline or options.annotate):
        parser.error("--timeline and --annotate take one video at a time")
    if options.tls_root and not options.server:
        parser.error("--tls-root goes with --server")


def run(options):
    """Prints the most probable activities of videos."""
    from zoo.data.videos.reading import VideoError

    results = []
    with _server(options) if options.server else _model(options) as classify:
        for path in options.videos:
            try:
                answer = classify(path)
            except VideoError as error:
                print(error, file=sys.stderr)
                results.append({"file": path, "error": str(error)})
                continue
            results.append(_result(answer, path, options.top))
            if not options.json:
                _print_result(results[-1])
            if options.timeline:
                draw_timeline(answer.class_names, answer.clips, options.timeline)
            if options.annotate:
                mark = "?" if answer.is_unlike else ""
                names = [f"{name}{mark}" for name in answer.class_names]
                annotate(names, path, answer.clips, options.annotate)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    return 0 if any("labels" in result for result in results) else 1


@contextlib.contextmanager
def _model(options):
    """Yields a function from a path to an `Answer`."""
    from zoo.presets import from_preset

    recognizer = from_preset(options.model or RECOGNIZER, "activity_recognition")

    def classify(path):
        clips = list(classify_clips(recognizer, path))
        distance = compare_with_training(recognizer, path)
        return Answer(recognizer.class_names, clips, distance, recognizer.metadata.get("scope"))

    yield classify


@contextlib.contextmanager
def _server(options):
    """Like `_model`, for what a server says."""
    import numpy as np

    from zoo.serving.client import Client, ServerError

    def classify(path):
        clips = list(client.classify_clips(path))
        names = list(clips[0][2])
        clips = [(*times, np.array([said[name] for name in names])) for *times, said in clips]
        return Answer(names, clips, client.compare_with_training(path), client.scope())

    with Client(options.server, root_certificates=options.tls_root) as client:
        try:
            yield classify
        except ServerError as error:
            raise ConnectionError(" ".join(str(error).split())) from None  # in one line


def classify_clips(recognizer, path):
    """Classifies a video clip by clip, in a stream: memory does not grow with its length.

    Args:
        recognizer: `zoo.ActivityRecognizer` from `from_preset`.
        path: File, or folder of frames.

    Yields:
        For each clip `(start, end, probabilities)`: seconds, and float32 `(num_classes,)`, the
        mean over the clip's frames. The last clip ends with the video.

    Raises:
        zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
    """
    from zoo.data.videos.clip_stream import stream_clips

    settings = recognizer.metadata["frames"]
    for start, end, features in stream_clips(path, settings, _features(recognizer, path, settings)):
        yield start, end, recognizer.classify(features[None])[0].mean(0)


def compare_with_training(recognizer, path):
    """Compares a video with the videos that a recognizer was trained on.

    Args:
        recognizer: `zoo.ActivityRecognizer` from `from_preset`.
        path: File, or folder of frames.

    Returns:
        `zoo.models.feature_statistics.TrainingDistance`, or None where the model has no statistics
        of its training videos.

    Raises:
        zoo.data.videos.reading.VideoError: If the video cannot be read.
    """
    from zoo.data.videos.sampled_frames import center_squares, sample_frames

    statistics = recognizer.feature_statistics
    if statistics is None:
        return None
    settings = recognizer.metadata["frames"]
    side = recognizer.frame_encoder.input_shape[1]
    # RGB frames also where the model reads optical flow, which says little of what is shown.
    frames = sample_frames(path, statistics.num_frames, settings["rate"])
    return recognizer.compare_with_training(center_squares(frames, settings["size"], side))


def _features(recognizer, path, settings):
    """Yields the features of each frame, encoded a batch at a time."""
    import numpy as np
    import tensorflow as tf

    from zoo.data.sources.video_records import read_flow
    from zoo.data.videos.clips import resize_frames, view_frames
    from zoo.data.videos.reading import read_frames

    encoder, modality = recognizer.frame_encoder, settings["modality"]
    side = encoder.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
    def encode(frames):
        frames = resize_frames(frames, settings["size"])
        squares = view_frames(frames, side, ["center"], modality)[0]
        return encoder(squares, training=False)

    if modality == "flow":
        frames = read_flow(path, settings["rate"], settings["size"])
    else:
        frames = read_frames(path, settings["rate"])
    batch = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == BATCH_SIZE:
            yield from encode(np.stack(batch)).numpy()
            batch.clear()
    if batch:
        yield from encode(np.stack(batch)).numpy()


def _print_result(result):
    """Prints the answer for one video; a warning comes before the labels that it is about."""
    print(result["file"])
    unlike = result["unlike_training"]
    if unlike and unlike["is_unlike"]:
        print(
            "  warning: this video is unlike the training videos "
            f"(distance {unlike['distance']:.2f}, threshold {unlike['threshold']:.2f}); "
            "do not trust the label"
        )
    for label in result["labels"]:
        print(f"  {label['probability']:6.1%}  {label['label']}")
    if result["scope"]:
        print(f"  {result['scope']}")


def _result(answer, path, top):
    import numpy as np

    names, clips = answer.class_names, answer.clips
    unlike_training = None
    if answer.distance is not None:
        unlike_training = {"is_unlike": answer.is_unlike, **answer.distance._asdict()}
    mean = np.mean([probabilities for *_, probabilities in clips], axis=0)
    best = np.argsort(-mean, kind="stable")[:top]
    return {
        "file": path,
        "scope": answer.scope,
        "unlike_training": unlike_training,
        "labels": [{"label": names[n], "probability": float(mean[n])} for n in best],
        "timeline": [
            {
                "start": float(start),
                "end": float(end),
                "label": names[probabilities.argmax()],
                "probability": float(probabilities.max()),
            }
            for start, end, probabilities in clips
        ],
    }


def draw_timeline(class_names, clips, path):
    """Draws the probabilities of the likeliest classes over time.

    Args:
        class_names: List of names.
        clips: List of what `classify_clips` yields.
        path: PNG file to write.
    """
    import numpy as np
    from matplotlib.figure import Figure  # needs no screen

    from zoo.files import aside

    middles = [(start + end) / 2 for start, end, _ in clips]
    curves = np.stack([probabilities for *_, probabilities in clips])
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for n in np.argsort(-curves.mean(0), kind="stable")[:SHOWN]:
        axes.plot(middles, curves[:, n], marker="o", markersize=3, label=class_names[n])
    axes.set(xlabel="seconds", ylabel="probability", ylim=(-0.02, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with aside(path) as part:
        figure.savefig(part, dpi=120, format="png")


def annotate(class_names, source, clips, path):
    """Writes a copy of a video, without sound, that names the activity in each frame.

    Args:
        class_names: List of names.
        source: The video.
        clips: List of what `classify_clips` yields for it.
        path: MP4 file to write.
    """
    from fractions import Fraction

    from PIL import Image, ImageDraw, ImageFont

    from zoo.data.videos.packages import av
    from zoo.data.videos.reading import frame_times, read_frames
    from zoo.files import aside

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
