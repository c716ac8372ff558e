"""Loss and gradient clipping over the whole batch, however many devices share it."""

import keras
import tensorflow as tf
from keras import ops


def sum_over_devices(tensors):
    """Adds up what each device of a strategy has; on one device, the same tensors.

    Args:
        tensors: Tensor, or a list of tensors.

    Returns:
        Tensor or list of tensors, the same on every device.
    """
    device = tf.distribute.get_replica_context()  # None where Keras only looks at shapes
    if device is None or device.num_replicas_in_sync == 1:
        return tensors
    return device.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


class StepCrossEntropy(keras.losses.Loss):
    """Cross-entropy at every step, averaged over the words or frames that are there.

    Keras's `reduction="mean_with_sample_weight"` averages on each device by itself, then over the
    devices: a word then weighs more on a device that got the shorter sentences. Here all words of
    the batch weigh the same, or all frames.

    Call arguments:
        y_true: int `(..., steps)`.
        y_pred: Logits, float `(..., steps, classes)`.
        sample_weight: float `(..., steps)`, 0 for padding.
    """

    def __init__(self, name="step_cross_entropy"):
        super().__init__(name=name, reduction="sum")

    def call(self, y_true, y_pred):
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None:
            sample_weight = ops.ones(ops.shape(y_true))
        loss = super().__call__(y_true, y_pred, sample_weight)
        steps = ops.sum(ops.cast(sample_weight, loss.dtype))
        return ops.divide_no_nan(loss, sum_over_devices(steps))

    def get_config(self):
        return {"name": self.name}


class _ClipsWholeGradient:
    """Clips the gradient of the whole batch, where Keras clips each device's share of it."""

    def apply(self, grads, trainable_variables=None):
        devices = tf.distribute.get_strategy().num_replicas_in_sync
        if devices > 1 and self.global_clipnorm:
            grads, _ = tf.clip_by_global_norm(sum_over_devices(list(grads)), self.global_clipnorm)
            # Keras clips each share once more, which leaves it as it is, and adds them up.
            grads = [tf.math.scalar_mul(1 / devices, grad) for grad in grads]
        super().apply(grads, trainable_variables)


class Adam(_ClipsWholeGradient, keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose `global_clipnorm` is that of the whole batch's gradient."""


class SGD(_ClipsWholeGradient, keras.optimizers.SGD):
    """`keras.optimizers.SGD` whose `global_clipnorm` is that of the whole batch's gradient."""


class CaffeSGD(SGD):
    """SGD as the authors' solvers have it: a rate for each layer, and weights that decay in it.

    The gradient is clipped first, then the decay is added, then the momentum takes it up. Keras's
    own `weight_decay` acts beside the gradient instead.

    Args:
        learning_rate: Rate or schedule.
        decay: Share of a matrix that is added to its gradient; biases do not decay.
        factors: Dict from a part of a variable's path, such as `"logits"`, to a factor on its
            rate. A bias has twice the rate of its layer, but in an LSTM.
        **options: More of `keras.optimizers.SGD`'s.

    Source:
        https://github.com/LisaAnne/lisa-caffe-public, `examples/LRCN_activity_recognition`
    """

    def __init__(self, learning_rate, decay=0.0, factors=None, name="caffe_sgd", **options):
        super().__init__(learning_rate, name=name, **options)
        self.decay, self.factors = decay, dict(factors or {})

    def update_step(self, gradient, variable, learning_rate):
        path = self._trainable_variables[self._get_variable_index(variable)].path
        in_lstm, is_bias = "lstm" in path, path.endswith("bias")
        factor = next((f for part, f in self.factors.items() if part in path), 1.0)
        if is_bias and not in_lstm:
            factor *= 2
        elif self.decay:
            decay = ops.cast(variable, gradient.dtype) * self.decay
            gradient = ops.add(gradient, decay)
        super().update_step(gradient, variable, ops.multiply(learning_rate, factor))

    def get_config(self):
        return {**super().get_config(), "decay": self.decay, "factors": self.factors}
