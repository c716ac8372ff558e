"""Loss and gradients of the whole batch, however many devices share it or parts come in turn."""

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

    Args:
        label_smoothing: Share of each target's probability that is spread evenly over all
            classes, in [0, 1).

    Call arguments:
        y_true: int `(..., steps)`.
        y_pred: Logits, float `(..., steps, classes)`.
        sample_weight: float `(..., steps)`, 0 for padding.
    """

    def __init__(self, label_smoothing=0.0, name="step_cross_entropy"):
        super().__init__(name=name, reduction="sum")
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                "Expected `label_smoothing` to be at least 0 and below 1. "
                f"Received: {label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        loss = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        if not self.label_smoothing:
            return loss
        of_all_classes = -ops.mean(ops.log_softmax(y_pred), axis=-1)  # (..., steps)
        return (1 - self.label_smoothing) * loss + self.label_smoothing * of_all_classes

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None:
            sample_weight = ops.ones(ops.shape(y_true))
        loss = super().__call__(y_true, y_pred, sample_weight)
        steps = ops.sum(ops.cast(sample_weight, loss.dtype))
        return ops.divide_no_nan(loss, sum_over_devices(steps))

    def get_config(self):
        return {"name": self.name, "label_smoothing": self.label_smoothing}


class _StepsOnWholeBatch:
    """Adds up gradients over all devices, and over batches, before it clips and takes the step.

    Keras clips each device's share; it cannot accumulate on several devices; and accumulating, it
    has schedules count batches.
    """

    def _get_current_learning_rate(self):
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)  # steps, not batches
        return super()._get_current_learning_rate()

    def _backend_apply_gradients(self, grads, trainable_variables):
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        grads = sum_over_devices([tf.convert_to_tensor(grad) for grad in grads])
        if not self.gradient_accumulation_steps:
            self._step(grads, trainable_variables)
            return

        def accumulate(strategy, grads):  # for all devices at once: a device has no conditions
            indices = map(self._get_variable_index, trainable_variables)
            sums = [self._accumulated_gradients[index] for index in indices]

            def add():
                for total, grad in zip(sums, grads, strict=True):
                    strategy.extended.update(
                        total.value, lambda v, g: v.assign_add(g), args=(grad,), group=False
                    )

            def step_on_device(grads):
                count = self.gradient_accumulation_steps
                means = [(g + total) / count for g, total in zip(grads, sums, strict=True)]
                self._step(means, trainable_variables)

            def step():
                strategy.extended.call_for_each_replica(step_on_device, args=(grads,))
                self._backend_reset_gradient_accumulators()

            is_last = (self._iterations + 1) % self.gradient_accumulation_steps == 0
            ops.cond(is_last, step, add)

        tf.distribute.get_replica_context().merge_call(accumulate, args=(grads,))

    def _step(self, grads, trainable_variables):
        self._apply_weight_decay(trainable_variables)
        grads = self._clip_gradients(grads)
        self._backend_update_step(grads, trainable_variables, self.learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # they are sums already


class Adam(_StepsOnWholeBatch, keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose `global_clipnorm` is that of the whole batch's gradient."""


def cosine_adam(rate, batches, accumulate=None, ema_momentum=None):
    """Gives `Adam` as the recipes train: a cosine schedule over all steps, clipped gradients.

    Args:
        rate: First learning rate.
        batches: Batches of the whole training.
        accumulate: Batches a step, or None for one.
        ema_momentum: If given, the weights become the exponential moving average of the weights
            of all steps, with this momentum, at the end of every `fit`. On one device only.
    """
    steps = -(-batches // (accumulate or 1))
    schedule = keras.optimizers.schedules.CosineDecay(rate, max(steps, 1))  # 1: nothing to train
    ema = {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}
    return Adam(schedule, global_clipnorm=5.0, gradient_accumulation_steps=accumulate, **ema)


class SGD(_StepsOnWholeBatch, keras.optimizers.SGD):
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
