"""What each worker of `test_multiworker` runs, in a process of its own; and one process alone."""

import argparse
import json
import os
import pathlib
import signal

import keras
import numpy as np
from test_training import SGD, Adam, Interrupt, cider_training, compiled, made_up_batches, values

from zoo import training
from zoo.training.resume import fit_resumably
from zoo.training.workers import is_chief, run_folder


class Killed(Interrupt):
    """Kills this process, as the kernel would, behind the n-th batch."""

    def interrupt(self):
        os.kill(os.getpid(), signal.SIGKILL)


def train_on_words(strategy, folder, callbacks=(), epochs=3, accumulate=None):
    """Trains a captioner; the score is highest after the second epoch."""
    with strategy.scope():
        rate = keras.optimizers.schedules.ExponentialDecay(0.5, 4, 0.9)
        # It clips nearly every step, and the halves of a batch have different norms.
        options = {"global_clipnorm": 0.05, "gradient_accumulation_steps": accumulate}
        model = compiled(SGD(rate, momentum=0.9, **options), dropout=0.0)

    def score():
        assert is_chief(strategy)
        batches = int(np.array(model.optimizer.iterations)) * (accumulate or 1)
        return {"quality": -abs(batches - 10)}

    batches = made_up_batches()
    return model, fit_resumably(
        model, batches, epochs, folder, score, callbacks=callbacks, seconds=0
    )


def train_on_accumulated_words(strategy, folder):
    return train_on_words(strategy, folder, accumulate=3)


def train_on_sentences(strategy, folder):
    with strategy.scope():
        model, batches = cider_training(Adam(0.01, global_clipnorm=0.05))
    return model, fit_resumably(model, batches, 2, folder, seconds=0)


TRAININGS = {
    "words": train_on_words,
    "accumulated": train_on_accumulated_words,
    "sentences": train_on_sentences,
}


def work(folder, kill=None):
    """What one of several workers does; `kill` is the batch behind which it dies."""
    strategy = training.distribution("multiworker")
    assert strategy.num_replicas_in_sync == 2
    with run_folder(strategy, folder) as run:
        assert is_chief(strategy) == (run == pathlib.Path(folder))
        if kill is not None:
            callbacks = [Killed(int(kill))] if int(kill) else []
            training.run_command(
                argparse.Namespace(command=lambda _: train_on_words(strategy, run, callbacks))
            )
            return
        print("printed by", os.environ["TF_CONFIG"])
        ends = {}
        for name, train in TRAININGS.items():
            model, progress = train(strategy, run / name)
            ends |= {f"{name} {n}": value for n, value in enumerate(values(model))}
            ends[f"{name} best"] = [progress.best_score or 0, progress.best_epoch]
        number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        np.savez(f"{folder}-{number}.npz", **ends)
        if not is_chief(strategy):
            assert not list(run.rglob("*.*"))
