"""Scores the labels that a model gives to the semantic roles of videos."""

import numpy as np


def evaluate_roles(labels, predicted, roles):
    """Scores one tuple of labels a video.

    >>> roles = {"activity": ["none", "cut"], "tool": ["none", "knife"]}
    >>> evaluate_roles([[1, 1], [1, 0]], [[1, 1], [1, 1]], roles)
    {'exact_tuple': 0.5, 'accuracy_activity': 1.0, 'accuracy_tool': 0.5}

    Args:
        labels: int `(videos, roles)`, what is right.
        predicted: int `(videos, roles)`.
        roles: Dict from a role's name to its labels.

    Returns:
        A flat dict: `exact_tuple`, the share of videos of which all roles are right, and the
        share for each role.

    Raises:
        ValueError: If the shapes differ.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.shape[1:] != (len(roles),) or not len(labels):
        raise ValueError(
            f"Expected the labels of {len(roles)} roles of at least one video, twice. Received "
            f"shapes {labels.shape} and {predicted.shape}."
        )
    right = labels == predicted
    by_role = {f"accuracy_{role}": float(right[:, n].mean()) for n, role in enumerate(roles)}
    return {"exact_tuple": float(right.all(axis=1).mean()), **by_role}
