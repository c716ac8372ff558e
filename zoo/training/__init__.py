"""What every recipe needs around `model.fit`: strategy, XLA, resuming, curves."""

import tensorflow as tf


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
