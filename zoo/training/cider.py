"""Training a captioner on the CIDEr of sentences that it draws itself."""

import keras
import tensorflow as tf


class CiderTraining(keras.Model):
    """Trains a captioner on the CIDEr of sentences that it draws itself.

    For every image it draws several sentences; each one's reward, less the mean reward of the
    image's other sentences, weighs the gradient of its log-probability (REINFORCE).

    Args:
        decoder: The captioner's `CaptionDecoder`; its CNN stays as it is.
        sampler: `zoo.decoding.Sampling` that returns all its sentences.
        reward: `reward(image_index (rows,), token_ids (rows, max_words)) -> float32 (rows,)`, in
            NumPy.
        constraints: `zoo.decoding.Constraints` on what is drawn, or None.

    Call arguments:
        data: Dict of `features` float `(batch, features)`, `image_index` int `(batch,)` and
            `uniforms` float32 `(batch, num_samples, max_words)`.

    Source:
        Rennie et al., 2017, https://arxiv.org/abs/1612.00563; the baseline of Luo, 2020,
        https://arxiv.org/abs/2003.09971
    """

    def __init__(self, decoder, sampler, reward, constraints=None, **kwargs):
        super().__init__(**kwargs)
        self.decoder, self.sampler, self.reward = decoder, sampler, reward
        self.constraints = constraints
        self.built = True
        self.mean_reward = keras.metrics.Mean(name="reward")

    def train_step(self, data):
        n = self.sampler.num_samples
        uniforms = data["uniforms"]
        max_words = uniforms.shape[-1]
        decoded = self.decoder.search(
            data["features"], self.sampler, max_words, self.constraints, uniforms
        )
        token_ids = tf.reshape(decoded.token_ids, (-1, max_words))  # (batch * n, max_words)
        all_ids = token_ids
        # No step is spent on padding that all sentences share.
        longest = tf.reduce_max(tf.math.count_nonzero(token_ids, axis=1))
        token_ids = token_ids[:, : tf.maximum(longest, 1)]
        image_index = tf.repeat(data["image_index"], n)
        reward = tf.numpy_function(self.reward, [image_index, all_ids], tf.float32)
        reward = tf.reshape(tf.ensure_shape(reward, (None,)), (-1, n))
        others = (tf.reduce_sum(reward, 1, keepdims=True) - reward) / (n - 1)
        advantage = tf.stop_gradient(tf.reshape(reward - others, (-1,)))
        features = tf.repeat(data["features"], n, axis=0)
        with tf.GradientTape() as tape:
            log_probs, _ = self.decoder.log_probs(features, token_ids)
            words = tf.cast(tf.math.count_nonzero(token_ids), tf.float32) + 1.0
            loss = -tf.reduce_sum(advantage * log_probs) / words
        weights = self.decoder.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.mean_reward.update_state(reward)
        return {"reward": self.mean_reward.result()}
