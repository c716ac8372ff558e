"""Whole videos are classified as by hand, and the authors' solver steps as by hand."""

import keras
import numpy as np
import pytest

import zoo
from zoo.data.sources.arrays import ClipArray
from zoo.data.videos.reading import VideoError
from zoo.models.backbones import image_encoder
from zoo.models.task import compute_moments
from zoo.training import activity
from zoo.training.activity import (
    classify_videos,
    count_unlike,
    fit_feature_statistics,
    sample_features,
)
from zoo.training.whole_batch import CaffeSGD


def test_video_is_the_mean_over_frames_of_clips_and_views():
    keras.utils.set_random_seed(0)
    lrcn = zoo.lrcn_activity_recognizer(3, 4, clip_length=None, lstm_units=5)
    random = np.random.default_rng(1)
    features = [
        [random.normal(size=(n, 3)).astype("float16") for _ in range(2)] for n in (7, 4, 2, 9)
    ]
    found = classify_videos(lrcn, features, clip_length=4, stride=3)
    starts = {7: [0, 3], 4: [0], 2: [0], 9: [0, 3, 5]}
    for video, views in enumerate(features):
        votes = [
            lrcn.classify(view[None, start : start + 4])[0]
            for view in views
            for start in starts[len(view)]
        ]
        np.testing.assert_allclose(found[video], np.concatenate(votes).mean(0), atol=1e-5)


def test_statistics_are_those_of_all_frames_together():
    random = np.random.default_rng(0)
    views = [[random.normal(3, 2, (n, 4)).astype("float16")] for n in (5, 1, 8)]
    mean, variance = compute_moments(view[0] for view in views)
    everything = np.concatenate([view[0] for view in views]).astype("float64")
    np.testing.assert_allclose(mean, everything.mean(0))
    np.testing.assert_allclose(variance, everything.var(0))


@pytest.mark.parametrize("clipnorm", [None, 0.5])
def test_caffe_sgd_steps_as_caffe_does(clipnorm):
    keras.utils.set_random_seed(0)
    variables = [
        keras.Variable(np.full(shape, 0.4), name=name)
        for shape, name in (((2, 2), "kernel"), ((2,), "bias"))
    ]
    paths = ("conv/kernel", "conv/bias")
    for variable, path in zip(variables, paths, strict=True):
        variable._path = path
    logits = keras.Variable(np.full((2,), 0.4), name="bias")
    logits._path = "logits/bias"
    lstm = keras.Variable(np.full((2,), 0.4), name="bias")
    lstm._path = "lstm/lstm_cell/bias"
    variables += [logits, lstm]
    optimizer = CaffeSGD(
        0.1, decay=0.5, factors={"logits": 10}, momentum=0.9, global_clipnorm=clipnorm
    )
    optimizer.build(variables)
    random = np.random.default_rng(0)
    weights = [np.array(v, "float64") for v in variables]
    history = [np.zeros_like(w) for w in weights]
    # Rates: a bias twice its layer's, the classifier ten times; Caffe's LSTM knows one rate, and
    # decays its bias.
    rates, decays = [0.1, 0.2, 2.0, 0.1], [0.5, 0, 0, 0.5]
    for _ in range(3):
        gradients = [random.normal(size=w.shape) for w in weights]
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], variables)
        norm = np.sqrt(sum(np.square(g).sum() for g in gradients))
        scale = 1 if clipnorm is None else min(1, clipnorm / norm)
        for n, gradient in enumerate(gradients):
            history[n] = 0.9 * history[n] + rates[n] * (gradient * scale + decays[n] * weights[n])
            weights[n] = weights[n] - history[n]
    for variable, expected in zip(variables, weights, strict=True):
        np.testing.assert_allclose(np.array(variable), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def bright():
    """A recognizer whose features are the colors of a frame, and clips that are bright."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])
    encoder = image_encoder(network, (1 / 255, 0.0))
    encoder.set_weights([np.eye(3)[None, None], np.zeros(3)])
    return zoo.single_frame_recognizer(encoder, 2), make_clips(60, 180, 250, seed=0)


def make_clips(count, low, high, seed):
    """Clips of 10 frames, each of one color with a little noise."""
    random = np.random.default_rng(seed)
    colors = random.integers(low, high, (count, 1, 1, 1, 3))
    noise = random.integers(-5, 5, (count, 10, 8, 8, 3))
    return ClipArray((colors + noise).clip(0, 255).astype("uint8"))


def test_clips_unlike_those_of_the_training_are_counted(bright):
    recognizer, training = bright
    statistics = fit_feature_statistics(recognizer, training, (8, 8))
    assert (statistics.num_frames, statistics.feature_dim) == (8, 3)
    color = training.read(0, [0])[0].mean((0, 1)) / 255
    np.testing.assert_allclose(sample_features(*bright, (8, 8))[0][0], color, atol=0.01)
    recognizer.feature_statistics = statistics
    marked, compared = count_unlike(recognizer, make_clips(100, 180, 250, seed=1), (8, 8))
    assert compared == 100 and marked < 20
    assert count_unlike(recognizer, make_clips(30, 0, 60, seed=2), (8, 8)) == (30, 30)
    dark = make_clips(1, 0, 60, seed=3).read(0, range(8))
    assert recognizer.compare_with_training(dark).is_unlike


def test_of_many_videos_some_are_drawn(bright, monkeypatch):
    monkeypatch.setattr(activity, "MAX_VIDEOS", 25)
    drawn = [list(sample_features(*bright, (8, 8), seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 25 and drawn[0] == sorted(drawn[0])


def test_damaged_video_is_left_out_of_the_statistics(bright):
    recognizer, training = bright

    class Damaged(ClipArray):
        def read(self, row, indices):
            if row == 3:
                raise VideoError("clip3", "damaged")
            return super().read(row, indices)

    clips = Damaged([training.read(row, range(10)) for row in range(5)])
    assert list(sample_features(recognizer, clips, (8, 8))) == [0, 1, 2, 4]
