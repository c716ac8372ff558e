"""Small layers over the steps of a video: which count, their mean, and labels as steps."""

import itertools

import keras
import numpy as np
from keras import ops


def frames_there(features, num_frames):
    """bool `(batch, time)`: which frames `(batch, time, ...)` count; `num_frames` is `(batch,)`."""
    return ops.arange(ops.shape(features)[1])[None] < num_frames[:, None]


@keras.saving.register_keras_serializable(package="zoo")
class FramesThere(keras.layers.Layer):
    """Says which frames of a batch are frames of their video, and which only fill it up.

    Call arguments:
        inputs: `[features, num_frames]`: `(batch, time, ...)`, and int32 `(batch,)`, how many
            frames each video has.

    Returns:
        bool `(batch, time)`, a mask as recurrent layers take it.
    """

    def call(self, inputs):
        return frames_there(*inputs)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs[0].shape[:2], "bool")


@keras.saving.register_keras_serializable(package="zoo")
class MeanOverFrames(keras.layers.Layer):
    """Averages the features of a video's frames, whatever their order.

    Call arguments:
        inputs: `[features, num_frames]`: float `(batch, time, features)`, and int32 `(batch,)`,
            how many frames each video has.

    Returns:
        float `(batch, features)`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True  # `num_frames` says it already

    def call(self, inputs):
        features, num_frames = inputs
        there = frames_there(features, num_frames)[..., None]
        total = ops.sum(ops.where(there, features, 0), axis=1)
        return total / ops.cast(num_frames, features.dtype)[:, None]

    def compute_mask(self, inputs, previous_mask):
        return None  # time is gone

    def compute_output_spec(self, inputs):
        features, _ = inputs
        return keras.KerasTensor((features.shape[0], features.shape[2]), self.compute_dtype)


@keras.saving.register_keras_serializable(package="zoo")
class LabelsInOrder(keras.layers.Layer):
    """Lays out the labels of a video's roles as steps in time, one role a step.

    Args:
        num_labels: List of ints: how many labels each role has.

    Call arguments:
        labels: float `(batch, labels)`, those of all roles, one after another.

    Returns:
        `[sequence, num_steps]`: float `(batch, roles, labels)`, of each role its own labels and
        zeros elsewhere; and int32 `(batch,)`, the number of roles.
    """

    def __init__(self, num_labels, **kwargs):
        super().__init__(**kwargs)
        self.num_labels = list(num_labels)
        ends, label = list(itertools.accumulate(num_labels)), np.arange(sum(num_labels))
        starts = [end - size for end, size in zip(ends, num_labels, strict=True)]
        own = [(start <= label) & (label < end) for start, end in zip(starts, ends, strict=True)]
        self._own = np.array(own, "float32")  # (roles, labels)

    def call(self, labels):
        num_steps = ops.zeros_like(labels[:, 0], dtype="int32") + len(self.num_labels)
        return [labels[:, None] * ops.cast(self._own, labels.dtype), num_steps]

    def compute_output_spec(self, labels):
        batch, width = labels.shape
        return [
            keras.KerasTensor((batch, len(self.num_labels), width), self.compute_dtype),
            keras.KerasTensor((batch,), "int32"),
        ]

    def get_config(self):
        return {**super().get_config(), "num_labels": self.num_labels}
