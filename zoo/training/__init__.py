"""What every recipe needs around `model.fit`: strategy, XLA, resuming, curves."""

import argparse
import sys

import keras
import tensorflow as tf


def run_command(options):
    """Runs what a recipe's command line asks for; what a user can mend ends it in one line.

    Args:
        options: `argparse.Namespace` whose `command` is a function of it.
    """
    try:
        options.command(options)
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


def distribution(name):
    """Gives the strategy in whose scope a model is built.

    Args:
        name: `"none"`, or `"mirrored"` for all GPUs of this machine; where there is none, for all
            its (logical) CPU devices.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ValueError: If the name is another.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    raise ValueError(f"A strategy is one of none, mirrored. Received: {name!r}")


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


def frame_size(text):
    """Reads a size on the command line: `"240x320"` gives `(240, 320)`, height and width."""
    try:
        height, width = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, got {text}") from None
    return height, width


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
