"""`lrcn describe`: describes in sentences what a video shows, as a whole or over time."""

import argparse
import contextlib
import functools
import json
import sys

from zoo.cli.arguments import CAPTIONER


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("describe", help="describe what a video shows")
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("videos", nargs="+", metavar="VIDEO", help="file, or folder of frames")
    model = p.add_mutually_exclusive_group()
    model.add_argument("--model", metavar="RUN", help="run of the recipe, or preset's folder")
    model.add_argument(
        "--captioner",
        metavar="PRESET",
        help=f"a captioner of photographs, which describes each shot; default: {CAPTIONER}",
    )
    model.add_argument(
        "--server", metavar="HOST:PORT", help="ask a model server (gRPC) instead of loading a model"
    )
    p.add_argument("--tls-root", metavar="FILE", help="certificate to trust; speaks TLS to it")
    p.add_argument(
        "--segments",
        type=seconds,
        metavar="SECONDS",
        help="length of the part that a sentence describes, such as 4s; default: a captioner "
        "describes each shot, at most about 10 seconds long; --model and --server describe a video "
        "of up to 20 seconds in one sentence, and each 10 seconds of a longer one",
    )
    p.add_argument(
        "--pooling",
        choices=("mean", "middle"),
        default="mean",
        help="what a captioner describes: the mean of the features of the frames, or the middle "
        "frame",
    )
    p.add_argument("--srt", metavar="FILE", help="also write the sentences as subtitles; one video")
    p.add_argument("--json", action="store_true", help="for scripts")


def seconds(text):
    """Reads `4s` or `4`: a number of seconds, a tenth or more."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = 0.0
    if not 0.1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"expected a number of seconds such as 4s, 0.1s or more, got {text}"
        )
    return value


def _check(parser, options):
    if len(options.videos) > 1 and options.srt:
        parser.error("--srt takes one video at a time")
    if options.tls_root and not options.server:
        parser.error("--tls-root goes with --server")
    if options.pooling != "mean" and (options.model or options.server):
        parser.error("--pooling goes with a captioner, not with --model or --server")


def run(options):
    """Prints a sentence for each shot or segment of the videos."""
    from zoo.data.videos.reading import VideoError

    results = []
    with _open_describer(options) as (describe, name, method):
        if not options.json:
            print(f"described by {name}: {method}", file=sys.stderr)
        for path in options.videos:
            result = {"file": path, "described": f"{name}: {method}", "segments": []}
            results.append(result)
            try:
                for segment in describe(path, options.segments):
                    result["segments"].append(segment)
                    if not options.json:
                        print(_line(path, segment), flush=True)
            except VideoError as error:
                print(error, file=sys.stderr)
                result["error"] = error.reason
    if options.srt:
        write_srt(results[0]["segments"], options.srt)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    return 0 if any(result["segments"] for result in results) else 1


def write_srt(segments, path):
    """Writes sentences as SubRip subtitles.

    Args:
        segments: List of dicts of `start` and `end`, seconds, and `sentence`.
        path: File to write.
    """
    from zoo.files import aside

    with aside(path) as part, open(part, "w", encoding="utf-8", newline="\n") as file:
        for number, segment in enumerate(segments, start=1):
            times = f"{_clock(segment['start'])} --> {_clock(segment['end'])}"
            file.write(f"{number}\n{times}\n{segment['sentence']}\n\n")


def _clock(seconds):
    """`3661.5` -> `01:01:01,500`."""
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths // 1000:02},{thousandths % 1000:03}"


def _line(path, segment):
    mark = "  (unsure)" if segment.get("unsure") else ""
    times = f"{segment['start']:7.1f} to {segment['end']:7.1f} s"
    return f"{path}  {times}  {segment['sentence']}{mark}"


def _open_describer(options):
    """Context of a function from a path and seconds to segments, a name, and the method in words.

    What describes is the captioner unless the options ask for a describer or a server.
    """
    if options.server:
        return _open_server(options)
    if options.model:
        return _open_model(options.model, options.segments)
    return _open_captioner(options)


@contextlib.contextmanager
def _open_model(name, seconds):
    from zoo.inference.describe_video import SegmentDescriber
    from zoo.models.video_describer import LRCNVideoDescriber
    from zoo.presets import from_run

    describer = from_run(name)
    if not isinstance(describer, LRCNVideoDescriber) or describer.frame_encoder is None:
        raise ValueError(
            f"{name} does not describe videos: expected a model of recipes/video_description.py "
            "that sees frames."
        )
    describer = SegmentDescriber(describer)
    yield describer.describe, name, describer.method(seconds)


@contextlib.contextmanager
def _open_captioner(options):
    from zoo.inference.describe_video import ShotCaptioner
    from zoo.models.captioner import LRCNCaptioner
    from zoo.presets import from_run

    name = options.captioner or CAPTIONER
    captioner = from_run(name)
    if not isinstance(captioner, LRCNCaptioner) or captioner.image_encoder is None:
        raise ValueError(f"{name} is no captioner of photographs: `lrcn presets` lists them.")
    captioner = ShotCaptioner(captioner, options.pooling)
    yield captioner.describe, name, captioner.method(options.segments)


@contextlib.contextmanager
def _open_server(options):
    from zoo.data.videos.segments import segment_length
    from zoo.serving.client import Client, ServerError

    def describe(path, seconds):
        length = segment_length(path, seconds)
        for start, end, described in client.describe_segments(path, length):
            yield {
                "start": float(start),
                "end": float(end),
                "sentence": described.sentences[0],
                "log_prob": float(described.log_probs[0]),
            }

    with Client(options.server, root_certificates=options.tls_root) as client:
        try:
            yield describe, f"the server {options.server}", "the frames of each segment"
        except ServerError as error:
            raise ConnectionError(" ".join(str(error).split())) from None  # in one line
