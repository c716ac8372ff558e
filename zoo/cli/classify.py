"""`lrcn classify`: names the activity in videos, as a whole and over time."""

import contextlib
import functools
import json
import sys

from zoo.cli.arguments import RECOGNIZER, positive


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
                from zoo.visualization.timeline import draw_timeline

                draw_timeline(answer.class_names, answer.clips, options.timeline)
            if options.annotate:
                from zoo.visualization.annotate import annotate_video

                mark = "?" if answer.is_unlike else ""
                names = [f"{name}{mark}" for name in answer.class_names]
                annotate_video(names, path, answer.clips, options.annotate)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    return 0 if any("labels" in result for result in results) else 1


@contextlib.contextmanager
def _model(options):
    """Yields a function from a path to a `VideoClassification`."""
    from zoo.presets import from_preset

    recognizer = from_preset(options.model or RECOGNIZER, "activity_recognition")
    yield recognizer.classify


@contextlib.contextmanager
def _server(options):
    """Like `_model`, for what a server says."""
    import numpy as np

    from zoo.inference.classify_video import VideoClassification
    from zoo.serving.client import Client, ServerError

    def classify(path):
        clips = list(client.classify_clips(path))
        names = list(clips[0][2])
        clips = [(*times, np.array([said[name] for name in names])) for *times, said in clips]
        distance = client.compare_with_training(path)
        return VideoClassification(names, clips, distance, client.scope())

    with Client(options.server, root_certificates=options.tls_root) as client:
        try:
            yield classify
        except ServerError as error:
            raise ConnectionError(" ".join(str(error).split())) from None  # in one line


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
    names = answer.class_names
    unlike_training = None
    if answer.distance is not None:
        unlike_training = {"is_unlike": answer.is_unlike, **answer.distance._asdict()}
    return {
        "file": path,
        "scope": answer.scope,
        "unlike_training": unlike_training,
        "labels": [
            {"label": label, "probability": probability} for label, probability in answer.top(top)
        ],
        "timeline": [
            {
                "start": float(start),
                "end": float(end),
                "label": names[probabilities.argmax()],
                "probability": float(probabilities.max()),
            }
            for start, end, probabilities in answer.clips
        ],
    }
