"""The recogniser of activities: against NumPy, frame by frame, and through save and load."""

import keras
import numpy as np
import pytest

import zoo
from zoo.models.backbones import image_encoder

TIME, CLASSES = 5, 4


@pytest.fixture
def encoder():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, strides=2)])
    return image_encoder(network, (1 / 255, 0.0))


@pytest.fixture
def lrcn(encoder):
    return zoo.lrcn_activity_recognizer(encoder, CLASSES, clip_length=TIME, lstm_units=6)


def clips(batch=2, time=TIME):
    return np.random.default_rng(1).uniform(0, 255, (batch, time, 8, 8, 3)).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def numpy_lstm(x, kernel, recurrent, bias):
    """Hochreiter and Schmidhuber's LSTM with forget gate, gates in Keras's order i, f, g, o."""
    h = c = np.zeros((len(x), recurrent.shape[0]))
    outputs = []
    for frame in x.transpose(1, 0, 2):
        i, f, g, o = np.split(frame @ kernel + h @ recurrent + bias, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def test_it_computes_what_numpy_computes(lrcn, encoder):
    x = clips()
    mean, variance = np.linspace(-1, 1, 3), np.array([0.5, 1.0, 2.0])
    deviation = np.sqrt(variance)
    lrcn.adapt(np.stack([mean - deviation, mean + deviation]))
    features = encoder.predict(x.reshape(-1, 8, 8, 3), verbose=0).reshape(2, TIME, -1)
    standard = (features - mean) / np.sqrt(variance)
    read = numpy_lstm(standard, *(np.array(w) for w in lrcn.lstm.get_weights()))
    kernel, bias = lrcn.get_layer("logits").get_weights()
    expected = read @ kernel + bias
    np.testing.assert_allclose(lrcn.predict(x, verbose=0), expected, atol=1e-4)
    np.testing.assert_allclose(lrcn.classify(x), softmax(expected), atol=1e-4)
    np.testing.assert_allclose(lrcn.classify(features), softmax(expected), atol=1e-4)


def test_step_by_step_equals_all_at_once(lrcn):
    x, state, steps = clips(), None, []
    for frame in x.swapaxes(0, 1):
        probabilities, state = lrcn.step(frame, state)
        steps.append(probabilities)
    np.testing.assert_allclose(np.stack(steps, 1), lrcn.classify(x), atol=1e-5)
    assert [s.shape for s in state] == [(2, 6), (2, 6)]  # however long the video


def test_frames_behind_the_end_of_a_clip_change_nothing_before_them(lrcn):
    x, y = clips(), clips()
    y[:, 3:] = 0
    np.testing.assert_array_equal(lrcn.classify(x)[:, :3], lrcn.classify(y)[:, :3])


def test_any_number_of_frames_can_be_classified(lrcn):
    assert lrcn.classify(clips(time=9)).shape == (2, 9, CLASSES)


def test_baseline_sees_each_frame_by_itself(encoder):
    single = zoo.single_frame_recognizer(encoder, CLASSES)
    x = clips()
    together = single.classify(x)
    np.testing.assert_allclose(single.classify(x[:, ::-1])[:, ::-1], together, atol=1e-6)
    np.testing.assert_allclose(single.step(x[:, 2])[0], together[:, 2], atol=1e-6)
    assert single.step(x[:, 2])[1] == []


def test_lrcn_starts_from_the_weights_that_the_baseline_has_learned(encoder):
    single = zoo.single_frame_recognizer(encoder, CLASSES)
    lrcn = zoo.lrcn_activity_recognizer(encoder, CLASSES, clip_length=TIME, lstm_units=6)
    kernel = encoder.layers[-2].layers[0].kernel
    kernel.assign(kernel + 1)
    assert np.array_equal(
        single.frame_encoder.get_weights()[0], lrcn.frame_encoder.get_weights()[0]
    )


def test_paper_initializer_leaves_the_biases_at_zero(encoder):
    uniform = keras.initializers.RandomUniform(-0.01, 0.01, seed=1)
    lrcn = zoo.lrcn_activity_recognizer(encoder, CLASSES, lstm_units=6, initializer=uniform)
    kernel, recurrent, bias = lrcn.lstm.get_weights()
    assert 0 < np.abs(kernel).max() <= 0.01 and 0 < np.abs(recurrent).max() <= 0.01
    assert not bias.any()


def test_fit_learns_which_half_is_brighter(encoder):
    keras.utils.set_random_seed(1)
    lrcn = zoo.lrcn_activity_recognizer(encoder, 2, clip_length=TIME, lstm_units=8, dropout=0.0)
    x = np.full((16, TIME, 8, 8, 3), 30.0, "float32")
    label = np.arange(16) % 2
    x[label == 0, :2] = 220  # bright, then dark
    x[label == 1, 3:] = 220
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    lrcn.compile(keras.optimizers.Adam(0.03), loss, jit_compile=False)
    lrcn.fit(x, np.repeat(label[:, None], TIME, 1), epochs=40, verbose=0)
    assert (lrcn.classify(x).mean(1).argmax(-1) == label).all()


def test_features_alone_are_enough(lrcn):
    fed = zoo.lrcn_activity_recognizer(3, CLASSES, clip_length=None, lstm_units=6)
    features = np.random.default_rng(0).normal(size=(2, TIME, 3)).astype("float32")
    assert fed.classify(features).shape == (2, TIME, CLASSES)
    np.testing.assert_allclose(
        softmax(lrcn.on_features().predict(features, verbose=0)),
        lrcn.classify(features),
        atol=1e-5,
    )


def test_saved_and_loaded_it_gives_the_same(lrcn, tmp_path):
    lrcn.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.classify(clips()), lrcn.classify(clips()), atol=1e-6)


def test_frames_of_another_size_are_refused(lrcn):
    with pytest.raises(ValueError, match=r"Expected frames \(8, 8, 3\) or features \(3,\)"):
        lrcn.classify(np.zeros((1, TIME, 9, 9, 3)))
    with pytest.raises(ValueError, match="each of shape"):
        lrcn.step(np.zeros((1, 9, 9, 3)))


def test_network_with_a_map_of_features_is_refused():
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3)])
    with pytest.raises(ValueError, match="one vector per image"):
        zoo.lrcn_activity_recognizer(network, CLASSES)
