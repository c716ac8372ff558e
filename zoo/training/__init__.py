"""What every recipe needs around `model.fit`: strategy, XLA, resuming, curves."""

import argparse
import sys

import keras
import tensorflow as tf

from zoo.training.workers import multiworker_strategy

STRATEGIES = ("none", "mirrored", "multiworker")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def run_command(options):
    """Runs what a recipe's command line asks for; what a user can mend ends it in one line.

    Args:
        options: `argparse.Namespace` whose `command` is a function of it.
    """
    try:
        options.command(options)
    except tf.errors.UnavailableError as error:
        sys.exit(
            f"{error.message}\n\nAnother worker has ended. Give every worker its command again: "
            "the training goes on from the chief's last checkpoint."
        )
    except tf.errors.UnknownError as error:
        # What a pipeline raises in Python arrives as text, behind its traceback.
        _, kind, reason = error.message.rpartition("ConnectionError: ")
        if not kind:
            raise
        sys.exit(kind + reason.splitlines()[0])
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


def distribution(name):
    """Gives the strategy in whose scope a model is built.

    Args:
        name: `"none"`; `"mirrored"` for all GPUs of this machine, or, where there is none, for all
            its (logical) CPU devices; `"multiworker"` for several machines, which `TF_CONFIG`
            names. That one has to be asked for before any tensor is made.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ValueError: If the name is another, or `TF_CONFIG` is missing or not understood.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multiworker":
        return multiworker_strategy()
    raise ValueError(f"A strategy is one of {', '.join(STRATEGIES)}. Received: {name!r}")


def jit_compile():
    """Whether to compile with XLA: Keras's choice on a GPU, off on a CPU, where it is slower."""
    return "auto" if tf.config.list_physical_devices("GPU") else False


def load_encoder(name, encoders):
    """Builds an encoder by name, or loads one that Keras saved.

    Args:
        name: A key of `encoders`, or the path of a file.keras.
        encoders: Dict from a name to the function that builds the encoder.

    Raises:
        ValueError: If it is neither.
    """
    if name in encoders:
        return encoders[name]()
    if not name.endswith(".keras"):
        raise ValueError(
            f"--encoder is one of {', '.join(encoders)}, or a file.keras with a network from "
            f"images to one vector (see `zoo.models.backbones.image_encoder`). Received: {name}"
        )
    return keras.saving.load_model(name, compile=False)


def add_sources(parser, parse_source, readers):
    """Adds `--data NAME=PATH`, which may be repeated and names data sets of photographs.

    Args:
        parser: `argparse.ArgumentParser`.
        parse_source: `zoo.data.datasets.parse_source`.
        readers: Iterable of the names of data sets.
    """

    def read_source(text):
        try:
            return parse_source(text)
        except ValueError as error:
            # argparse prints the reason of this exception only.
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument(
        "--data",
        required=True,
        action="append",
        type=read_source,
        metavar="NAME=PATH",
        help="a data set and its folder or file; repeat it for several. NAME is one of "
        f"{', '.join(readers)}",
    )


def frame_size(text):
    """Reads a size on the command line: `"240x320"` gives `(240, 320)`, height and width."""
    try:
        height, width = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, got {text}") from None
    return height, width


def add_arguments(parser):
    """Adds the arguments of `train` that say on what it runs, the same in every recipe."""
    parser.add_argument(
        "--strategy",
        default="none",
        choices=STRATEGIES,
        help="mirrored: all GPUs of this machine; multiworker: all machines of TF_CONFIG",
    )
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument(
        "--accumulate",
        type=_batches_a_step,
        metavar="N",
        help="take a step after so many batches, on their mean gradient",
    )


def _batches_a_step(text):
    """Reads `--accumulate`; Keras calls it None where every batch is a step."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more batches, got {text}")
    return count if count > 1 else None


def check_batch_size(batch_size, devices, unit=1):
    """Refuses batches that cannot be shared out evenly, which Keras asks for.

    Args:
        batch_size: Examples a batch.
        devices: How many share it.
        unit: Examples that stay together.

    Raises:
        ValueError: If they cannot.
    """
    if devices > 1 and batch_size % (unit * devices):
        raise ValueError(
            f"{devices} devices share every batch: --batch-size has to be a multiple of "
            f"{unit * devices}. Received: {batch_size}"
        )


def freeze_batch_statistics(network):
    """Keeps the batch statistics of a network, and of those inside it, as they are."""
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def freeze_layers_before(network, name):
    """Freezes the layers of a network that come before a layer.

    No gradient is computed for the frozen layers, which saves time and memory.

    Args:
        network: Functional `keras.Model` whose `trainable` is True.
        name: Name of the first layer that stays trainable.

    Raises:
        ValueError: If the network has no layer of this name.
    """
    names = [layer.name for layer in network.layers]
    if name not in names:
        raise ValueError(
            f"Expected the name of a layer of {network.name}. Received: {name!r}. "
            f"The layers with weights are {[x.name for x in network.layers if x.weights]}."
        )
    for layer in network.layers[: names.index(name)]:
        layer.trainable = False
