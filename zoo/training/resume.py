"""A `model.fit` that may be killed at any moment and goes on where it was."""

import csv
import dataclasses
import json
import os
import pathlib
import time

import keras
import numpy as np

from zoo.files import aside, write_json
from zoo.training import workers
from zoo.visualization.curves import read_log


@dataclasses.dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: Epochs finished.
        batch: Batches of the next epoch that have been seen.
        logs: What `fit` reports, averaged over them.
        best_score: Highest score so far, or None.
        best_epoch: Epochs finished when it was reached.
        finished: Whether nothing is left to do.
    """

    epoch: int = 0
    batch: int = 0
    best_score: float | None = None
    best_epoch: int = 0
    finished: bool = False
    logs: dict = dataclasses.field(default_factory=dict)


class Checkpoint:
    """All that a training needs to go on where it was, in one file that is whole at any moment.

    It holds the weights, the optimizer's variables, the states of the seed generators (which
    Keras's own files leave out: dropout would draw other numbers), and the `Progress`.

    Of several workers the chief writes it, and says to the others what it read.

    Args:
        path: File, `.npz`.
        model: Compiled `keras.Model`.
    """

    def __init__(self, path, model):
        self.path = pathlib.Path(path)
        self._strategy = model.distribute_strategy
        with self._strategy.scope():
            model.optimizer.build(model.trainable_variables)
        self._variables = [*model.variables, *model.optimizer.variables]

    def save(self, progress):
        """Writes the file, at once or not at all."""
        if not workers.is_chief(self._strategy):
            return
        arrays = {f"variable_{i}": np.asarray(v) for i, v in enumerate(self._variables)}
        place = np.frombuffer(json.dumps(dataclasses.asdict(progress)).encode(), "uint8")
        with aside(self.path) as part, open(part, "wb") as file:
            np.savez(file, progress=place, **arrays)

    def restore(self):
        """Sets all variables as they were saved, and on all workers as on the chief.

        Returns:
            The `Progress`; a new one where there is no file.

        Raises:
            ValueError: If the file belongs to another model.
        """
        progress = self._read() if workers.is_chief(self._strategy) else Progress()
        workers.follow_chief(self._strategy, self._variables)
        return Progress(**workers.chief_says(self._strategy, dataclasses.asdict(progress)))

    def _read(self):
        if not self.path.exists():
            return Progress()
        with np.load(self.path, allow_pickle=False) as arrays:
            shapes = [arrays[f"variable_{i}"].shape for i in range(len(arrays.files) - 1)]
            expected = [tuple(v.shape) for v in self._variables]
            if shapes != expected:
                raise ValueError(
                    f"{self.path} was written by another model: {len(shapes)} arrays that do not "
                    f"fit the {len(expected)} variables of this one. Give the settings that this "
                    "run began with, or another run folder."
                )
            for i, variable in enumerate(self._variables):
                variable.assign(arrays[f"variable_{i}"])
            return Progress(**json.loads(arrays["progress"].tobytes()))


class _SaveNowAndThen(keras.callbacks.Callback):
    def __init__(self, checkpoint, progress, seconds):
        super().__init__()
        self.checkpoint, self.progress, self.seconds = checkpoint, progress, seconds
        self.first_batch, self.first_logs = progress.batch, progress.logs
        self.saved = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.progress.batch = self.first_batch + batch + 1
        share = (batch + 1) / self.progress.batch
        self.progress.logs = {
            name: share * value + (1 - share) * self.first_logs.get(name, value)
            for name, value in logs.items()
        }
        if time.monotonic() - self.saved >= self.seconds:
            self.checkpoint.save(self.progress)
            self.saved = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True  # the next epoch has a `fit` of its own


def fit_resumably(
    model,
    batches,
    epochs,
    folder,
    score=None,
    patience=None,
    callbacks=(),
    seconds=120,
    first_score=None,
):
    """`model.fit` that goes on where a killed run stopped, and ends with the same weights.

    Args:
        model: Compiled `keras.Model`.
        batches: `batches(epoch, first_batch) -> tf.data.Dataset`, the rest of an epoch. It has to
            depend on its arguments only. With several workers each of them asks it for `share`
            as well, the `zoo.data.batches.captions.Share` of every batch that it reads.
        epochs: Epochs altogether.
        folder: Where `checkpoint.npz`, `best.weights.h5` and `log.csv` are kept; of several
            workers only the chief uses it.
        score: `score() -> dict` after each epoch; its first value is to be as high as possible,
            and the weights that reached it are kept. Without it the last weights are. Of several
            workers the chief is asked, and all go by what it says.
        patience: Stop after so many epochs without a higher score; None never stops early.
        callbacks: More callbacks for `fit`.
        seconds: Time between checkpoints.
        first_score: Score of the weights that the model comes with, if known: they are kept
            unless an epoch does better.

    Returns:
        `Progress`. The model has the best weights.
    """
    folder, strategy = pathlib.Path(folder), model.distribute_strategy
    chief = workers.is_chief(strategy)
    if chief:
        folder.mkdir(parents=True, exist_ok=True)
    workers.mend_fit(model)
    best = folder / "best.weights.h5"
    checkpoint = Checkpoint(folder / "checkpoint.npz", model)
    progress = checkpoint.restore()
    if progress.finished or progress.epoch >= epochs:
        print(f"{folder.name} was done before.", flush=True)
    elif progress != Progress():
        done = f"{progress.epoch} of {epochs} epochs and {progress.batch} batches"
        print(f"{folder.name} goes on where it was: {done} are done.", flush=True)
    if first_score is not None and progress.best_score is None:
        progress.best_score = first_score
        if chief:
            save_weights(model, best)
    while progress.epoch < epochs and not progress.finished:
        rest, steps = workers.distribute(strategy, batches, progress.epoch, progress.batch)
        if steps:  # none if the run was killed between an epoch and its score
            model.fit(
                rest,
                initial_epoch=progress.epoch,
                epochs=epochs,
                steps_per_epoch=steps,
                shuffle=False,  # the batches come in their order
                callbacks=[_SaveNowAndThen(checkpoint, progress, seconds), *callbacks],
            )
            checkpoint.save(progress)
        logs = progress.logs
        progress.epoch, progress.batch, progress.logs = progress.epoch + 1, 0, {}
        if score is not None:
            scores = {name: float(value) for name, value in score().items()} if chief else {}
            scores = workers.chief_says(strategy, scores)
            logs |= scores
            print("   ".join(f"{name}: {value:.4f}" for name, value in scores.items()), flush=True)
            value = next(iter(scores.values()))
            if progress.best_score is None or value > progress.best_score:
                progress.best_score, progress.best_epoch = float(value), progress.epoch
                if chief:
                    save_weights(model, best)
            waited = progress.epoch - progress.best_epoch
            progress.finished = patience is not None and waited >= patience
        if chief:
            _append_log(folder / "log.csv", progress.epoch, logs)
        checkpoint.save(progress)
    if chief and best.exists():
        model.load_weights(best)
    workers.follow_chief(strategy, model.variables)
    return progress


def fit_stage(
    run, stage, model, batches, epochs, score=None, first_score=None, patience=None, seconds=120
):
    """Fits one stage of a run, resumably; says so, and keeps it for TensorBoard.

    Args:
        run: `pathlib.Path` of the run's folder.
        stage: Name of the stage, and of its folder in it.
        model, batches, epochs, score, first_score, patience, seconds: See `fit_resumably`.

    Returns:
        The best score, or None.
    """
    print(f"\n{stage}: {epochs} epochs", flush=True)
    boards = []
    if workers.is_chief(model.distribute_strategy):
        boards = [keras.callbacks.TensorBoard(run / "tensorboard" / stage, write_graph=False)]
    progress = fit_resumably(
        model, batches, epochs, run / stage, score, patience, boards, seconds, first_score
    )
    return progress.best_score


def save_weights(model, path):
    """Saves a model's weights aside and renames the file."""
    path = pathlib.Path(path)
    part = path.with_name(f"part-{path.name}")  # Keras asks for the ending of `path`
    model.save_weights(part)
    os.replace(part, path)


def _append_log(path, epoch, logs):
    """Keeps one row an epoch; a row that a killed run wrote already is written anew."""
    rows = [row for row in read_log(path) if int(row["epoch"]) < epoch] if path.exists() else []
    rows.append({"epoch": epoch, **logs})
    names = list(dict.fromkeys(name for row in rows for name in row))
    with aside(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def keep_settings(path, settings, free=(), strategy=None):
    """Notes a run's settings; a run that goes on has to have those it began with.

    So has every worker of one that runs on several.

    Args:
        path: JSON file in the run's folder.
        settings: Dict from name to value.
        free: Names that may differ.
        strategy: The run's `tf.distribute.Strategy`, if any.

    Raises:
        ValueError: If the run was begun with others, or the chief has others; the message names
            them.
    """
    settings = {name: value for name, value in settings.items() if name not in free}
    settings = json.loads(json.dumps(settings))
    chief = settings if strategy is None else workers.chief_says(strategy, settings)
    other = [name for name in settings if settings[name] != chief.get(name)]
    if other:
        raise ValueError(f"This worker and the chief differ in {', '.join(other)}.")
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [n for n in settings if n in before and settings[n] != before[n]]
        if changed:
            raise ValueError(
                f"{path.parent} was begun with other settings: "
                + ", ".join(f"{n}={before[n]!r}, now {settings[n]!r}" for n in changed)
                + ". Give those again, or another run folder."
            )
        return
    write_json(path, settings)
