"""Scores of whole models: kept in files, fused, compared class by class."""

import math
import pathlib
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from zoo.evaluation.activity import checked, confusion_matrix, per_class_accuracy
from zoo.files import aside


class Scores(NamedTuple):
    """What a model said about a list of videos, in the order of `video_ids`.

    Attributes:
        video_ids: String array `(videos,)`, none twice.
        probabilities: Float array `(videos, classes)`.
        labels: Int array `(videos,)`, the true classes.
        class_names: List of strings; a label is an index into it.
    """

    video_ids: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    class_names: list


class ClassChange(NamedTuple):
    """How much better a class is recognised by one model than by another, in shares of 1."""

    class_name: str
    accuracy: float
    baseline: float
    difference: float


def fuse(scores, weights):
    """Averages what several models, such as an RGB and a flow stream, said about the same videos.

    Videos are matched by their ids, in whatever order they come.

    Args:
        scores: List of `Scores`.
        weights: A number each; divided by their sum. The paper's are (1/2, 1/2) and, for RGB and
            flow, (1/3, 2/3).

    Returns:
        `Scores` in the order of the first.

    Raises:
        ValueError: If videos, labels or classes differ, or the weights are no weights.
    """
    weights = np.asarray(weights, "float64")
    if (
        weights.shape != (len(scores),)
        or not (weights >= 0).all()
        or not 0 < weights.sum() < np.inf
    ):
        raise ValueError(
            f"Expected a weight for each of {len(scores)} models, none below 0 and not all 0. "
            f"Received {weights.tolist()}."
        )
    first, *others = (_checked_scores(*of_one_model) for of_one_model in scores)
    aligned = [first.probabilities, *(_aligned(other, first) for other in others)]
    fused = np.tensordot(weights / weights.sum(), np.stack(aligned), axes=1)
    return first._replace(probabilities=fused)


def compare_per_class(scores, baseline):
    """Tells which activities one model recognises better than another: the paper's table 2.

    Args:
        scores: `Scores` of a model.
        baseline: `Scores` of another one on the same videos, in whatever order.

    Returns:
        List of `ClassChange`, the greatest gain first, of the classes that have videos.

    Raises:
        ValueError: If videos, labels or classes differ.
    """
    scores, baseline = _checked_scores(*scores), _checked_scores(*baseline)
    names, labels = scores.class_names, scores.labels
    ours, theirs = (
        per_class_accuracy(confusion_matrix(labels, p.argmax(axis=1), len(names))).tolist()
        for p in (scores.probabilities, _aligned(baseline, scores))
    )
    rows = [ClassChange(n, a, b, a - b) for n, a, b in zip(names, ours, theirs, strict=True)]
    rows = [row for row in rows if not math.isnan(row.difference)]
    return sorted(rows, key=lambda row: -row.difference)


def save_scores(path, video_ids, probabilities, labels, class_names):
    """Writes scores to an `.npz` file that needs no pickle, at once or not at all.

    Args:
        path: File to write.
        video_ids: Ids of the videos, such as their paths in the dataset; none twice.
        probabilities: `(videos, classes)`.
        labels: Class of each video.
        class_names: Names in the order of the classes.

    Raises:
        ValueError: If the arrays do not belong together.
    """
    scores = _checked_scores(video_ids, probabilities, labels, class_names)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **scores._asdict())


def load_scores(path):
    """Reads what `save_scores` wrote.

    Args:
        path: File to read.

    Returns:
        `Scores`.

    Raises:
        ValueError: If the file is none of these.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return _checked_scores(*(file[name] for name in Scores._fields))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected scores written by `save_scores`. {error}") from None


def _checked_scores(video_ids, probabilities, labels, class_names):
    class_names = [str(name) for name in class_names]
    probabilities, labels = checked(probabilities, labels, class_names)
    video_ids = np.asarray(video_ids, str)
    if video_ids.shape != labels.shape:
        raise ValueError(f"Expected an id for each of {len(labels)} videos, got {video_ids.shape}.")
    ids, counts = np.unique(video_ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"Expected each video once. Twice or more: {_some(ids[counts > 1])}.")
    return Scores(video_ids, probabilities, labels, class_names)


def _aligned(scores, reference):
    """Gives the probabilities in the order of the videos of `reference`."""
    if scores.class_names != reference.class_names:
        differing = set(scores.class_names) ^ set(reference.class_names)
        raise ValueError(
            "Expected scores of the same classes in the same order. In one of them only: "
            f"{_some(differing) if differing else 'none, but the order differs'}."
        )
    rows = {video: row for row, video in enumerate(scores.video_ids.tolist())}
    videos = reference.video_ids.tolist()
    missing, more = set(videos) - set(rows), set(rows) - set(videos)
    if missing or more:
        raise ValueError(
            f"Expected scores of the same videos. {len(missing)} are in the first only: "
            f"{_some(missing)}; {len(more)} in the other only: {_some(more)}."
        )
    order = [rows[video] for video in videos]
    other = reference.video_ids[scores.labels[order] != reference.labels]
    if len(other):
        raise ValueError(f"Expected the same labels. {len(other)} videos differ: {_some(other)}.")
    return scores.probabilities[order]


def _some(names):
    names = sorted(map(str, names))
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "none"
