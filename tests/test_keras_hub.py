"""KerasHub's samplers write our captions: with our constraints, and with our log-probabilities."""

import importlib.util

import keras
import numpy as np
import pytest

from zoo import lrcn_captioner
from zoo.decoding import Constraints

if keras.backend.backend() != "tensorflow" or importlib.util.find_spec("keras_hub") is None:
    pytest.skip("KerasHub's samplers are tried on TensorFlow only", allow_module_level=True)

from keras_hub import samplers

WORDS = 8


@pytest.fixture(scope="module")
def captioner():
    keras.utils.set_random_seed(3)
    captioner = lrcn_captioner(5, WORDS, embedding_dim=4, lstm_units=6)
    for weight in captioner.decoder.trainable_variables:
        weight.assign(weight + keras.random.normal(weight.shape, seed=len(weight.path)))
    return captioner


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).standard_normal((4, 5)).astype("float32")


def assert_scored(captioner, features, decoded):
    """The log-probabilities are those of `score`; an end that was not reached is not counted."""
    for n in range(decoded.token_ids.shape[1]):
        ids = decoded.token_ids[:, n]
        _, expected = captioner.score(features, ids)
        np.testing.assert_allclose(decoded.word_log_probs[:, n], expected[:, :-1], atol=1e-5)
    np.testing.assert_allclose(decoded.log_probs, decoded.word_log_probs.sum(-1), atol=1e-5)


def test_greedy_sampler_writes_what_greedy_writes(captioner, features):
    rules = Constraints(forbidden_ids=(1,), min_words=2)
    ours = captioner.generate(features, "greedy", max_words=7, constraints=rules)
    theirs = captioner.generate(features, samplers.GreedySampler(), max_words=7, constraints=rules)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_beam_samplers_sentences_have_our_log_probs(captioner, features, n):
    sampler = samplers.BeamSampler(num_beams=3, return_all_beams=n > 1)
    rules = Constraints(forbidden_ids=(1,), prefix=(4,))
    decoded = captioner.generate(features, sampler, max_words=6, constraints=rules)
    assert decoded.token_ids.shape == (4, n, 6)
    assert decoded.log_probs.shape == (4, n)
    assert (decoded.token_ids[:, :, 0] == 4).all()
    assert_scored(captioner, features, decoded)


@pytest.mark.parametrize(
    "sampler",
    [
        samplers.TopPSampler(p=0.9, seed=1, temperature=2.0),
        samplers.TopKSampler(k=5, seed=2),
        samplers.RandomSampler(seed=3),
    ],
)
def test_samplers_that_draw_keep_the_constraints(captioner, features, sampler):
    rules = Constraints(forbidden_ids=(1,), min_words=3, no_repeat_ngram=1, prefix=(5,))
    decoded = captioner.generate(features, sampler, max_words=6, constraints=rules)
    for row in decoded.token_ids[:, 0].tolist():
        words = row[: [*row, 0].index(0)]
        assert words[0] == 5
        assert 1 not in words
        assert 3 <= len(words) == len(set(words))
        assert not any(row[len(words) :])
    assert_scored(captioner, features, decoded)
