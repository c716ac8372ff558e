"""A network on every frame of a clip, with time folded into the batch."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class EveryFrame(keras.layers.TimeDistributed):
    """Applies a layer to every frame: one copy of it in the graph, however long the clip is.

    `keras.layers.TimeDistributed` gives the same numbers, but lays a copy of a CNN into the graph
    for each frame: ten times as slow to build and to export. While training, batch normalisation
    differs: here it sees the frames of the whole batch at once.

    Args:
        layer: `keras.layers.Layer` or `keras.Model` for one frame.

    Call arguments:
        inputs: `(batch, time, ...)`.
        training: Passed on to the layer.
        mask: bool `(batch, time)`, False where a clip has ended. There the outputs are zeros; the
            mask goes on to the layers behind, such as an LSTM.

    Returns:
        `(batch, time, ...)`.
    """

    def call(self, inputs, training=None, mask=None):
        frames = ops.reshape(inputs, (-1, *inputs.shape[2:]))  # (batch * time, ...)
        options = {"training": training} if self.layer._call_has_training_arg else {}
        outputs = self.layer(frames, **options)
        outputs = ops.reshape(outputs, (-1, ops.shape(inputs)[1], *outputs.shape[1:]))
        if mask is None:
            return outputs
        there = ops.reshape(mask, (*ops.shape(mask), *[1] * (len(outputs.shape) - 2)))
        return ops.where(there, outputs, ops.zeros_like(outputs))
