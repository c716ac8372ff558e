"""What every recipe needs around `model.fit`: strategy, XLA, resuming, curves."""

import tensorflow as tf


def distribution(name):
    """Gives the strategy in whose scope a model is built.

    Args:
        name: `"none"`, or `"mirrored"` for all devices of this machine.

    Returns:
        `tf.distribute.Strategy`.
    """
    strategies = {"none": tf.distribute.get_strategy, "mirrored": tf.distribute.MirroredStrategy}
    if name not in strategies:
        raise ValueError(f"A strategy is one of {list(strategies)}. Received: {name!r}")
    return strategies[name]()


def jit_compile():
    """Whether to compile with XLA: Keras's choice on a GPU, off on a CPU, where it is slower."""
    return "auto" if tf.config.list_physical_devices("GPU") else False
