"""The confidence of a caption: its quantities, its probability, and what a captioner returns."""

import json

import keras
import numpy as np
import pytest

from zoo import lrcn_captioner
from zoo.decoding import BeamSearch, Constraints, Sampling, whole_beam
from zoo.models.confidence import QUANTITIES, CaptionConfidence
from zoo.text.vocabulary import UNKNOWN, Vocabulary

WORDS = ["<eos>", "<unk>", "a", "dog", "cat", "sleeps", "runs"]
FEATURES = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
CONFIG = {
    "quantities": list(QUANTITIES),
    "means": [-1.8, -0.2, 0.2, -1.5, 0.2, 0.8, 0.0],
    "scales": [0.6, 0.4, 0.2, 0.5, 0.2, 0.4, 0.5],
    "weights": [0.5, 0.2, -0.4, 0.9, 0.4, 0.2, -0.1],
    "bias": -0.3,
    "threshold": 0.5,
}
MAX_WORDS = 6
BEAM = BeamSearch(beam_size=4, n_best=3, length_penalty=1.0)


@pytest.fixture(scope="module")
def captioner():
    keras.utils.set_random_seed(2)
    captioner = lrcn_captioner(5, len(WORDS), embedding_dim=6, lstm_units=8, projection_dim=4)
    for weight in captioner.decoder.trainable_variables:  # or all sentences would be alike
        weight.assign(np.array(weight) * 12)
    captioner.adapt(np.random.default_rng(1).normal(0.5, 2, (50, 5)))
    captioner.vocabulary = Vocabulary(WORDS)
    captioner.confidence = CaptionConfidence.from_config(CONFIG)
    return captioner


def probability(confidence, **changes):
    """Probability of a caption with mean quantities but for some of them."""
    values = dict(zip(confidence.quantities, confidence.means, strict=True)) | changes
    return float(confidence({name: np.float32(value) for name, value in values.items()}))


def decode(captioner):
    return captioner.generate(FEATURES, BEAM, max_words=MAX_WORDS)


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_probability_is_monotonic_in_each_quantity_and_stays_in_0_to_1(name):
    confidence = CaptionConfidence.from_config(CONFIG)
    values = [-1e9, -3.0, -1.0, 0.0, 1.0, 3.0, 1e9]
    probabilities = [probability(confidence, **{name: value}) for value in values]
    steps = np.diff(probabilities) * QUANTITIES[name]
    assert (steps >= 0).all() and (steps[1:5] > 0).all()
    assert min(probabilities) >= 0 and max(probabilities) <= 1


def test_mean_quantities_give_the_probability_of_the_bias():
    confidence = CaptionConfidence.from_config(CONFIG)
    assert probability(confidence) == pytest.approx(1 / (1 + np.exp(0.3)), abs=1e-6)


def test_quantities_equal_those_of_a_loop_over_the_words(captioner):
    decoded = decode(captioner)
    quantities = captioner.caption_quantities(FEATURES, decoded)
    mean = np.asarray(captioner.decoder.standardize.moving_mean)
    variance = np.asarray(captioner.decoder.standardize.moving_variance)
    ends = set()
    for row, rank in np.ndindex(decoded.log_probs.shape):
        words = [int(i) for i in decoded.token_ids[row, rank] if i]
        steps = [*words, 0][:MAX_WORDS]
        ends.add(len(steps) - len(words))
        # Given the mean image, one word at a time.
        state = captioner.decoder.start(mean[None])
        last = 0
        priors = []
        for word in steps:
            logits, state = captioner.decoder.step(np.array([last], "int32"), state)
            log_probs = keras.ops.convert_to_numpy(keras.ops.log_softmax(logits))
            priors.append(log_probs[0, word])
            last = word
        log_probs = decoded.word_log_probs[row, rank, : len(steps)]
        gains = log_probs - priors
        informed = np.exp(2 * log_probs) / (np.exp(log_probs) + np.exp(priors))
        lengths = (decoded.word_log_probs[row] != 0).sum(axis=-1)
        per_word = decoded.log_probs[row] / lengths
        expected = {
            "log_informative_prob": np.log(np.average(informed, weights=np.negative(priors))),
            "smallest_gain": min(gains),
            "beam_range": max(per_word) - min(per_word),
            "log_prob_per_word": log_probs.mean(),
            "weighted_gain_per_word": np.mean(np.exp(log_probs) * gains),
            "largest_gain": max(gains),
            "feature_distance": np.log(np.mean((FEATURES[row] - mean) ** 2 / variance)),
        }
        for name, value in expected.items():
            found = quantities[name][row, rank]
            assert found == pytest.approx(value, abs=2e-4), (name, row, rank)
    if keras.backend.backend() == "tensorflow":  # other backends draw other weights
        assert ends == {0, 1}  # sentences with and without room for their end


def test_candidates_are_the_decoded_sentences_with_a_confidence_each(captioner):
    decoded = decode(captioner)
    logit = CONFIG["bias"]
    beam = captioner.generate(FEATURES, whole_beam(BEAM), max_words=MAX_WORDS)
    quantities = captioner.caption_quantities(FEATURES, beam, n_best=3)
    for n, name in enumerate(QUANTITIES):
        z_score = (quantities[name] - CONFIG["means"][n]) / CONFIG["scales"][n]
        logit = logit + CONFIG["weights"][n] * z_score
    expected = 1 / (1 + np.exp(-logit))
    candidates = captioner.caption_candidates(FEATURES, BEAM, max_words=MAX_WORDS)
    assert np.ptp(expected) > 0.05
    for row, rank in np.ndindex(expected.shape):
        candidate = candidates[row][rank]
        assert candidate.text == captioner.vocabulary.decode(decoded.token_ids[row, rank])
        assert candidate.log_prob == pytest.approx(decoded.log_probs[row, rank])
        assert sum(candidate.word_log_probs) == pytest.approx(candidate.log_prob, abs=1e-4)
        assert candidate.confidence == pytest.approx(expected[row, rank], abs=1e-5)
    best = [row[0].text for row in candidates]
    assert captioner.caption(FEATURES, BEAM, max_words=MAX_WORDS) == best


def test_a_confidence_does_not_depend_on_the_other_candidates_and_images(captioner):
    three = captioner.caption_candidates(FEATURES, BEAM, batch_size=4)
    one = captioner.caption_candidates(FEATURES[2:3], BeamSearch(4, length_penalty=1.0))
    assert [len(row) for row in one] == [1] and [len(row) for row in three] == [3] * 6
    assert one[0][0].text == three[2][0].text
    assert one[0][0].confidence == pytest.approx(three[2][0].confidence, abs=1e-5)


def test_the_mean_image_is_the_nearest_one_and_nothing_is_gained_by_it(captioner):
    mean = np.asarray(captioner.decoder.standardize.moving_mean)[None]
    decoded = captioner.generate(mean, BEAM)
    quantities = captioner.caption_quantities(mean, decoded)
    np.testing.assert_allclose(quantities["largest_gain"], 0, atol=1e-5)
    np.testing.assert_allclose(quantities["smallest_gain"], 0, atol=1e-5)
    np.testing.assert_allclose(quantities["weighted_gain_per_word"], 0, atol=1e-5)
    others = captioner.caption_quantities(FEATURES, decode(captioner))["feature_distance"]
    assert quantities["feature_distance"].max() < others.min()


def test_the_range_is_that_of_the_whole_beam_whatever_is_returned(captioner):
    beam = captioner.generate(FEATURES, whole_beam(BEAM), max_words=MAX_WORDS)
    ranges = captioner.caption_quantities(FEATURES, beam)["beam_range"]
    assert ranges.shape == (6, 4) and (ranges > 0).all()
    np.testing.assert_array_equal(np.ptp(ranges, axis=1), 0)
    best = captioner.caption_quantities(FEATURES, beam, n_best=1)["beam_range"]
    np.testing.assert_array_equal(best, ranges[:, :1])


def test_a_beam_of_one_sentence_has_no_range(captioner):
    only_dog = Constraints(forbidden_ids=(UNKNOWN, 2, 4, 5, 6), min_words=1)
    beam = captioner.generate(FEATURES, whole_beam(BEAM), constraints=only_dog, max_words=1)
    ranges = captioner.caption_quantities(FEATURES, beam)["beam_range"]
    np.testing.assert_array_equal(ranges, 0)  # the other three are no sentences


@pytest.mark.parametrize("sampler", ["greedy", "beam", Sampling(4, n_best=2)], ids=str)
def test_other_samplers_return_as_many_candidates_as_ever(captioner, sampler):
    decoded = captioner.generate(FEATURES, sampler, max_words=MAX_WORDS)
    candidates = captioner.caption_candidates(FEATURES, sampler, max_words=MAX_WORDS)
    for row, ids in zip(candidates, decoded.token_ids, strict=True):
        assert [c.text for c in row] == [captioner.vocabulary.decode(i) for i in ids]
        assert all(0 <= c.confidence <= 1 for c in row)


def test_a_sentence_that_the_constraints_leave_no_room_for_is_not_believed(captioner):
    only_dog = Constraints(forbidden_ids=(UNKNOWN, 2, 4, 5, 6), min_words=1)
    rows = captioner.caption_candidates(FEATURES, BEAM, only_dog, max_words=1)
    for best, *others in rows:
        assert best.text == "dog" and best.confidence > 1e-3
        assert [other.confidence for other in others] == [0.0, 0.0]


def test_without_a_fitted_confidence_candidates_have_none(captioner):
    silent = lrcn_captioner(5, len(WORDS), embedding_dim=6, lstm_units=8, projection_dim=4)
    silent.vocabulary = captioner.vocabulary
    for row in silent.caption_candidates(FEATURES, BEAM, max_words=MAX_WORDS):
        assert [candidate.confidence for candidate in row] == [None] * 3


def test_candidates_need_a_vocabulary():
    with pytest.raises(ValueError, match="no vocabulary"):
        lrcn_captioner(5, 7, embedding_dim=6, lstm_units=8).caption_candidates(FEATURES)


def test_a_confidence_survives_json():
    confidence = CaptionConfidence.from_config(CONFIG)
    again = CaptionConfidence.from_config(json.loads(json.dumps(confidence.get_config())))
    assert again == confidence and again.get_config() == CONFIG


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantities": ["length", *list(QUANTITIES)[1:]]}, "quantities among .*Received.*length"),
        ({"quantities": [], "means": [], "scales": [], "weights": []}, "quantities among"),
        ({"means": [0.0]}, "one mean, scale and weight for each of 7"),
        ({"quantities": [*list(QUANTITIES)[1:], "largest_gain"]}, "each of 6 different"),
        ({"scales": [0.5, 0.2, 0.0, 0.5, 1.0, 1.0, 1.0]}, "scales above 0"),
        ({"weights": [0.9, float("nan"), 0.2, 0.1, 0.1, 0.1, 0.1]}, "finite"),
        ({"bias": "0.3"}, "finite"),
        ({"threshold": 1.5}, "threshold from 0 to 1"),
    ],
)
def test_numbers_that_cannot_be_a_confidence_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CaptionConfidence.from_config(CONFIG | changes)
