"""The field over roles against brute force over all tuples."""

import itertools
import time

import keras
import numpy as np
import pytest

from zoo.models.layers.role_crf import RoleCRF

SIZES = [4, 4, 4, 4]


def random_crf(sizes, seed=0):
    crf, rng = RoleCRF(sizes), np.random.default_rng(seed)
    for pairs in crf.pairs:
        pairs.assign(rng.normal(0, 2, pairs.shape))
    return crf, rng.normal(0, 2, (3, sum(sizes))).astype("float32")


def brute_force(crf, scores):
    """All tuples `(tuples, roles)` and their probabilities `(batch, tuples)`, in float64."""
    sizes, pairs = crf.num_labels, [keras.ops.convert_to_numpy(p) for p in crf.pairs]
    unary = np.split(scores.astype("float64"), np.cumsum(sizes)[:-1], axis=1)
    tuples = np.array(list(itertools.product(*map(range, sizes))))
    total = sum(unary[role][:, tuples[:, role]] for role in range(len(sizes)))
    for role in range(1, len(sizes)):
        total = total + pairs[role - 1][tuples[:, 0], tuples[:, role]].astype("float64")
    weights = np.exp(total - total.max(1, keepdims=True))
    return tuples, weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("sizes", [SIZES, [2, 5, 3], [3]])
def test_sums_and_maxima_are_those_of_all_tuples(sizes):
    crf, scores = random_crf(sizes)
    tuples, probabilities = brute_force(crf, scores)
    best = keras.ops.convert_to_numpy(crf.most_likely(scores))
    np.testing.assert_array_equal(best, tuples[probabilities.argmax(1)])
    marginals = keras.ops.convert_to_numpy(crf.marginals(scores))
    offsets = np.cumsum([0, *sizes[:-1]])
    for role, size in enumerate(sizes):
        for label in range(size):
            expected = probabilities[:, tuples[:, role] == label].sum(1)
            np.testing.assert_allclose(marginals[:, offsets[role] + label], expected, atol=1e-5)
    for chosen in (0, len(tuples) // 2, len(tuples) - 1):
        labels = np.repeat(tuples[None, chosen].astype("int32"), 3, 0)
        likelihood = keras.ops.convert_to_numpy(crf.log_likelihood(scores, labels))
        np.testing.assert_allclose(likelihood, np.log(probabilities[:, chosen]), atol=1e-4)


def test_most_likely_tuple_need_not_be_of_the_most_likely_labels():
    crf = RoleCRF([2, 3])
    crf.pairs[0].assign([[0.0, 0.0, 0.0], [1.0, -9.0, -9.0]])
    scores = np.array([[0.0, 0.5, 0.0, 0.0, 0.0]], "float32")
    # Label 0 of the first role has three ways to be, label 1 a single one, the best of all.
    probabilities, most_likely = map(keras.ops.convert_to_numpy, crf(scores))
    assert most_likely.tolist() == [[0, 1, 1, 0, 0]]
    alone = np.exp(1.5) / (3 + np.exp(1.5))
    np.testing.assert_allclose(probabilities[0, :2], [1 - alone, alone], atol=1e-3)


def test_far_scores_neither_overflow_nor_vanish():
    crf, scores = random_crf(SIZES)
    probabilities, _ = crf(scores * 1e4)
    assert np.isfinite(keras.ops.convert_to_numpy(probabilities)).all()
    labels = crf.most_likely(scores * 1e4)
    likelihood = keras.ops.convert_to_numpy(crf.log_likelihood(scores * 1e4, labels))
    np.testing.assert_allclose(likelihood, 0, atol=1e-2)


def test_what_cannot_be_a_field_is_refused():
    with pytest.raises(ValueError, match="at least one label"):
        RoleCRF([3, 0])
    with pytest.raises(ValueError, match=r"\(batch, 7\)"):
        RoleCRF([3, 4])(np.zeros((1, 6), "float32"))


def test_training_step_of_five_roles_with_150_labels_takes_less_than_two_seconds():
    from zoo.models.role_recognizer import semantic_role_recognizer

    sizes, rng = [150] * 5, np.random.default_rng(0)
    recognizer = semantic_role_recognizer(64, sizes, lstm_units=64)
    jit = keras.backend.backend() == "jax"
    recognizer.compile("adam", jit_compile=jit)
    features = rng.normal(size=(32, 8, 64)).astype("float32")
    inputs = {"features": features, "num_frames": np.full(32, 8, "int32")}
    labels = rng.integers(150, size=(32, 5)).astype("int32")
    recognizer.train_on_batch(inputs, labels)  # compiles
    start = time.perf_counter()
    loss = recognizer.train_on_batch(inputs, labels)
    assert time.perf_counter() - start < 2
    assert abs(float(loss) - 5 * np.log(150)) < 2
