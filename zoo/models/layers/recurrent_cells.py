"""Recurrent units whose input has been multiplied already, for all words at once."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class LSTMGates(keras.layers.Layer):
    """The recurrent half of an LSTM: a cell whose input has been multiplied already.

    The input's share of the gates does not depend on the state, so it is computed for all words
    of a sentence in one product, and the image's share once an image. What is left for every
    step is this cell.

    Args:
        units: Width of the LSTM.
        initializer: Initializer of the recurrent kernel.

    Call arguments:
        gates: float `(batch, 4 * units)`, shares of input, forget, cell and output gate.
        states: `[h, c]`, each `(batch, units)`.

    Source:
        Zaremba and Sutskever's LSTM without peepholes. Donahue et al., 2015, section 2.
    """

    def __init__(self, units, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.initializer = keras.initializers.get(initializer)
        self.gate_units = 4 * units  # width of the input that it asks for
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape):
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units, 4 * self.units),
            initializer=self.initializer,
        )

    def call(self, gates, states, training=False):
        h, c = states
        i, f, g, o = ops.split(gates + ops.matmul(h, self.recurrent_kernel), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in self.state_size]

    def get_config(self):
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "units": self.units, "initializer": initializer}


@keras.saving.register_keras_serializable(package="zoo")
class RNNGate(LSTMGates):
    """The recurrent half of the plain RNN unit of the paper's ablation.

    `h = tanh(input + W h)`, and the output is `tanh(V h + b)`, as in the authors' code.

    Args:
        units: Width of the unit.
        initializer: Initializer of both kernels.

    Call arguments:
        gates: float `(batch, units)`, the input's share.
        states: `[h]`, `(batch, units)`.

    Source:
        Donahue et al., 2015, table 5; `RNNLayer` of the authors' Caffe.
    """

    def __init__(self, units, initializer="glorot_uniform", **kwargs):
        super().__init__(units, initializer, **kwargs)
        self.gate_units = units
        self.state_size = [units]

    def build(self, input_shape):
        shape = (self.units, self.units)
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=shape, initializer=self.initializer
        )
        self.output_kernel = self.add_weight(
            name="output_kernel", shape=shape, initializer=self.initializer
        )
        self.output_bias = self.add_weight(
            name="output_bias", shape=(self.units,), initializer="zeros"
        )

    def call(self, gates, states, training=False):
        h = ops.tanh(gates + ops.matmul(states[0], self.recurrent_kernel))
        return ops.tanh(ops.matmul(h, self.output_kernel) + self.output_bias), [h]


CELLS = {"lstm": LSTMGates, "rnn": RNNGate}
