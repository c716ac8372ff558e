"""`lrcn describe`: tells in sentences what a video shows, as a whole or over time."""

import argparse
import contextlib
import functools
import json
import sys

KEY_FRAMES = "key frames, each described by itself by a captioner of photographs"
NO_MODEL = (
    "no trained model that describes videos comes with this package: none could be trained on real "
    "videos with sentences. Give --model RUN, one of your own from recipes/video_description.py, "
    "or --captioner PRESET, which describes single frames with a captioner of photographs, such as "
    "{}."
)


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("describe", help="tell what a video shows")
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("videos", nargs="+", metavar="VIDEO", help="file, or folder of frames")
    model = p.add_mutually_exclusive_group()
    model.add_argument("--model", metavar="RUN", help="run of the recipe, or preset's folder")
    model.add_argument(
        "--captioner",
        metavar="PRESET",
        help="describe the middle frame of each segment with a captioner of photographs",
    )
    model.add_argument(
        "--server", metavar="HOST:PORT", help="ask a model server (gRPC) instead of loading a model"
    )
    p.add_argument("--tls-root", metavar="FILE", help="certificate to trust; speaks TLS to it")
    p.add_argument(
        "--segments",
        type=seconds,
        metavar="SECONDS",
        help="a sentence for each so long part, such as 4s; default: one for a video of up to 20 "
        "seconds, one every 10 seconds for a longer one",
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


def run(options):
    """Prints a sentence for each segment of the videos."""
    from zoo.data.videos import VideoError

    results = []
    with _teller(options) as (tell, by):
        if not options.json:
            print(f"Described: {by}.", file=sys.stderr)
        for path in options.videos:
            told = {"file": path, "described": by, "segments": []}
            results.append(told)
            try:
                for segment in tell(path, options.segments):
                    told["segments"].append(segment)
                    if not options.json:
                        print(_line(path, segment), flush=True)
            except VideoError as error:
                print(error, file=sys.stderr)
                told["error"] = error.reason
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
    return f"{path}  {segment['start']:7.1f} to {segment['end']:7.1f} s  {segment['sentence']}"


def _length(path, asked, rate=None):
    """Seconds of a segment, None for the whole video as one."""
    from zoo.data.segments import SECONDS, SHORT, segment_bounds
    from zoo.data.videos import frame_times

    if asked is not None:
        return asked
    ((_, end),) = segment_bounds(frame_times(path, rate), None)
    return None if end <= SHORT else SECONDS


def _teller(options):
    """Context of a function from a path and a length to segments, and words for what describes."""
    if options.server:
        return _server(options)
    if options.captioner:
        return _captioner(options.captioner)
    return _describer(options.model)


@contextlib.contextmanager
def _describer(name):
    import numpy as np
    import tensorflow as tf

    from zoo.cli.arguments import CAPTIONER
    from zoo.data.clips import resize_frames, view_frames
    from zoo.data.segments import stream_segments
    from zoo.models.video_describer import LRCNVideoDescriber
    from zoo.presets import from_run

    if name is None:
        raise ValueError(NO_MODEL.format(CAPTIONER))
    describer = from_run(name)
    if not isinstance(describer, LRCNVideoDescriber) or describer.frame_encoder is None:
        raise ValueError(
            f"{name} does not describe videos: expected a model of recipes/video_description.py "
            "that sees frames."
        )
    settings, encoder = describer.metadata["frames"], describer.frame_encoder
    side, most = encoder.input_shape[1], settings["max_frames"]

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    def square(frame):
        return view_frames(resize_frames(frame[None], settings["size"]), side, ["center"])[0, 0]

    @tf.function(input_signature=[tf.TensorSpec((None, side, side, 3))], autograph=False)
    def encode(squares):
        return encoder(squares, training=False)

    def tell(path, asked):
        rate = settings["rate"]
        length = _length(path, asked, rate)
        for start, end, squares in stream_segments(path, rate, length, most, square):
            # Filled up to one length: the compiled search takes them all.
            features = np.zeros((1, most, describer.feature_dim), "float32")
            features[0, : len(squares)] = encode(tf.stack(squares))
            yield _told(describer, (features, [len(squares)]), start, end)

    yield tell, f"segments, by the model {name}"


@contextlib.contextmanager
def _captioner(name):
    from zoo.data.images import resize_image
    from zoo.data.segments import stream_segments
    from zoo.models.captioner import LRCNCaptioner
    from zoo.presets import from_run

    captioner = from_run(name)
    if not isinstance(captioner, LRCNCaptioner) or captioner.image_encoder is None:
        raise ValueError(f"{name} is no captioner of photographs: `lrcn presets` lists them.")
    side = captioner.image_encoder.input_shape[1]

    def tell(path, asked):
        length = _length(path, asked)
        for start, end, (frame,) in stream_segments(path, None, length, 1, lambda f: f):
            yield _told(captioner, resize_image(frame, side)[None], start, end)

    yield tell, KEY_FRAMES


@contextlib.contextmanager
def _server(options):
    from zoo.serving.client import Client, ServerError

    def tell(path, asked):
        for start, end, said in client.describe_segments(path, _length(path, asked)):
            sentence, log_prob = said.sentences[0], said.log_probs[0]
            yield _segment(start, end, sentence, log_prob)

    with Client(options.server, root_certificates=options.tls_root) as client:
        try:
            yield tell, f"segments, by the server {options.server}"
        except ServerError as error:
            raise ConnectionError(" ".join(str(error).split())) from None  # in one line


def _told(model, seen, start, end):
    """What a model writes about one video or picture."""
    from zoo.decoding import Constraints
    from zoo.vocabulary import UNKNOWN

    constraints = Constraints(forbidden_ids=(UNKNOWN,))
    decoded = model.generate(seen, model.sampler, constraints=constraints)
    sentence = model.vocabulary.decode(decoded.token_ids[0, 0])
    return _segment(start, end, sentence, decoded.log_probs[0, 0])


def _segment(start, end, sentence, log_prob):
    return {
        "start": float(start),
        "end": float(end),
        "sentence": sentence,
        "log_prob": float(log_prob),
    }
