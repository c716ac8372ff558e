"""Interrupted trainings end like uninterrupted ones, and several devices like one."""

import argparse
import csv
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import training
from zoo.data.batches.captions import feature_batches, sampling_batches
from zoo.decoding import Sampling
from zoo.training import workers
from zoo.training.cider import CiderTraining
from zoo.training.resume import Checkpoint, Progress, fit_resumably, keep_settings
from zoo.training.whole_batch import SGD, Adam, StepCrossEntropy, cosine_adam
from zoo.training.workers import EXAMPLE
from zoo.visualization.curves import draw_curves, read_log

FEATURES, WORDS, BATCHES, EPOCHS = 6, 9, 5, 3


def captioner(dropout=0.3, seed=1, **options):
    keras.utils.set_random_seed(seed)
    options = {"lstm_units": 8, "embedding_dim": 5, "projection_dim": 4, "variant": "1u", **options}
    return zoo.lrcn_captioner(FEATURES, WORDS, dropout=dropout, **options)


def compiled(optimizer=None, **options):
    model = captioner(**options).on_features()
    schedule = keras.optimizers.schedules.CosineDecay(0.01, BATCHES * EPOCHS)
    model.compile(
        optimizer or Adam(schedule, global_clipnorm=5.0), StepCrossEntropy(), jit_compile=False
    )
    return model


def made_up_batches(batch_size=4):
    rng = np.random.default_rng(0)
    token_ids = rng.integers(2, WORDS, (BATCHES * 4, 7), "int32")
    token_ids[np.arange(7) >= rng.integers(1, 8, (len(token_ids), 1))] = 0
    features = rng.normal(size=(10, 2, FEATURES)).astype("float32")
    image_index = rng.integers(10, size=len(token_ids))
    return functools.partial(feature_batches, features, image_index, token_ids, batch_size, 7)


def values(model):
    return [np.array(v) for v in model.variables]


def assert_same(ours, theirs, tolerance=1e-6):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


class Interrupt(keras.callbacks.Callback):
    """Raises behind the n-th batch of all that a training sees."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.interrupt()

    def interrupt(self):
        raise KeyboardInterrupt


def fit(model, folder, epochs=EPOCHS, **options):
    options = {"seconds": 0, **options}
    return fit_resumably(model, made_up_batches(), epochs, folder, **options)


@pytest.fixture(scope="module")
def traced():
    """A compiled model and all that it remembers at first; compiling one takes seconds."""
    model = compiled()
    model.optimizer.build(model.trainable_variables)
    return model, [np.array(v) for v in [*model.variables, *model.optimizer.variables]]


@pytest.fixture
def model(traced):
    """A model as it is at first."""
    for variable, value in zip(everything(traced[0]), traced[1], strict=True):
        variable.assign(value)
    return traced[0]


def forget(model):
    """Overwrites weights, optimizer and seeds: whatever is right afterwards was restored."""
    for variable in everything(model):
        variable.assign(np.ones(variable.shape))


def everything(model):
    return [*model.variables, *model.optimizer.variables]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Variables and log of a training that nothing disturbs."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    model = compiled()
    fit(model, folder, seconds=120)
    return values(model), read_log(folder / "log.csv")


def test_checkpoint_holds_weights_optimizer_and_dropout_seeds(model, tmp_path):
    model.fit(made_up_batches()(0), verbose=0, shuffle=False)
    path, progress = tmp_path / "c.npz", Progress(2, 3, 0.5, 1, logs={"loss": 2.0})
    Checkpoint(path, model).save(progress)
    saved = [np.array(v) for v in everything(model)]
    other = compiled(seed=2)
    assert Checkpoint(path, other).restore() == progress
    assert_same([np.array(v) for v in everything(other)], saved, 0)
    seeds = [v for v in other.variables if "seed" in v.path]
    assert len(seeds) == 3  # of the dropout behind image, words and LSTM
    assert int(other.optimizer.iterations) == BATCHES


def test_checkpoint_of_another_model_is_refused(model, tmp_path):
    Checkpoint(tmp_path / "c.npz", model).save(Progress())
    with pytest.raises(ValueError, match="another model.*Give the settings that this run began"):
        Checkpoint(tmp_path / "c.npz", compiled(lstm_units=9)).restore()


def test_checkpoint_that_an_earlier_version_wrote_is_read(model, tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.npz", model)
    checkpoint.save(Progress())
    with np.load(tmp_path / "c.npz") as arrays:
        arrays = dict(arrays)
    fields = {"epoch": 1, "batch": 2, "best_score": None, "best_epoch": 0, "finished": False}
    arrays["progress"] = np.frombuffer(json.dumps(fields).encode(), "uint8")
    np.savez(tmp_path / "c.npz", **arrays)
    assert checkpoint.restore() == Progress(epoch=1, batch=2)


@pytest.mark.parametrize("batches", [1, 7, BATCHES, 2 * BATCHES])
def test_interrupted_training_ends_with_the_same_weights(batches, model, tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        fit(model, tmp_path, callbacks=[Interrupt(batches)])
    forget(model)
    fit(model, tmp_path)
    expected, log = uninterrupted
    assert_same(values(model), expected)
    rows = read_log(tmp_path / "log.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row, expected_row in zip(rows, log, strict=True):
        assert float(row["loss"]) == pytest.approx(float(expected_row["loss"]), abs=1e-5)


def test_training_goes_on_in_a_new_model(model, tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        fit(model, tmp_path, callbacks=[Interrupt(8)])
    new = compiled(seed=2)
    fit(new, tmp_path)
    assert_same(values(new), uninterrupted[0])


def test_training_that_is_interrupted_at_every_batch_ends_with_the_same_weights(
    model, tmp_path, uninterrupted
):
    for _ in range(BATCHES * EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            # The checkpoint is written first: it is the first callback.
            fit(model, tmp_path, callbacks=[Interrupt(1)])
        forget(model)
    fit(model, tmp_path)
    assert_same(values(model), uninterrupted[0])


def test_training_that_lost_its_last_batches_repeats_them(model, tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        fit(model, tmp_path, callbacks=[Interrupt(6)])
    shutil.copy(tmp_path / "checkpoint.npz", tmp_path / "kept.npz")
    with pytest.raises(KeyboardInterrupt):
        fit(model, tmp_path, callbacks=[Interrupt(2)])
    os.replace(tmp_path / "kept.npz", tmp_path / "checkpoint.npz")
    (tmp_path / "checkpoint.part").write_bytes(b"half a check")  # killed while it was written
    forget(model)
    fit(model, tmp_path)
    assert_same(values(model), uninterrupted[0])


def test_training_killed_between_an_epoch_and_its_score_scores_it(model, tmp_path, uninterrupted):
    scores = iter([0.1, KeyboardInterrupt, 0.3, 0.2])
    asked = []

    def score():
        asked.append(next(scores))
        if asked[-1] is KeyboardInterrupt:
            raise KeyboardInterrupt
        return {"quality": asked[-1]}

    with pytest.raises(KeyboardInterrupt):
        fit(model, tmp_path, score=score)
    forget(model)
    progress = fit(model, tmp_path, score=score)
    assert asked == [0.1, KeyboardInterrupt, 0.3, 0.2]
    assert (progress.best_score, progress.best_epoch) == (0.3, 2)
    rows = read_log(tmp_path / "log.csv")
    assert [row["quality"] for row in rows] == ["0.1", "0.3", "0.2"]
    # The loss of the epoch that was trained before the kill is not lost.
    np.testing.assert_allclose(
        [float(row["loss"]) for row in rows],
        [float(row["loss"]) for row in uninterrupted[1]],
        atol=1e-5,
    )


def test_best_weights_are_kept_and_patience_ends_a_training(model, tmp_path):
    scores, seen = iter([0.1, 0.5, 0.4, 0.5, 0.9]), []

    def weights():
        return [np.array(v) for v in model.trainable_variables]

    def score():
        seen.append(weights())
        return {"quality": next(scores)}

    progress = fit(model, tmp_path, epochs=9, score=score, patience=2)
    assert progress.finished and progress.epoch == 4  # an equal score is no gain
    assert (progress.best_score, progress.best_epoch) == (0.5, 2)
    assert_same(weights(), seen[1], 0)
    # Begun again, it knows that it has ended.
    forget(model)
    assert fit(model, tmp_path, epochs=9, score=score, patience=2) == progress
    assert len(seen) == 4
    assert_same(weights(), seen[1], 0)


def test_a_finished_training_begins_no_epoch(model, tmp_path):
    fit(model, tmp_path, epochs=1)

    def no_batches(epoch, first_batch):
        raise AssertionError

    fit_resumably(model, no_batches, 1, tmp_path)


def accumulating(count, seed=1, **options):
    rate = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    options = {"momentum": 0.9, "global_clipnorm": 0.05, **options}
    return compiled(SGD(rate, gradient_accumulation_steps=count, **options), dropout=0.0, seed=seed)


def full_batches(batch_size, count=6):
    """Batches in which all sentences are equally long, in the same order whatever their size."""
    rng = np.random.default_rng(5)
    words = rng.integers(2, WORDS, (4 * count, 6), "int32")
    inputs = {"features": rng.normal(size=(4 * count, FEATURES)).astype("float32")}
    inputs["token_ids"] = np.pad(words, [(0, 0), (1, 0)])[:, :-1]
    batches = tf.data.Dataset.from_tensor_slices((inputs, words, np.ones(words.shape, "float32")))
    return batches.batch(batch_size)


def test_steps_on_accumulated_batches_are_those_on_large_ones():
    small, large = accumulating(3), accumulating(None)
    small.fit(full_batches(4), epochs=2, verbose=0, shuffle=False)
    large.fit(full_batches(12), epochs=2, verbose=0, shuffle=False)
    assert_same(values(small), values(large))
    # The schedule has counted steps, not batches, and so has what users see.
    assert int(small.optimizer.iterations) == int(large.optimizer.iterations) == 4
    assert float(small.optimizer.learning_rate) == 0.5**5


def test_accumulated_batches_weigh_the_same_whatever_words_they_have():
    batches = list(made_up_batches()(0))[:3]
    words = [int(tf.reduce_sum(weights)) for _, _, weights in batches]
    assert len(set(words)) > 1

    def step(count, batches):
        model = accumulating(count, momentum=0.0, global_clipnorm=None)
        for batch in batches:
            model.train_on_batch(*batch)
        return values(model)

    alone = zip(*(step(None, [batch]) for batch in batches), strict=True)
    assert_same(step(3, batches), [np.mean(weights, axis=0) for weights in alone])


def test_accumulating_training_goes_on_between_two_steps(tmp_path):
    batches, expected = made_up_batches(), accumulating(3)
    fit_resumably(expected, batches, 2, tmp_path / "whole", seconds=1000)
    with pytest.raises(KeyboardInterrupt):  # one batch of an accumulated three has been seen
        fit_resumably(
            accumulating(3), batches, 2, tmp_path / "killed", None, None, [Interrupt(7)], 0
        )
    other = accumulating(3, seed=2)
    fit_resumably(other, batches, 2, tmp_path / "killed")
    assert_same(values(other), values(expected))


def test_the_progress_display_counts_all_epochs(model, tmp_path, capsys):
    fit(model, tmp_path, epochs=2)
    assert "Epoch 1/2" in capsys.readouterr().out


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="none, mirrored, multiworker"):
        training.distribution("all")


@pytest.mark.parametrize("given", [
    None, "", "{}", "[1]", '{"cluster": {"worker": ["a:1"]}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
])  # fmt: skip
def test_workers_without_a_cluster_are_told_what_it_looks_like(given, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if given is not None:
        monkeypatch.setenv("TF_CONFIG", given)
    with pytest.raises(ValueError, match='TF_CONFIG=.{"cluster": {"worker": .*Received') as refused:
        training.distribution("multiworker")
    assert str(refused.value).endswith(given or "nothing")


def test_several_workers_are_refused_once_there_are_tensors(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", EXAMPLE)
    tf.constant(0)
    with pytest.raises(ValueError, match="made before any tensor"):
        training.distribution("multiworker")


@pytest.mark.parametrize("words", [["--accumulate", "0"], ["--accumulate", "x"]])
def test_fewer_than_one_batch_a_step_is_refused(words, capsys):
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    assert parser.parse_args(["--accumulate", "1"]).accumulate is None
    assert parser.parse_args(["--accumulate", "4"]).accumulate == 4
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert "--accumulate" in capsys.readouterr().err


def test_step_cross_entropy_counts_every_word_once():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 4, WORDS)).astype("float32")
    targets = rng.integers(WORDS, size=(2, 4))
    weights = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], "float32")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    loss = StepCrossEntropy()
    assert float(loss(targets, logits, weights)) == pytest.approx(-picked[weights > 0].mean(), 1e-5)
    assert float(loss(targets, logits)) == pytest.approx(-picked.mean(), 1e-5)
    assert float(loss(targets, logits, 0 * weights)) == 0


def test_label_smoothing_spreads_a_share_over_all_classes():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 3, WORDS)).astype("float32")
    targets = rng.integers(WORDS, size=(2, 3))
    wanted = np.full((2, 3, WORDS), 0.1 / WORDS)
    np.put_along_axis(wanted, targets[..., None], 0.9 + 0.1 / WORDS, axis=-1)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(wanted * log_probs).sum(-1).mean()
    assert float(StepCrossEntropy(0.1)(targets, logits)) == pytest.approx(expected, 1e-5)
    with pytest.raises(ValueError, match="at least 0 and below 1. Received: 1"):
        StepCrossEntropy(1)


def test_weights_become_their_moving_average_after_an_epoch():
    def trained(ema_momentum):
        model = compiled(cosine_adam(0.01, 100, ema_momentum=ema_momentum), dropout=0.0)
        weights = [np.array(model.trainable_variables[0])]
        for batch in made_up_batches()(0):
            model.train_on_batch(*batch)
            weights.append(np.array(model.trainable_variables[0]))
        model.optimizer.finalize_variable_values(model.trainable_variables)
        return weights, np.array(model.trainable_variables[0])

    weights, last = trained(None)
    np.testing.assert_array_equal(last, weights[-1])
    weights, averaged = trained(0.5)
    expected = weights[1]  # Keras begins the average with the first step
    for step in weights[2:]:
        expected = 0.5 * expected + 0.5 * step
    np.testing.assert_allclose(averaged, expected, atol=1e-6)


def test_layers_before_a_name_are_frozen_and_a_typo_is_named():
    layers = [keras.layers.Dense(2, name=name) for name in ("low", "middle", "high")]
    network = keras.Sequential([keras.Input((3,)), *layers])
    training.freeze_layers_before(network, "middle")
    assert [layer.trainable for layer in layers] == [False, True, True]
    with pytest.raises(ValueError, match="Received: 'hihg'"):
        training.freeze_layers_before(network, "hihg")


TWO_DEVICES = """
import sys
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
import test_training as t

t.compare_devices()
"""


def compare_devices():
    """Trains on one and on two devices; runs in a process that has two."""
    strategy = training.distribution("mirrored")
    assert strategy.num_replicas_in_sync == 2
    scopes = (training.distribution("none").scope, strategy.scope)
    results, losses = [], []
    for scope in scopes:
        with scope():
            # It clips nearly every step, and the devices' halves have different norms.
            model = compiled(SGD(0.5, momentum=0.9, global_clipnorm=0.05), dropout=0.0)
        history = model.fit(made_up_batches()(0), epochs=2, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
        results.append(values(model))
    assert_same(*results, 1e-5)
    assert_same(*losses, 1e-5)
    print("words equal", flush=True)
    results = []
    for scope in scopes:
        with scope():
            model = accumulating(3)
        model.fit(made_up_batches()(0), epochs=2, verbose=0, shuffle=False)
        results.append([np.array(v) for v in everything(model)])
    assert_same(*results, 1e-5)  # a third of a step is left: in it the devices agree as well
    assert any(v.path.endswith("accumulator") and np.any(v) for v in everything(model))
    print("accumulated equal", flush=True)
    results = []
    for scope in scopes:
        with scope():
            model, batches = cider_training(Adam(0.01, global_clipnorm=0.05))
        fit_resumably(model, batches, 2, pathlib.Path(sys.argv[2]) / str(len(results)), seconds=0)
        results.append(values(model))
    assert_same(*results, 1e-5)
    print("cider equal", flush=True)


def test_two_devices_train_as_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, os.path.dirname(__file__), tmp_path],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("equal") == 3


def likes_word_5(image_index, token_ids):
    """Reward: share of fives, and more of it for later images."""
    return ((token_ids == 5).mean(1) * (1 + image_index)).astype("float32")


def cider_training(optimizer, max_words=4, **options):
    decoder = captioner(**options).decoder
    model = CiderTraining(decoder, Sampling(num_samples=3, n_best=3), likes_word_5)
    model.compile(optimizer, jit_compile=False)
    features = np.random.default_rng(1).normal(size=(8, 2, FEATURES)).astype("float32")
    return model, functools.partial(sampling_batches, features, 3, max_words, 4, 2)


def test_reward_rises_in_training_for_it(tmp_path):
    model, batches = cider_training(Adam(0.05))
    fit_resumably(model, batches, 15, tmp_path)
    rewards = [float(row["reward"]) for row in read_log(tmp_path / "log.csv")]
    assert rewards[-1] > 2 * rewards[0]


def test_gradient_for_reward_is_reinforce_with_a_leave_one_out_baseline():
    model, batches = cider_training(keras.optimizers.SGD(1.0), dropout=0.0)
    decoder = model.decoder
    data = next(iter(batches(0)))
    before = [tf.constant(v) for v in decoder.trainable_variables]

    drawn = decoder.search(data["features"], model.sampler, 4, None, data["uniforms"])
    drawn = drawn.token_ids.numpy()  # (4, 3, 4)
    assert (drawn[..., -1] != 0).any() and (drawn[..., -1] == 0).any()  # some are cut, some end
    with tf.GradientTape() as tape:
        total, words = 0.0, 0
        for row, samples in enumerate(drawn):
            index = int(data["image_index"][row])
            rewards = [likes_word_5(np.array([index]), ids[None])[0] for ids in samples]
            for n, ids in enumerate(samples):
                others = np.mean([reward for m, reward in enumerate(rewards) if m != n])
                state = decoder.start(data["features"][row : row + 1])
                last = 0
                for word in ids:  # word by word: what was drawn, its end included, and no more
                    logits, state = decoder.step(tf.constant([last]), state)
                    log_prob = tf.nn.log_softmax(logits)[0, word]
                    total -= (rewards[n] - others) * log_prob
                    words += word != 0
                    last = int(word)
                    if last == 0:
                        break
        loss = total / (words + 1)
    expected = tape.gradient(loss, [v.value for v in decoder.trainable_variables])
    model.train_step(data)
    for name, was, variable, gradient in zip(
        [v.path for v in decoder.trainable_variables],
        before,
        decoder.trainable_variables,
        expected,
        strict=True,
    ):
        step = was - variable.value
        np.testing.assert_allclose(step, tf.convert_to_tensor(gradient), atol=2e-6, err_msg=name)


def test_curves_become_a_picture(tmp_path):
    for stage, names in {"stage1": ["loss", "val_cider"], "stage3": ["reward"]}.items():
        with open(tmp_path / f"{stage}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *names])
            writer.writeheader()
            for epoch in (1, 2):
                writer.writerow({"epoch": epoch, **dict.fromkeys(names, epoch / 2)})
    logs = {stage: tmp_path / f"{stage}.csv" for stage in ("stage1", "stage3")}
    draw_curves(logs, tmp_path / "curves.png")
    picture = tf.io.decode_png((tmp_path / "curves.png").read_bytes())
    assert picture.shape[1] > 2 * picture.shape[0]  # three of them, side by side
    assert np.ptp(picture) > 100
    draw_curves({}, tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").exists()
    assert not list(tmp_path.glob("*.part*"))


def test_a_stage_that_only_gets_worse_leaves_the_weights_it_came_with(model, tmp_path):
    before = [np.array(weight) for weight in model.weights]
    fit(model, tmp_path, score=lambda: {"score": 0.1}, first_score=0.5)
    assert_same(before, [np.array(weight) for weight in model.weights], 0)


def test_a_worker_with_other_settings_than_the_chief_is_refused(tmp_path, monkeypatch):
    settings, strategy = {"seed": 1, "run": "a", "epochs": 3}, tf.distribute.get_strategy()
    keep_settings(tmp_path / "settings.json", settings, ["run"], strategy)
    monkeypatch.setattr(workers, "chief_says", lambda _, own: {**own, "seed": 2})
    with pytest.raises(ValueError, match="This worker and the chief differ in seed."):
        keep_settings(tmp_path / "others.json", settings, ["run"], strategy)
    assert not (tmp_path / "others.json").exists()


def test_a_lost_data_service_ends_a_recipe_in_one_line():
    def lose():
        yield np.zeros(1)
        raise ConnectionError("a worker was lost: give the command again")

    def command(options):
        spec = tf.TensorSpec((1,), tf.float64)
        list(tf.data.Dataset.from_generator(lose, output_signature=spec))

    with pytest.raises(SystemExit) as stopped:
        training.run_command(argparse.Namespace(command=command))
    assert stopped.value.code == "ConnectionError: a worker was lost: give the command again"


def test_an_unknown_error_stays_an_error():
    def command(options):
        raise tf.errors.UnknownError(None, None, "out of luck")

    with pytest.raises(tf.errors.UnknownError):
        training.run_command(argparse.Namespace(command=command))


def test_a_schedule_of_no_batches_can_be_built():
    optimizer = cosine_adam(0.01, 0)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
