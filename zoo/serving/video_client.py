"""The client's way with videos: frames as JPEGs, cut as the served model says."""

import functools
import itertools
import json

import numpy as np

from zoo.data.sources.video_records import encode_jpeg, jpeg_frames
from zoo.data.videos.clip_stream import stream_clips
from zoo.data.videos.sampled_frames import sample_frames
from zoo.data.videos.segments import stream_segments
from zoo.models.feature_statistics import TrainingDistance
from zoo.serving.tensors import from_proto, to_proto

OK = b"ok"
FRAMES = 32  # of a request: a megabyte or two
DESCRIBER_SETTINGS = ("rate", "size", "max_frames")
SETTINGS = ("modality", "rate", "size", "clip_length", "stride", "class_names")


def classify_clips(predict, path):
    """Asks a server what happens in each clip of a video; see `Client.classify_clips`.

    Args:
        predict: Function from the name of a signature, a dict of `TensorProto`s and a list of
            names of outputs to a dict of `TensorProto`s.
        path: Path of the video.

    Yields:
        For each clip `(start, end, probabilities)`: seconds, and a dict from label to probability.
    """

    ask = functools.partial(_ask, predict)

    def encode(jpegs):
        while batch := list(itertools.islice(jpegs, FRAMES)):
            clip = {"frames": _strings([batch]), "num_frames": np.array([len(batch)], np.int32)}
            features, status = ask("features", clip, ["features", "status"])
            if status[0] != OK:
                raise ValueError(f"The server cannot read {path}: {status[0].decode()}")
            yield from features[0][: len(batch)]  # merged with longer clips, there are more

    settings = _settings(ask, SETTINGS)
    frames = jpeg_frames(path, settings["rate"], settings["size"], settings["modality"])
    jpegs = (jpeg for jpeg, _ in frames)
    for start, end, features in stream_clips(path, settings, encode(jpegs)):
        clip = {"features": features[None], "num_frames": np.array([len(features)], np.int32)}
        labels, probabilities = ask("classify_features", clip, ["labels", "probabilities"])
        said = {
            label.decode(): float(p) for label, p in zip(labels[0], probabilities[0], strict=True)
        }
        yield start, end, {name: said[name] for name in settings["class_names"]}


def read_scope(predict):
    """Asks a server what its recognizer is for; see `Client.scope`."""
    return _settings(functools.partial(_ask, predict), ["scope"])["scope"]


def compare_with_training(predict, path):
    """Asks a server how unlike its training videos a video is; see `Client.compare_with_training`.

    Args:
        predict: As for `classify_clips`.
        path: Path of the video.

    Returns:
        `TrainingDistance`, or None where the served model has no statistics.
    """
    ask = functools.partial(_ask, predict)
    settings = _settings(ask, ["rate", "size", "feature_statistics"])
    statistics = settings["feature_statistics"]
    if statistics is None:
        return None
    frames = sample_frames(path, statistics["num_frames"], settings["rate"])
    jpegs = [encode_jpeg(frame, settings["size"]) for frame in frames]
    num_frames = np.array([len(jpegs)], np.int32)
    video = {"frames": _strings([jpegs]), "num_frames": num_frames}
    features, status = ask("features", video, ["features", "status"])
    if status[0] != OK:
        raise ValueError(f"The server cannot read {path}: {status[0].decode()}")
    clip = {"features": features[:, : len(jpegs)], "num_frames": num_frames}
    (distance,) = ask("compare_features", clip, ["distance"])
    return TrainingDistance(float(distance[0]), statistics["threshold"])


def describe_segments(predict, path, seconds):
    """Asks a server what each segment of a video shows; see `Client.describe_segments`.

    Args:
        predict: As for `classify_clips`.
        path: Path of the video.
        seconds: Length of a segment, or None for the whole video.

    Yields:
        For each segment `(start, end, sentences, log_probs)`: seconds, and lists, best first.
    """
    ask = functools.partial(_ask, predict)
    settings = _settings(ask, DESCRIBER_SETTINGS)

    def encode(frame):
        return encode_jpeg(frame, settings["size"])

    rate, most = settings["rate"], settings["max_frames"]
    for start, end, jpegs in stream_segments(path, rate, seconds, most, encode):
        segment = {"frames": _strings([jpegs]), "num_frames": np.array([len(jpegs)], np.int32)}
        captions, log_probs, status = ask(
            "serving_default", segment, ["captions", "log_probs", "status"]
        )
        if status[0] != OK:
            raise ValueError(f"The server cannot read {path}: {status[0].decode()}")
        yield start, end, [c.decode() for c in captions[0]], [float(p) for p in log_probs[0]]


def _ask(predict, signature, inputs, outputs):
    """Sends arrays, answers with arrays in the order of the outputs' names."""
    inputs = {name: to_proto(value) for name, value in inputs.items()}
    answer = predict(signature, inputs, outputs)
    return [from_proto(name, answer[name]) for name in outputs]


def _settings(ask, keys):
    """How the served model wants its frames."""
    (values,) = ask("settings", {"key": _strings([key.encode() for key in keys])}, ["value"])
    return {key: json.loads(value) for key, value in zip(keys, values, strict=True)}


def _strings(values):
    return np.array(values, dtype=object)
