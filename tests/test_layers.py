"""The word LSTMs against plain NumPy, against `keras.layers.LSTM`, and against themselves."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from zoo.models.decoders.caption_decoder import CaptionDecoder
from zoo.models.layers.recurrent_cells import LSTMGates

VOCABULARY, FEATURES, EMBEDDING, UNITS = 7, 5, 4, 6
IMAGE_LAYER = {"1u": 0, "2u": 0, "2f": 1, "4f": 1}  # which layer sees the image, from 0; figure 4
LAYERS = {"1u": 1, "2u": 2, "2f": 2, "4f": 4}

rng = np.random.default_rng(0)
IMAGE = rng.standard_normal((3, FEATURES)).astype("float32")
TOKEN_IDS = rng.integers(1, VOCABULARY, (3, 5)).astype("int32")
TOKEN_IDS[:, 0] = 0


def make(variant="2f", unit="lstm", **options):
    """A built decoder in which every weight, biases too, is far from zero."""
    decoder = CaptionDecoder(VOCABULARY, variant, unit, EMBEDDING, UNITS, **options)
    decoder.build([IMAGE.shape, TOKEN_IDS.shape])
    rng = np.random.default_rng(1)
    for weight in decoder.trainable_variables:
        weight.assign(rng.uniform(-1, 1, weight.shape))
    return decoder


def array(tensor):
    return ops.convert_to_numpy(tensor)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_lstm(cell, gates):
    """LSTM over `gates (batch, words, 4 * units)`: input, forget, cell, output."""
    u = array(cell.recurrent_kernel).astype("float64")
    h = c = np.zeros((len(gates), UNITS))
    outputs = []
    for t in range(gates.shape[1]):
        z = gates[:, t] + h @ u
        i, f, g, o = (z[:, n * UNITS : (n + 1) * UNITS] for n in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def numpy_rnn(cell, gates):
    """The authors' RNNLayer: h = tanh(W_hh h + input), output = tanh(W_ho h + b_o)."""
    w, v, b = (array(x) for x in (cell.recurrent_kernel, cell.output_kernel, cell.output_bias))
    h, outputs = np.zeros((len(gates), UNITS)), []
    for t in range(gates.shape[1]):
        h = np.tanh(gates[:, t] + h @ w)
        outputs.append(np.tanh(h @ v + b))
    return np.stack(outputs, 1)


def numpy_logits(decoder, image, token_ids):
    """What the decoder computes, without it: float64 `(batch, words, vocabulary)`."""
    x = array(decoder.embedding.embeddings).astype("float64")[token_ids]
    if decoder.projection is not None:
        kernel, bias = (array(w) for w in decoder.projection.weights)
        image = np.maximum(image @ kernel + bias, 0)
    for n in range(LAYERS[decoder.variant]):
        kernel, bias = (array(w) for w in decoder.input_shares[n].weights)
        gates = x @ kernel + bias
        if n == IMAGE_LAYER[decoder.variant]:
            gates = gates + (image @ array(decoder.image_share.kernel))[:, None]
        recurrent = {"lstm": numpy_lstm, "rnn": numpy_rnn}[decoder.unit]
        x = recurrent(decoder.rnns[n].cell, gates)
    kernel, bias = (array(w) for w in decoder.logits.weights)
    return x @ kernel + bias


@pytest.fixture(scope="module", params=["1u", "2u", "2f", "4f"])
def variant(request):
    return request.param


@pytest.fixture(scope="module", params=["lstm", "rnn"])
def decoder_and_logits(request, variant):
    """One of each kind, and what it says of all words at once."""
    decoder = make(variant, request.param, projection_dim=3, dropout=0.5)
    return decoder, array(decoder([IMAGE, TOKEN_IDS]))


def test_decoder_equals_plain_numpy(decoder_and_logits):
    decoder, logits = decoder_and_logits
    assert len(decoder.rnns) == LAYERS[decoder.variant]
    assert logits.shape == (3, 5, VOCABULARY)
    np.testing.assert_allclose(logits, numpy_logits(decoder, IMAGE, TOKEN_IDS), atol=2e-6)


def test_step_by_step_equals_all_at_once(decoder_and_logits):
    decoder, at_once = decoder_and_logits
    state = decoder.start(IMAGE)
    assert all(len(tensor) == 3 for tensor in state)
    for n in range(5):
        logits, state = decoder.step(TOKEN_IDS[:, n], state)
        np.testing.assert_allclose(array(logits), at_once[:, n], atol=2e-6)


def test_image_beside_the_words_is_the_image_stacked_onto_the_words():
    decoder = make("1u")
    lstm = keras.layers.LSTM(UNITS, return_sequences=True)
    words = array(decoder.embedding(TOKEN_IDS))
    both = np.concatenate([words, np.repeat(IMAGE[:, None], 5, axis=1)], axis=-1)
    lstm.build(both.shape)
    of_words, bias = decoder.input_shares[0].weights
    kernel = np.concatenate([array(of_words), array(decoder.image_share.kernel)])  # [x; static]
    lstm.set_weights([kernel, array(decoder.rnns[0].cell.recurrent_kernel), array(bias)])
    expected = decoder.logits(lstm(both))
    np.testing.assert_allclose(array(decoder([IMAGE, TOKEN_IDS])), array(expected), atol=2e-6)


@pytest.mark.parametrize(("variant", "differs"), [("2u", True), ("2f", False), ("4f", False)])
def test_factored_first_layer_does_not_see_the_image(variant, differs):
    decoder = make(variant)
    _, (_, h_1, c_1, h_2, *_) = decoder.step(TOKEN_IDS[:, 0], decoder.start(IMAGE))
    assert (np.ptp(array(h_1), axis=0).max() > 1e-3) == differs
    assert (np.ptp(array(c_1), axis=0).max() > 1e-3) == differs
    assert np.ptp(array(h_2), axis=0).max() > 1e-3


def test_captions_in_groups_are_the_captions_one_by_one():
    decoder = make(projection_dim=4)
    groups = np.stack([TOKEN_IDS, np.roll(TOKEN_IDS, 1, axis=0)], axis=1)  # (3, 2, 5)
    together = array(decoder([IMAGE, groups]))
    assert together.shape == (3, 2, 5, VOCABULARY)
    for n in range(2):
        alone = array(decoder([IMAGE, groups[:, n]]))
        np.testing.assert_allclose(together[:, n], alone, atol=2e-6)


def test_dropout_acts_in_training_only():
    dropping, plain = make(projection_dim=4, dropout=0.5), make(projection_dim=4)
    still, training = (array(dropping([IMAGE, TOKEN_IDS], training=t)) for t in (False, True))
    np.testing.assert_array_equal(still, array(plain([IMAGE, TOKEN_IDS])))
    assert np.abs(training - still).max() > 0.1


def test_features_are_standardized_only_once_that_is_set():
    decoder = make()
    share = array(decoder.start(IMAGE)[0])
    np.testing.assert_allclose(share, IMAGE @ array(decoder.image_share.kernel), atol=1e-5)
    mean, variance = np.full(FEATURES, 3.0), np.full(FEATURES, 4.0)
    decoder.standardize.moving_mean.assign(mean)
    decoder.standardize.moving_variance.assign(variance)
    np.testing.assert_allclose(array(decoder.start(3 + 2 * IMAGE)[0]), share, atol=1e-5)
    decoder.trainable = False
    decoder.trainable = True  # frozen and thawed: the statistics are still not trained
    decoder([IMAGE, TOKEN_IDS], training=True)
    np.testing.assert_array_equal(array(decoder.standardize.moving_mean), mean)
    np.testing.assert_allclose(array(decoder.start(3 + 2 * IMAGE)[0]), share, atol=1e-5)


def test_decoder_made_from_its_config_computes_the_same():
    initializer = keras.initializers.RandomNormal(stddev=0.3)
    decoder = make("4f", "rnn", projection_dim=3, dropout=0.25, initializer=initializer)
    config = json.loads(json.dumps(decoder.get_config()))
    other = CaptionDecoder.from_config(config)
    assert other.get_config() == config
    other.build([IMAGE.shape, TOKEN_IDS.shape])
    other.set_weights(decoder.get_weights())
    np.testing.assert_array_equal(
        array(other([IMAGE, TOKEN_IDS])), array(decoder([IMAGE, TOKEN_IDS]))
    )


def test_weights_begin_as_the_authors_and_no_two_alike():
    keras.utils.set_random_seed(0)
    decoder = CaptionDecoder(VOCABULARY, "4f", embedding_dim=UNITS, lstm_units=UNITS)
    decoder.build([IMAGE.shape, TOKEN_IDS.shape])
    matrices = [array(w) for w in decoder.trainable_variables if len(w.shape) == 2]
    vectors = [array(w) for w in decoder.trainable_variables if len(w.shape) == 1]
    assert all(0.06 < np.abs(matrix).max() <= 0.08 for matrix in matrices)
    assert not any(vector.any() for vector in vectors)
    corners = [matrix[0, 0] for matrix in matrices]
    assert len(set(corners)) == len(corners) == 1 + 4 + 4 + 1 + 1


@pytest.mark.parametrize("end", [True, False])
def test_log_probs_add_up_the_words(end):
    decoder = make()
    sentences = np.array([[2, 3, 4, 5], [6, 1, 0, 0], [0, 0, 0, 0]], "int32")
    log_probs, by_word = (array(t) for t in decoder.log_probs(IMAGE, sentences, end))
    assert by_word.shape == (3, 5)
    for row, length in enumerate([4, 2, 0]):
        before = [0, *sentences[row, :length]]
        logits = numpy_logits(decoder, IMAGE[row : row + 1], np.array([before]))[0]
        gains = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        after = [*sentences[row, :length], 0]
        expected = [gains[n, after[n]] for n in range(length + end)]
        np.testing.assert_allclose(by_word[row, : length + end], expected, atol=1e-5)
        assert not by_word[row, length + end :].any()
        assert log_probs[row] == pytest.approx(sum(expected), abs=1e-5)


def test_logits_stay_float32_in_mixed_precision():
    exact = make(projection_dim=4)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        decoder = make(projection_dim=4)
        image, words = keras.Input((FEATURES,)), keras.Input((None,), dtype="int32")
        assert decoder([image, words]).dtype == "float32"
        assert decoder.rnns[1].cell.compute_dtype == "float16"
        logits = decoder([IMAGE, TOKEN_IDS])
        step, state = decoder.step(TOKEN_IDS[:, 0], decoder.start(IMAGE))
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert keras.backend.standardize_dtype(step.dtype) == "float32"
    assert {keras.backend.standardize_dtype(tensor.dtype) for tensor in state} == {"float16"}
    np.testing.assert_allclose(array(logits), array(exact([IMAGE, TOKEN_IDS])), atol=0.05)
    np.testing.assert_allclose(array(step), array(logits)[:, 0], atol=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "3f"}, r"\['1u', '2u', '2f', '4f'\].*variant='3f'"),
        ({"unit": "gru"}, r"\['lstm', 'rnn'\].*unit='gru'"),
        ({"vocabulary_size": 1}, "at least 2. Received: 1"),
    ],
)
def test_unknown_kinds_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CaptionDecoder(**{"vocabulary_size": VOCABULARY, **options})


def test_forgetting_cell_forgets_and_remembering_cell_remembers():
    cell = LSTMGates(1)
    cell.build((None, 4))
    cell.recurrent_kernel.assign([[0.0, 0.0, 0.0, 0.0]])
    for forget, expected in ((-50.0, 0.0), (50.0, 0.7)):
        gates = np.array([[-50.0, forget, 9.0, 50.0]], "float32")  # nothing new enters
        _, (h, c) = cell(gates, [np.zeros((1, 1), "float32"), np.full((1, 1), 0.7, "float32")])
        assert array(c)[0, 0] == pytest.approx(expected, abs=1e-6)
        assert array(h)[0, 0] == pytest.approx(np.tanh(expected), abs=1e-6)
