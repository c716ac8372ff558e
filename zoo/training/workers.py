"""Several machines that train one model: which is the chief, what it says, who reads which rows."""

import contextlib
import json
import os
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from zoo.data.batches.captions import Share

EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def multiworker_strategy():
    """Gives the strategy of all machines that `TF_CONFIG` names; TensorFlow has to be untouched.

    Raises:
        ValueError: If `TF_CONFIG` is missing or not understood, or if tensors were made before.
    """
    _place()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:  # "Collective ops must be configured at program startup"
        raise ValueError(f"{error}: the strategy has to be made before any tensor.") from error


def _place():
    """Gives the number of this worker, from 0, and how many there are, out of `TF_CONFIG`."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        tasks = [
            (kind, n) for kind in ("chief", "worker") for n in range(len(cluster.get(kind, [])))
        ]
        return tasks.index((task["type"], int(task["index"]))), len(tasks)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            "--strategy multiworker asks for TF_CONFIG in the environment, the same on every "
            "machine but for the index, which counts from 0: "
            f"TF_CONFIG='{EXAMPLE}'. Received: {text or 'nothing'}"
        ) from None


def share(strategy):
    """Gives the `Share` of every batch that this process reads."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Share()  # whatever devices there are, TensorFlow shares a batch out among them
    worker, workers = _place()
    return Share(worker, workers, strategy.num_replicas_in_sync // workers)


def is_chief(strategy):
    """Whether this process is the one that writes and prints."""
    return share(strategy).worker == 0


@contextlib.contextmanager
def run_folder(strategy, path):
    """Gives the folder of a run; a worker that is not the chief gets a passing one, and is silent.

    At the end all workers wait for each other: one that leaves early looks as if it had died.

    Args:
        strategy: `tf.distribute.Strategy`.
        path: Folder of the run, which the chief gets.

    Yields:
        `pathlib.Path`.
    """
    path = pathlib.Path(path)
    if is_chief(strategy):
        yield path
    else:
        with (
            tempfile.TemporaryDirectory() as passing,
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            yield pathlib.Path(passing) / path.name
    chief_says(strategy, "done")


def chief_says(strategy, value):
    """Gives every worker what the chief has.

    Args:
        strategy: `tf.distribute.Strategy`.
        value: Anything that JSON can say.
    """
    if share(strategy).workers == 1:
        return value
    text = np.frombuffer(json.dumps(value).encode(), "uint8")
    (length,) = _from_chief(strategy, [len(text)])
    (text,) = _from_chief(strategy, [np.resize(text, int(length))])
    return json.loads(text.tobytes())


def follow_chief(strategy, variables):
    """Sets variables to the values that they have on the chief."""
    if share(strategy).workers > 1:
        for variable, value in zip(variables, _from_chief(strategy, variables), strict=True):
            variable.assign(value)


def _from_chief(strategy, values):
    """Gives the chief's values, as many and as large as this worker's own."""

    def tell(value):
        device = tf.distribute.get_replica_context()
        on_chief = device.replica_id_in_sync_group == 0
        said = tf.where(on_chief, value, tf.zeros_like(value))
        return device.all_reduce(tf.distribute.ReduceOp.SUM, said)

    # One value at a time, of one shape: all in one graph take 30 times their memory.
    hear = tf.function(
        lambda value: strategy.run(tell, args=(value,)), autograph=False, reduce_retracing=True
    )
    heard = []
    for value in map(np.asarray, values):
        whole = np.issubdtype(value.dtype, np.integer) or value.dtype == bool
        flat = value.ravel().astype("int64" if whole else "float64")  # what can be added up
        said = strategy.experimental_local_results(hear(tf.constant(flat)))[0]
        heard.append(said.numpy().astype(value.dtype).reshape(value.shape))
    return heard


def distribute(strategy, batches, epoch, first_batch):
    """Gives the rest of an epoch as `fit` takes it; a worker reads only its own rows.

    Left to itself, `fit` would have every worker read all batches and throw most rows away, or
    read other batches than one machine alone.

    Args:
        strategy: `tf.distribute.Strategy`.
        batches: `batches(epoch, first_batch, share=Share()) -> tf.data.Dataset`.
        epoch, first_batch: Its arguments.

    Returns:
        The dataset, and how many steps it is good for.
    """
    own = share(strategy)
    if own.workers == 1:
        rest = batches(epoch, first_batch)
        return rest, len(rest)
    rest = batches(epoch, first_batch, share=own)
    return strategy.distribute_datasets_from_function(lambda _: rest), len(rest) // own.devices


def mend_fit(model):
    """Lets Keras 3.15 `fit` a model on several workers, at which it fails in two places.

    Args:
        model: Compiled `keras.Model`, which is changed; on one machine it stays as it is.
    """
    strategy = model.distribute_strategy
    if share(strategy).workers == 1 or "train_step" in vars(model):
        return
    step, build = model.train_step, model._maybe_symbolic_build

    def train_step(data):
        # Keras averages over the first axis, which a scalar does not have.
        return {name: value[None] for name, value in step(data).items()}

    def build_from_own_rows(iterator=None, data_batch=None):
        # Keras takes the mean of the workers' batches, as if each were one tensor.
        for _, _, rows in iterator or ():
            data_batch = keras.tree.map_structure(
                lambda value: strategy.experimental_local_results(value)[0], next(rows)
            )
            break
        build(data_batch=data_batch)

    model.train_step, model._maybe_symbolic_build = train_step, build_from_own_rows
