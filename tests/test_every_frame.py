"""A network on every frame gives what Keras's own wrapper gives, from one copy in the graph."""

import keras
import numpy as np
import pytest

from zoo.models.layers.every_frame import EveryFrame


@pytest.fixture
def cnn():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )


def clips(batch=2, time=3):
    return np.random.default_rng(1).normal(size=(batch, time, 8, 8, 3)).astype("float32")


def wrapped(kind, cnn, time):
    frames = keras.Input((time, 8, 8, 3))
    return keras.Model(frames, kind(cnn)(frames))


@pytest.mark.parametrize("time", [3, None])
def test_it_equals_time_distributed(cnn, time):
    expected = wrapped(keras.layers.TimeDistributed, cnn, time).predict(clips(), verbose=0)
    model = wrapped(EveryFrame, cnn, time)
    assert model.output_shape == (None, time, 5)
    np.testing.assert_allclose(model.predict(clips(), verbose=0), expected, atol=1e-5)


def test_frames_behind_the_end_become_zeros_and_stay_masked(cnn):
    layer, mask = EveryFrame(cnn), np.array([[True, True, False], [True, False, False]])
    outputs = np.array(layer(clips(), mask=mask))
    alone = np.array(layer(clips()))
    np.testing.assert_allclose(outputs[mask], alone[mask], atol=1e-6)
    assert not outputs[~mask].any() and alone[~mask].any()


def test_masked_clip_ends_in_the_lstm_where_it_ends_by_itself(cnn):
    frames = keras.Input((None, 8, 8, 3))
    model = keras.Model(frames, keras.layers.LSTM(4)(EveryFrame(cnn)(frames)))
    x, mask = clips(), np.array([[True, True, True], [True, True, False]])
    last = np.array(model(x, mask=mask))
    np.testing.assert_allclose(last[1:], np.array(model(x[1:, :2])), atol=1e-5)


def test_training_reaches_the_layers_inside(cnn):
    model = wrapped(EveryFrame, cnn, 3)
    before = np.array(cnn.layers[1].moving_mean)
    model(clips(), training=True)
    assert np.abs(np.array(cnn.layers[1].moving_mean) - before).max() > 0


def test_saved_and_loaded_it_gives_the_same(cnn, tmp_path):
    model = wrapped(EveryFrame, cnn, None)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        loaded.predict(clips(), verbose=0), model.predict(clips(), verbose=0)
    )
