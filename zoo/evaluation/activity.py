"""Scores the activities named in videos."""

import numpy as np

SUM_TOLERANCE = 0.02  # of probabilities that a network computed in bfloat16


def average_clips(frame_probabilities, mask=None):
    """Gives a video's probabilities: the mean over all frames of all clips (and crops).

    A frame that lies in two clips counts twice, at the end of a video as elsewhere: so the
    authors count.

    >>> clips = [[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.0, 1.0]]]
    >>> average_clips(clips).tolist()
    [0.5, 0.5]
    >>> average_clips(clips, mask=[[True, True], [True, False]]).tolist()
    [0.666..., 0.333...]

    Args:
        frame_probabilities: `(clips, frames, classes)`, or with more axes in front.
        mask: Bool array of the same shape but the last axis, False where a frame only pads its
            clip; `None` where none does.

    Returns:
        Float64 array `(classes,)`.

    Raises:
        ValueError: If no frame is left to average.
    """
    frame_probabilities = np.asarray(frame_probabilities, "float64")
    if mask is None:
        mask = np.ones(frame_probabilities.shape[:-1], bool)
    frames = frame_probabilities[np.asarray(mask, bool)]  # (all frames, classes)
    if not len(frames):
        raise ValueError(
            "Expected the probabilities of at least one frame of the video. Received "
            f"{frame_probabilities.shape[:-1]} frames, of which the mask keeps none."
        )
    return frames.mean(axis=0)


def top_k(probabilities, labels, k):
    """Gives the share of videos whose label is among the `k` most probable classes.

    Of classes that are equally probable the first wins, as with `argmax`: a model that says
    nothing scores by chance, not 1.

    >>> top_k([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], labels=[2, 0], k=1)
    0.5

    Args:
        probabilities: `(videos, classes)`.
        labels: Class of each video.
        k: How many guesses a video has.

    Returns:
        A float in 0..1.

    Raises:
        ValueError: If these are no probabilities, or no labels of theirs.
    """
    probabilities, labels = checked(probabilities, labels)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def confusion_matrix(labels, predictions, num_classes):
    """Counts videos by what they are (rows) and what they were taken for (columns).

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], num_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    labels = _classes("labels", labels, len(labels), num_classes)
    predictions = _classes("predictions", predictions, len(labels), num_classes)
    matrix = np.zeros((num_classes, num_classes), "int64")
    np.add.at(matrix, (labels, predictions), 1)
    return matrix


def per_class_accuracy(matrix):
    """Gives the share of each class's videos that were recognised; NaN for a class without any.

    Args:
        matrix: What `confusion_matrix` gives.

    Returns:
        Float array `(classes,)`.
    """
    videos = matrix.sum(axis=1)
    accuracy = np.full(len(matrix), np.nan)
    return np.divide(np.diag(matrix), videos, out=accuracy, where=videos > 0)


def mean_class_accuracy(matrix):
    """Gives the mean of `per_class_accuracy` over the classes that have videos."""
    return float(np.nanmean(per_class_accuracy(matrix)))


def evaluate(probabilities, labels, class_names):
    """Scores one prediction a video.

    Args:
        probabilities: `(videos, classes)`.
        labels: Class of each video.
        class_names: Names in the order of the classes.

    Returns:
        A flat dict: `top_1`, `top_5` (with six classes or more; with fewer it would be 1 by
        itself), `mean_class_accuracy` over the classes that have videos, `num_videos`.

    Raises:
        ValueError: If these are no probabilities of these classes, or no labels of theirs.
    """
    probabilities, labels = checked(probabilities, labels, class_names)
    predictions = probabilities.argmax(axis=1)
    metrics = {"top_1": top_k(probabilities, labels, 1)}
    if len(class_names) > 5:
        metrics["top_5"] = top_k(probabilities, labels, 5)
    matrix = confusion_matrix(labels, predictions, len(class_names))
    metrics["mean_class_accuracy"] = mean_class_accuracy(matrix)
    return {**metrics, "num_videos": len(labels)}


def checked(probabilities, labels, class_names=None):
    """Gives both as arrays; refuses what would be scored wrongly without a word.

    Args:
        probabilities: `(videos, classes)`.
        labels: Class of each video.
        class_names: Names in the order of the classes, where they are known.

    Returns:
        The two as arrays.

    Raises:
        ValueError: If these are no probabilities of these classes, or no labels of theirs.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or not len(probabilities):
        raise ValueError(
            "Expected probabilities (videos, classes) of at least one video. Received shape "
            f"{probabilities.shape}."
        )
    num_videos, num_classes = probabilities.shape
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(f"Expected {num_classes} class names. Received {len(class_names)}.")
    labels = _classes("labels", labels, num_videos, num_classes)
    sums = probabilities.sum(axis=1, dtype="float64")
    if not (np.abs(sums - 1) <= SUM_TOLERANCE).all() or probabilities.min() < 0:
        raise ValueError(
            "Expected probabilities: nothing below 0, and a sum of 1 for each video. Received "
            f"numbers from {probabilities.min()}, and sums in {sums.min()}..{sums.max()}. Put "
            "logits through a softmax before they are averaged."
        )
    return probabilities, labels


def _classes(name, values, num_videos, num_classes):
    values = np.asarray(values)
    if values.shape != (num_videos,):
        raise ValueError(f"Expected `{name}` of {num_videos} videos. Received {values.shape}.")
    integers = values.dtype.kind in "iu"
    unknown = values[(values < 0) | (values >= num_classes)] if integers else values
    if len(unknown) or not integers:
        raise ValueError(
            f"Expected `{name}` to be whole numbers in 0..{num_classes - 1}. Received "
            f"{values.dtype}: {unknown[:3].tolist()}."
        )
    return values
