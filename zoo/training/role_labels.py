"""The labels of semantic roles that a describer sees: predicted, given, or disturbed."""

import numpy as np

from zoo.data.datasets.described.described_video import label_ids
from zoo.data.datasets.described.tacos import label_probabilities
from zoo.evaluation.roles import evaluate_roles


def read_labels(split, roles, visual, recognizer=None, path=None, noise=None, seed=0):
    """Gives the videos of a split the labels that a describer sees; says how good they are.

    Args:
        split: `zoo.data.features.described_videos.DescribedVideos`; its `labels` are set.
        roles: Dict from a role's name to its labels.
        visual: `"labels_max"` or `"label_probabilities"`: what the describer sees of them.
        recognizer: `zoo.SemanticRoleRecognizer` that predicts them from the split's features.
        path: File of probabilities instead, see `zoo.data.datasets.label_probabilities`.
        noise: Or the share of the true labels that is replaced, see `disturb`.
        seed: For `disturb`.

    Returns:
        Dict of metrics, see `zoo.evaluation.roles.evaluate_roles`, and `unknown_labels`, how many
        do not occur in training; empty where the true labels are not known.
    """
    num_labels = [len(labels) for labels in roles.values()]
    known = all(example.labels is not None for example in split.examples)
    if recognizer is not None:
        predicted, probabilities = recognizer.recognize(split.sequences(), batch_size=64)
    elif path is not None:
        ids = [example.video_id for example in split.examples]
        probabilities = label_probabilities(path, ids, roles)
        parts = np.split(probabilities, np.cumsum(num_labels)[:-1], axis=1)
        predicted = np.stack([part.argmax(1) for part in parts], axis=1)
    else:
        true, _ = label_ids(split.examples, roles)
        predicted, probabilities = disturb(true, num_labels, noise, seed)
    split.labels = probabilities
    if visual == "labels_max":
        columns = [np.eye(n)[predicted[:, role]] for role, n in enumerate(num_labels)]
        split.labels = np.concatenate(columns, axis=1).astype("float32")
    if not known:
        return {}
    true, num_unknown = label_ids(split.examples, roles, unknown=-1)
    return {**evaluate_roles(true, predicted, roles), "unknown_labels": num_unknown}


def disturb(labels, num_labels, noise, seed):
    """Replaces a share of labels by others, drawn by chance.

    >>> labels, probabilities = disturb(np.array([[1, 0]]), [3, 2], noise=0.1, seed=1)
    >>> labels.tolist(), probabilities.tolist()
    ([[1, 0]], [[0.05..., 0.89..., 0.05..., 0.89..., 0.10...]])

    Args:
        labels: int `(videos, roles)`.
        num_labels: Labels of each role; where there is one, nothing can be replaced.
        noise: Share that is replaced, in 0..1.
        seed: Integer.

    Returns:
        int `(videos, roles)`, and what is then known: float32 `(videos, labels of all roles)`,
        1 - noise for the label that is there, the rest shared out among the others.
    """
    random = np.random.default_rng([seed, len(labels)])
    labels, probabilities = labels.copy(), []
    for role, count in enumerate(num_labels):
        wrong = random.random(len(labels)) < noise
        shift = random.integers(1, max(count, 2), size=len(labels))
        labels[:, role] = np.where(wrong, (labels[:, role] + shift) % count, labels[:, role])
        there, others = np.eye(count)[labels[:, role]], max(count - 1, 1)
        right = 1 - noise if count > 1 else 1
        probabilities.append(there * right + (1 - there) * noise / others)
    return labels, np.concatenate(probabilities, axis=1).astype("float32")
