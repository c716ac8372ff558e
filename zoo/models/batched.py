"""Runs a function of layers on arrays of any length: compiled, batch by batch, on any backend."""

import logging

import keras
import numpy as np


class Batched(keras.Model):
    """A function of tensors with the batch first, made callable on arrays of any length.

    `keras.Model.predict_on_batch` compiles on each backend in that backend's way; this lends it to
    what is no plain stack of layers, such as a beam search.

    Args:
        function: Function of one structure of tensors; gives a structure of tensors. The batch is
            the first axis everywhere.
        parts: Layers whose weights it uses.
        eager: Whether to run it step by step instead of compiling it.
    """

    def __init__(self, function, parts, eager=False):
        super().__init__()
        self.function = function
        self.parts = parts
        self.built = True  # the parts are built already
        # Keras turns XLA on by itself, which on a CPU is slower and in TensorFlow refuses the
        # `while_loop` of a search; JAX knows no other way to compile.
        jit = keras.config.backend() == "jax" and not eager
        self.compile(jit_compile=jit, run_eagerly=eager)
        logging.getLogger("tensorflow").addFilter(_is_no_retracing)

    def call(self, inputs):
        return self.function(inputs)

    def run(self, inputs, batch_size=32):
        """NumPy in, NumPy out, `batch_size` rows at a time."""
        rows = len(keras.tree.flatten(inputs)[0])
        outputs = []
        for start in range(0, max(rows, 1), batch_size):
            batch = slice(start, start + batch_size)
            outputs.append(self.once(keras.tree.map_structure(lambda x, b=batch: x[b], inputs)))
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)

    def once(self, inputs):
        """NumPy in, NumPy out, all rows at once."""
        # `predict` makes a tf.data pipeline for every call, which costs more than a small batch.
        return self.predict_on_batch(inputs)


def _is_no_retracing(record):
    """Passes all but one warning: of tracing again and again, where each model traces once.

    TensorFlow takes the functions that Keras makes for its models for one and the same.
    """
    return "triggered tf.function retracing" not in record.getMessage()


class CompiledFunctions:
    """The functions that a model has compiled so far.

    It is no dict, whose content Keras would take, and save, for layers of the model.
    """

    def __init__(self):
        self._by_key = {}

    def get(self, key, function, parts, eager=False):
        """Gives the `Batched` of a key; `function`, `parts` and `eager` make it the first time."""
        if key not in self._by_key:
            self._by_key[key] = Batched(function, parts, eager)
        return self._by_key[key]
