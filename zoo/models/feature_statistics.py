"""How far the features of a video are from those of the videos that a model was trained on."""

import zipfile
from typing import NamedTuple

import numpy as np

from zoo.files import aside

NUM_FRAMES = 8  # of a video, spread over it
QUANTILE = 0.95  # of held-out training videos lie below the threshold
NUM_FOLDS = 10
MIN_VIDEOS = 20  # of fewer, a quantile of 0.95 means nothing
MAX_NEIGHBORS = 200  # training videos that are kept: half a megabyte of 1,280 features
MIN_SCALE = 1e-3  # for a feature that is the same in all training videos
MIN_NORM = 1e-6  # of features, in a cosine
ARRAYS = ("mean", "scale", "neighbors", "usual", "threshold", "num_frames")


class TrainingDistance(NamedTuple):
    """How unlike the training videos a video is.

    Attributes:
        distance: See `FeatureStatistics`; held-out training videos have up to about 1.
        threshold: Distance above which a video counts as unlike the training videos.
    """

    distance: float
    threshold: float

    @property
    def is_unlike(self):
        """Whether the distance is above the threshold."""
        return self.distance > self.threshold


class FeatureStatistics:
    """What is known of the features of training videos, and the distance that is still usual.

    A video is summarized by the mean and the standard deviation over time of each feature, of RGB
    frames that are spread over the video. Its distance is the larger one of two parts, each
    divided by a value that few held-out training videos exceed:

    1. The root mean square of the standard scores of its summary.
    2. The cosine distance of its mean features to those of the nearest training video.

    Args:
        mean: float `(2 * features,)`, mean of the summaries of the training videos.
        scale: float `(2 * features,)`, standard deviation of these summaries, above 0.
        neighbors: float `(videos, features)`, mean features of training videos.
        usual: float `(2,)`, what the two parts are divided by, above 0.
        threshold: Distance above which a video counts as unlike the training videos, above 0.
        num_frames: Frames of a video that are compared.

    Raises:
        ValueError: If the shapes do not go together, or a value is not finite or not above 0.

    Example:

    >>> videos = [np.random.default_rng(n).normal(5, 1, size=(8, 3)) for n in range(40)]
    >>> statistics = FeatureStatistics.fit(videos)
    >>> statistics.compare(videos[0]).is_unlike, statistics.compare(-videos[0]).is_unlike
    (False, True)
    """

    def __init__(self, mean, scale, neighbors, usual, threshold, num_frames=NUM_FRAMES):
        self.mean = np.asarray(mean, "float32")
        self.scale = np.asarray(scale, "float32")
        self.neighbors = np.asarray(neighbors, "float32")
        self.usual = np.asarray(usual, "float32")
        self.threshold = float(threshold)
        self.num_frames = int(num_frames)
        shapes = [array.shape for array in (self.mean, self.scale, self.neighbors, self.usual)]
        expected = [(2 * self.feature_dim,)] * 2 + [(self.neighbors.shape[0], self.feature_dim)]
        if shapes != [*expected, (2,)] or not self.neighbors.size:
            raise ValueError(
                "Expected mean and scale of shape (2 * features,), neighbors of shape (videos, "
                f"features) and usual of shape (2,). Received: {', '.join(map(str, shapes))}"
            )
        values = [*self.mean, *self.scale, *self.neighbors.ravel(), *self.usual, self.threshold]
        positive = [self.scale.min(), self.usual.min(), self.threshold, self.num_frames]
        if not np.isfinite(values).all() or min(positive) <= 0:
            raise ValueError(
                "Expected finite statistics, with scale, usual, threshold and num_frames above 0. "
                f"Received: smallest values of these {', '.join(map(str, positive))}"
            )
        self.neighbors = _unit_vectors(self.neighbors)

    @classmethod
    def fit(cls, videos, groups=None, num_frames=NUM_FRAMES):
        """Computes the statistics of training videos.

        The threshold is the 95th percentile of the distances of held-out videos: the videos are
        cut into ten folds, and each fold is compared with the statistics of the others.

        Args:
            videos: List of the videos' features, float `(frames, features)` each.
            groups: List of the videos' groups; a group is never torn apart. None for an entry is a
                group of its own, and None for all makes folds of neighbors in the list, which
                often come from one source.
            num_frames: Frames of a video that were taken.

        Returns:
            `FeatureStatistics`.

        Raises:
            ValueError: If there are fewer than 20 videos, or fewer than two groups.
        """
        if len(videos) < MIN_VIDEOS:
            raise ValueError(
                f"Expected at least {MIN_VIDEOS} training videos. Received: {len(videos)}"
            )
        summaries = np.stack([summarize(features) for features in videos])
        folds = _assign_folds(groups or [None] * len(videos))
        if len(np.unique(folds)) < 2:
            raise ValueError("Expected videos of at least two groups. Received: one group")

        # Distances of videos to statistics that were computed without them.
        parts = np.empty((len(videos), 2))
        for fold in np.unique(folds):
            held_out = folds == fold
            parts[held_out] = _distances(summaries[held_out], *_describe(summaries[~held_out]))
        usual = np.maximum(np.quantile(parts, QUANTILE, axis=0), MIN_SCALE)
        threshold = np.quantile((parts / usual).max(axis=1), QUANTILE)
        return cls(*_describe(summaries), usual, max(threshold, MIN_SCALE), num_frames)

    @property
    def feature_dim(self):
        """Number of features of a frame."""
        return self.neighbors.shape[-1]

    def compare(self, features):
        """Compares a video with the training videos.

        Args:
            features: float `(frames, features)`, of frames that are spread over the video.

        Returns:
            `TrainingDistance`.

        Raises:
            ValueError: If there are no frames, or they have another number of features.
        """
        features = np.asarray(features)
        if features.ndim != 2 or not len(features) or features.shape[1] != self.feature_dim:
            raise ValueError(
                f"Expected features (frames, {self.feature_dim}) of at least one frame. "
                f"Received: shape {features.shape}"
            )
        summary = summarize(features)[None]  # (1, 2 * features)
        parts = _distances(summary, self.mean, self.scale, self.neighbors)
        distance = (parts / self.usual).max()
        return TrainingDistance(float(distance), self.threshold)

    def save(self, path):
        """Writes the statistics as `.npz`, without pickle."""
        with aside(path) as part, open(part, "wb") as file:
            arrays = {name: np.asarray(getattr(self, name)) for name in ARRAYS}
            arrays["neighbors"] = self.neighbors.astype("float16")
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote; nothing in the file is run.

        Raises:
            ValueError: If the file is damaged or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in ARRAYS})
        except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} holds no feature statistics, or is damaged: {error}"
            ) from None


def summarize(features):
    """Summarizes a video.

    Args:
        features: float `(frames, features)`.

    Returns:
        float64 `(2 * features,)`: mean and standard deviation of each feature over time.
    """
    features = np.asarray(features, "float64")
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])


def _describe(summaries):
    """Mean and scale of summaries, each `(2 * features,)`, and neighbors `(videos, features)`."""
    mean = summaries.mean(axis=0)
    scale = np.maximum(summaries.std(axis=0), MIN_SCALE)
    num_neighbors = min(len(summaries), MAX_NEIGHBORS)
    rows = np.linspace(0, len(summaries) - 1, num_neighbors).round().astype(int)
    neighbors = summaries[rows, : summaries.shape[1] // 2]
    return mean, scale, neighbors


def _distances(summaries, mean, scale, neighbors):
    """The two parts of the distance of each video, float `(videos, 2)`."""
    scores = (summaries - mean) / scale
    score = np.sqrt(np.mean(np.square(scores), axis=1))
    features = summaries[:, : neighbors.shape[1]]
    cosines = _unit_vectors(features) @ _unit_vectors(neighbors).T  # (videos, neighbors)
    return np.stack([score, 1 - cosines.max(axis=1)], axis=1)


def _unit_vectors(vectors):
    """Vectors of length 1, along the last axis; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, MIN_NORM)


def _assign_folds(groups):
    """Fold of each video: groups in the order of their first video, cut into equal parts."""
    rows_by_group = {}
    for row, group in enumerate(groups):
        key = ("group", group) if group is not None else ("row", row)
        rows_by_group.setdefault(key, []).append(row)
    folds = np.empty(len(groups), int)
    count = 0
    for rows in rows_by_group.values():
        folds[rows] = count * NUM_FOLDS // len(groups)
        count += len(rows)
    return folds
