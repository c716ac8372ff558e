"""Training a captioner on the CIDEr of sentences that it draws itself."""

import keras
import numpy as np
import tensorflow as tf

from zoo.evaluation.cider_reward import CiderReward
from zoo.training.whole_batch import sum_over_devices


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
        self.supports_jit = False  # the reward is computed in Python
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
            _, word_log_probs = self.decoder.log_probs(features, token_ids)
            # A sentence that was cut at `max_words` has no end that was drawn.
            log_probs = tf.reduce_sum(word_log_probs[:, :max_words], axis=1)
            words = tf.cast(tf.math.count_nonzero(token_ids), tf.float32)
            loss = -tf.reduce_sum(advantage * log_probs) / (sum_over_devices(words) + 1.0)
            loss = self.optimizer.scale_loss(loss)  # for half precision
        weights = self.decoder.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.mean_reward.update_state(reward)
        return {"reward": self.mean_reward.result()}


def caption_reward(references, vocabulary):
    """Makes the reward of `CiderTraining`: CIDEr-D of token ids against an image's captions.

    The end counts as a word, so that a sentence that breaks off loses by it.

    Args:
        references: List with the list of captions of each image.
        vocabulary: `zoo.text.vocabulary.Vocabulary` of the ids.

    Returns:
        `reward(image_index (rows,), token_ids (rows, max_words)) -> float32 (rows,)`.
    """
    end = " endofcaption"
    cider = CiderReward([[caption + end for caption in captions] for captions in references])

    def reward(image_index, token_ids):
        ends = np.where((token_ids == 0).any(axis=1), end, "")
        sentences = [vocabulary.decode(ids) + e for ids, e in zip(token_ids, ends, strict=True)]
        return cider.reward(image_index, sentences)

    return reward
