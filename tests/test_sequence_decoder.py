"""The encoder-decoder against a plain NumPy one, all at once and word by word."""

import keras
import numpy as np
import pytest

from zoo.decoding import BeamSearch
from zoo.models.decoders.sequence_decoder import SequenceDecoder

VOCABULARY, FEATURES, UNITS, WORDS = 6, 3, 4, 2
LENGTHS = np.array([5, 2, 1], "int32")
IDS = np.array([[0, 2, 5, 3], [0, 4, 4, 1], [0, 1, 2, 3]], "int32")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def make(words_enter, projection_dim=None):
    decoder = SequenceDecoder(
        VOCABULARY, words_enter, embedding_dim=WORDS, lstm_units=UNITS,
        projection_dim=projection_dim,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    sequence = rng.normal(size=(3, 5, FEATURES)).astype("float32")
    decoder([[sequence, LENGTHS], IDS])
    for weight in decoder.trainable_variables:
        weight.assign(rng.normal(0, 1, weight.shape))
    decoder.standardize.moving_mean.assign([0.1, 0.2, 0.3])
    decoder.standardize.moving_variance.assign([1.0, 2.0, 0.5])
    return decoder, sequence


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_logits(decoder, sequence, length, ids):
    """One row, step by step as the paper and S2VT describe it, in float64."""
    dense = [tuple(map(array, share.get_weights())) for share in decoder.input_shares]
    recurrent = [array(rnn.cell.recurrent_kernel) for rnn in decoder.rnns]
    embedding, visual = array(decoder.embedding.embeddings), array(decoder.image_share.kernel)
    states = [[np.zeros(UNITS), np.zeros(UNITS)] for _ in range(2)]

    def run(vector, word, flag):
        below = None
        for n in range(2):
            if decoder.words_enter == "first":
                x = word if n == 0 else below
            else:
                x = np.zeros(1) if n == 0 else np.concatenate([below, word, [flag]])
            kernel, bias = dense[n]
            gates = x @ kernel + bias + states[n][0] @ recurrent[n]
            if n == 0:
                gates = gates + vector @ visual
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * states[n][1] + sigmoid(i) * np.tanh(g)
            states[n] = [sigmoid(o) * np.tanh(c), c]
            below = states[n][0]
        return below

    mean, variance = (
        array(decoder.standardize.moving_mean),
        array(decoder.standardize.moving_variance),
    )
    for vector in sequence[:length]:
        vector = (vector - mean) / np.sqrt(variance + 1e-7)
        if decoder.projection is not None:
            kernel, bias = map(array, decoder.projection.get_weights())
            vector = np.maximum(vector @ kernel + bias, 0)
        run(vector, np.zeros(WORDS), 0.0)
    kernel, bias = map(array, decoder.logits.get_weights())
    nothing = np.zeros(visual.shape[0])
    return np.stack([run(nothing, embedding[word], 1.0) @ kernel + bias for word in ids])


@pytest.mark.parametrize("projection_dim", [None, 7])
@pytest.mark.parametrize("words_enter", ["first", "second"])
def test_logits_are_those_of_a_plain_lstm_that_reads_and_then_writes(words_enter, projection_dim):
    decoder, sequence = make(words_enter, projection_dim)
    logits = array(decoder([[sequence, LENGTHS], IDS]))
    for row in range(3):
        expected = numpy_logits(decoder, sequence[row], LENGTHS[row], IDS[row])
        np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("words_enter", ["first", "second"])
def test_word_by_word_equals_all_at_once_and_a_video_is_read_once_for_all_captions(words_enter):
    decoder, sequence = make(words_enter)
    logits = array(decoder([[sequence, LENGTHS], IDS]))
    state = decoder.start([sequence, LENGTHS])
    for position in range(IDS.shape[1]):
        step, state = decoder.step(IDS[:, position], state)
        np.testing.assert_allclose(array(step), logits[:, position], atol=1e-5)
    both = array(decoder([[sequence, LENGTHS], np.stack([IDS[::-1], IDS], axis=1)]))
    np.testing.assert_allclose(both[:, 1], logits, atol=1e-5)


@pytest.mark.parametrize("words_enter", ["first", "second"])
def test_what_fills_a_short_video_up_changes_nothing(words_enter):
    decoder, sequence = make(words_enter)
    logits = array(decoder([[sequence, LENGTHS], IDS]))
    dirty = sequence.copy()
    dirty[1, 2:], dirty[2, 1:] = 99.0, -99.0
    np.testing.assert_array_equal(array(decoder([[dirty, LENGTHS], IDS])), logits)
    alone = array(decoder([[sequence[1:2, :2], LENGTHS[1:2]], IDS[1:2]]))
    np.testing.assert_allclose(alone[0], logits[1], atol=1e-5)


def test_beam_scores_what_log_probs_says():
    decoder, sequence = make("second")
    found = decoder.search([sequence, LENGTHS], BeamSearch(3, n_best=2), 6)
    for n in range(2):
        ids = array(found.token_ids)[:, n]
        ended = (ids == 0).any(1)
        log_probs = array(decoder.log_probs([sequence, LENGTHS], ids)[0])
        np.testing.assert_allclose(log_probs[ended], array(found.log_probs)[ended, n], atol=1e-4)


def test_order_of_what_is_read_counts():
    decoder, sequence = make("second")
    logits = array(decoder([[sequence, np.full(3, 5, "int32")], IDS]))
    backwards = array(decoder([[sequence[:, ::-1], np.full(3, 5, "int32")], IDS]))
    assert np.abs(logits - backwards).max() > 0.1


def test_decoder_comes_back_from_its_configuration():
    decoder, sequence = make("first", 7)
    again = SequenceDecoder.from_config(decoder.get_config())
    again([[sequence, LENGTHS], IDS])
    again.set_weights(decoder.get_weights())
    inputs = [[sequence, LENGTHS], IDS]
    np.testing.assert_allclose(array(again(inputs)), array(decoder(inputs)), atol=1e-6)
    with pytest.raises(ValueError, match="'third'"):
        SequenceDecoder(VOCABULARY, "third")
