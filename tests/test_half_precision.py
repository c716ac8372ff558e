"""In half precision every recipe's model learns, and its loss stays float32."""

import types

import keras
import numpy as np
import pytest

import zoo
from recipes import activity_recognition, image_captioning, video_description

FEATURES, WORDS, STEPS = 6, 9, 5


def captioner(options):
    model = zoo.lrcn_captioner(FEATURES, WORDS, lstm_units=6, embedding_dim=5).on_features()
    image_captioning.compile_teaching(model, options, 0.01, 10, 10.0)
    return model, {"features": features(4)}


def describer(options):
    model = zoo.lrcn_video_describer(FEATURES, WORDS, lstm_units=6, embedding_dim=5).on_features()
    video_description.compile_teaching(model, options, 0.01, 10)
    return model, {"features": features(4, 3), "num_frames": np.array([3, 2, 1, 3])}


def recognizer(options):
    model = zoo.lrcn_activity_recognizer(FEATURES, WORDS, STEPS, lstm_units=6).on_features()
    activity_recognition.compile_recognizer(model, options, 0.01, 10, "lrcn")
    return model, features(4, STEPS)


def role_recognizer(options):
    model = zoo.semantic_role_recognizer(FEATURES, [WORDS] * STEPS, lstm_units=6).on_features()
    model.compile(video_description.cosine_adam(0.01, 10, options.accumulate), jit_compile=False)
    return model, {"features": features(4, 3), "num_frames": np.array([3, 2, 1, 3])}


def features(*shape):
    return np.random.default_rng(0).normal(size=(*shape, FEATURES)).astype("float32")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("make", [captioner, describer, recognizer, role_recognizer])
def test_two_accumulated_batches_make_one_step_with_a_loss_in_float32(make, precision):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        keras.utils.set_random_seed(0)
        options = {"paper": False, "accumulate": 2, "label_smoothing": 0.0, "ema": None}
        model, inputs = make(types.SimpleNamespace(**options))
    finally:
        keras.config.set_dtype_policy(before)
    labels = np.random.default_rng(1).integers(WORDS, size=(4, STEPS))
    if isinstance(inputs, dict) and "token_ids" in model.input:
        inputs = {**inputs, "token_ids": labels}
    weights = [] if make is role_recognizer else [np.ones(labels.shape, "float32")]
    loss = model.compute_loss(inputs, labels, model(inputs), *weights)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    model.run_eagerly = True  # nothing to compile
    start = [np.array(v) for v in model.trainable_variables]
    for batch in range(2):
        assert np.isfinite(model.train_on_batch(inputs, labels, *weights))
        now = [np.array(v) for v in model.trainable_variables]
        changed = [np.abs(a - b).max() > 1e-4 for a, b in zip(start, now, strict=True)]
        assert sum(changed) >= len(changed) - 1 if batch else not any(changed)
        assert {value.dtype for value in now} == {np.dtype("float32")}
