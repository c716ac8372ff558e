"""The probability that a caption is right: a logistic regression on what decoding computes.

Quantities of a sentence are computed from the log-probabilities of its words, with the image and
without it, and from the image's features. One quantity describes the whole beam and is the same for
all of its sentences. None depends on how many of these sentences are returned.
"""

import dataclasses
import math
import numbers

from keras import ops

from zoo.decoding.decoded import EOS, IMPOSSIBLE

# Each quantity with the sign of its weight: +1 where more of it makes a caption more probable.
# A fit uses `FITTED`; presets may hold the others.
QUANTITIES = {
    # How probable the informative words are: log of the mean of p * p / (p + p0), each word
    # weighted by -log(p0), where p is its probability given the image and p0 given the mean image.
    "log_informative_prob": 1,
    "smallest_gain": 1,  # the least rise of a word's log-probability, see below
    "beam_range": -1,  # largest minus smallest log-probability per word of the beam's sentences
    "log_prob_per_word": 1,  # mean log-probability of a word given the image
    # By how much the image raises a word's log-probability, compared with the mean image: the mean
    # over the words, each weighted by its probability, and the largest.
    "weighted_gain_per_word": 1,
    "largest_gain": 1,
    "feature_distance": -1,  # log of the features' mean squared z-score in the training images
}
FITTED = ("log_informative_prob", "smallest_gain", "largest_gain", "beam_range")
EPSILON = 1e-6  # so that the log of 0 is a number


@dataclasses.dataclass(frozen=True)
class CaptionConfidence:
    """A fitted logistic regression from quantities of a caption to a probability.

    The probability is that of a CIDEr-D of at least 0.5 against captions that people wrote.
    `zoo.training.confidence.fit_confidence` makes it.

    Args:
        quantities: Names of the quantities that it uses, keys of `QUANTITIES`.
        means: Mean of each quantity among the captions that it was fitted on.
        scales: Standard deviation of each, above 0.
        weights: Weight of each standardized quantity.
        bias: Bias of the regression.
        threshold: A caption with a lower probability is unsure.

    Raises:
        ValueError: If a quantity is unknown, the lengths differ or a number is not finite.

    Example:

    ```python
    captioner = zoo.from_preset(preset)
    for best, *others in captioner.caption_candidates(images):
        print(best.text, best.confidence, best.unsure)
    ```
    """

    quantities: tuple
    means: tuple
    scales: tuple
    weights: tuple
    bias: float
    threshold: float = 0.5

    def __post_init__(self):
        for name in ("quantities", "means", "scales", "weights"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [name for name in self.quantities if name not in QUANTITIES]
        if unknown or not self.quantities:
            raise ValueError(
                f"Expected quantities among {', '.join(QUANTITIES)}. "
                f"Received: quantities={self.quantities}"
            )
        expected = len(set(self.quantities))
        lengths = [len(self.quantities), len(self.means), len(self.scales), len(self.weights)]
        if lengths != [expected] * 4:
            raise ValueError(
                f"Expected one mean, scale and weight for each of {expected} different "
                f"quantities. Received: {self}"
            )
        values = [*self.means, *self.scales, *self.weights, self.bias, self.threshold]
        finite = all(isinstance(v, numbers.Real) and math.isfinite(v) for v in values)
        if not finite or min(self.scales) <= 0 or not 0 <= self.threshold <= 1:
            raise ValueError(
                "Expected finite numbers, scales above 0 and a threshold from 0 to 1. "
                f"Received: {self}"
            )

    def __call__(self, quantities):
        """Computes probabilities; a pure function of tensors.

        Args:
            quantities: Dict from a quantity's name to float32 `(...)`, see `caption_quantities`.

        Returns:
            float32 `(...)` in 0..1.
        """
        logit = self.bias
        parameters = zip(self.quantities, self.means, self.scales, self.weights, strict=True)
        for name, mean, scale, weight in parameters:
            logit = logit + weight / scale * (quantities[name] - mean)
        return ops.sigmoid(logit)

    def get_config(self):
        """Returns a dict that JSON can hold."""
        config = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}

    @classmethod
    def from_config(cls, config):
        """Returns the `CaptionConfidence` of a dict from `get_config`."""
        return cls(**config)


def caption_quantities(decoder, features, beam, n_best=None):
    """Computes the quantities of captions; a pure function of tensors.

    What a sentence's words are worth without the image is their log-probability given the mean
    image of the training data: one more pass of the sentences through the decoder.

    Args:
        decoder: `zoo.models.decoders.caption_decoder.CaptionDecoder`.
        features: float32 `(batch, features)`.
        beam: `zoo.decoding.Decoded` of tensors, all sentences of the search.
        n_best: Number of sentences whose quantities are returned; all by default.

    Returns:
        Dict from each name of `QUANTITIES` to float32 `(batch, n_best)`.
    """
    # Steps that count: every word and, where there was room for it, the end. (batch, n, words)
    is_word = ops.cast(beam.token_ids != EOS, "float32")
    counts = ops.concatenate([ops.ones_like(is_word[..., :1]), is_word[..., :-1]], axis=-1)
    num_steps = ops.sum(counts, axis=-1)  # (batch, n), 1 or more

    # How much the beam's sentences differ in probability, those that no sentence filled aside.
    # (batch, 1)
    per_word = beam.log_probs / num_steps
    possible = beam.log_probs > IMPOSSIBLE / 2
    largest = ops.max(ops.where(possible, per_word, IMPOSSIBLE), axis=-1, keepdims=True)
    smallest = ops.min(ops.where(possible, per_word, largest), axis=-1, keepdims=True)

    # The sentences that are returned.
    token_ids = beam.token_ids[:, :n_best]
    word_log_probs = beam.word_log_probs[:, :n_best]
    counts = counts[:, :n_best]
    num_steps = num_steps[:, :n_best]
    batch, n, words = ops.shape(token_ids)

    # The same sentences given the mean image. (batch, n, words)
    mean = ops.cast(decoder.standardize.moving_mean, "float32")
    mean_features = ops.broadcast_to(mean[None], (batch * n, mean.shape[0]))
    _, prior = decoder.log_probs(mean_features, ops.reshape(token_ids, (-1, words)))
    prior = ops.reshape(prior[:, :words], (batch, n, words))
    gains = (word_log_probs - prior) * counts

    # Probability of each word, lower where the mean image makes it as probable: p * p / (p + p0).
    probs = ops.exp(word_log_probs) * ops.sigmoid(gains)
    information = -prior * counts
    informative_prob = ops.sum(probs * information, axis=-1) / (
        ops.sum(information, axis=-1) + EPSILON
    )

    # How far the image is from the training images: 0 where the features vary as theirs. (batch,)
    z_scores = ops.cast(decoder.standardize(features, training=False), "float32")
    distance = ops.log(ops.mean(ops.square(z_scores), axis=-1) + EPSILON)

    return {
        "log_informative_prob": ops.log(informative_prob + EPSILON),
        "smallest_gain": ops.min(ops.where(counts > 0, gains, -IMPOSSIBLE), axis=-1),
        "beam_range": ops.broadcast_to(largest - smallest, (batch, n)),
        "log_prob_per_word": ops.sum(word_log_probs * counts, axis=-1) / num_steps,
        "weighted_gain_per_word": ops.sum(ops.exp(word_log_probs) * gains, axis=-1) / num_steps,
        "largest_gain": ops.max(ops.where(counts > 0, gains, IMPOSSIBLE), axis=-1),
        "feature_distance": ops.broadcast_to(distance[:, None], (batch, n)),
    }
