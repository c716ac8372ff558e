"""A conditional random field over semantic roles: exact sums and maxima, at a small price."""

import itertools

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class RoleCRF(keras.layers.Layer):
    """Joins the labels of a video's semantic roles: the first role with every other one.

    A tuple of labels, one a role, scores the sum of its labels' unary scores and, for every role
    but the first, of a learned score of the pair (label of the first role, label of this role).
    Its probability is softmax over all tuples. The pairs form a tree, a star around the first
    role (the activity): so the sum and the maximum over all tuples are exact, and cost `roles x
    labels ** 2` instead of `labels ** roles`.

    Args:
        num_labels: List of ints: how many labels each role has.

    Call arguments:
        scores: float `(batch, sum(num_labels))`, unary scores, role after role.

    Returns:
        Two float32 tensors `(batch, sum(num_labels))`: the exact marginal probability of each
        label, and the most likely tuple, 1 for its label of each role and 0 for all others.

    Source:
        Donahue et al., 2015, section 6, takes such predictions from Rohrbach et al., 2014,
        https://arxiv.org/abs/1403.6173. Sum- and max-product on a tree: Koller and Friedman,
        Probabilistic Graphical Models, chapters 10 and 13.
    """

    def __init__(self, num_labels, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)  # sums of exponentials: never in half precision
        self.num_labels = list(num_labels)
        if not self.num_labels or min(self.num_labels) < 1:
            raise ValueError(f"Each role has at least one label. Received: {num_labels}")
        self.pairs = [
            self.add_weight(
                name=f"pairs_{role}", shape=(self.num_labels[0], labels), initializer="zeros"
            )
            for role, labels in enumerate(self.num_labels[1:], start=1)
        ]

    def build(self, input_shape):
        if input_shape[-1] != sum(self.num_labels):
            raise ValueError(
                f"Expected scores (batch, {sum(self.num_labels)}), one for each of the labels "
                f"{self.num_labels}. Received: {input_shape}"
            )

    def call(self, scores):
        return self.marginals(scores), self.one_hot(self.most_likely(scores))

    def marginals(self, scores):
        """Exact marginal probability of each label, float32 `(batch, sum(num_labels))`."""
        first, others = self._tables(scores)
        # Log of the sum over all tuples with this label of the first role, (batch, labels 0).
        first = ops.softmax(first + sum(ops.logsumexp(table, axis=-1) for table in others))
        # p(label) is the sum over the first role's labels of p(first) p(label | first).
        others = [
            ops.squeeze(ops.matmul(first[:, None], ops.softmax(table)), 1) for table in others
        ]
        return ops.concatenate([first, *others], axis=-1)

    def most_likely(self, scores):
        """Labels of the most likely tuple, int32 `(batch, roles)`."""
        first, others = self._tables(scores)
        best = ops.argmax(first + sum(ops.max(table, axis=-1) for table in others), axis=-1)
        labels = [best]
        for table in others:
            row = ops.take_along_axis(table, best[:, None, None], axis=1)[:, 0]
            labels.append(ops.argmax(row, axis=-1))
        return ops.cast(ops.stack(labels, axis=-1), "int32")

    def log_likelihood(self, scores, labels):
        """Log-probability of tuples.

        Args:
            scores: float `(batch, sum(num_labels))`.
            labels: int32 `(batch, roles)`, the index of each role's label.

        Returns:
            float32 `(batch,)`.
        """
        first, others = self._tables(scores)
        total = ops.logsumexp(first + sum(ops.logsumexp(t, axis=-1) for t in others), axis=-1)
        score = ops.take_along_axis(first, labels[:, :1], axis=1)[:, 0]
        for role, table in enumerate(others, start=1):
            row = ops.take_along_axis(table, labels[:, :1, None], axis=1)[:, 0]
            score += ops.take_along_axis(row, labels[:, role, None], axis=1)[:, 0]
        return score - total

    def one_hot(self, labels):
        """`(batch, roles)` labels as float32 `(batch, sum(num_labels))` of zeros and ones."""
        columns = [
            ops.one_hot(labels[:, role], size, dtype="float32")
            for role, size in enumerate(self.num_labels)
        ]
        return ops.concatenate(columns, axis=-1)

    def _tables(self, scores):
        """Scores of the first role's labels `(batch, labels 0)`; and for each other role a table
        `(batch, labels 0, labels)`: score of a label beside a label of the first role."""
        scores = ops.cast(scores, "float32")
        ends = itertools.accumulate(self.num_labels)
        first, *others = (
            scores[:, end - size : end] for end, size in zip(ends, self.num_labels, strict=True)
        )
        tables = [
            unary[:, None] + ops.cast(pairs, "float32")
            for unary, pairs in zip(others, self.pairs, strict=True)
        ]
        return first, tables

    def get_config(self):
        return {**super().get_config(), "num_labels": self.num_labels}
