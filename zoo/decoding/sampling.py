"""One word after another: the most likely one, or one drawn by chance."""

import dataclasses

import numpy as np
from keras import ops

from zoo.decoding.constraints import Constraints
from zoo.decoding.decoded import EOS, IMPOSSIBLE, Decoded, best_of, repeat_rows, write_at

BELOW_ONE = 1 - 2**-24  # the largest float32 below 1


@dataclasses.dataclass(frozen=True)
class Greedy:
    """Takes the most likely word at every step."""

    def __call__(self, step, state, batch_size, max_words, constraints=None, uniforms=None):
        """Writes one sentence an image. Arguments and result as in `BeamSearch`."""
        decoded = write(
            step,
            state,
            batch_size,
            max_words,
            constraints,
            lambda logits, _: ops.argmax(logits, -1),
        )
        return Decoded(*(tensor[:, None] for tensor in decoded))


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Draws `num_samples` sentences and keeps those that the model finds most likely.

    It draws no random numbers itself: it inverts the distribution of the next word at the
    `uniforms` that it is given, so that a row's sentence depends on nothing but its own image,
    its own numbers and the settings, in any batch and on any backend.

    Args:
        num_samples: Sentences drawn an image.
        n_best: Sentences returned, at most `num_samples`, ranked by log-probability at
            temperature 1.
        temperature: Divides the logits; below 1 is bolder. The paper's T multiplies: its
            T = 1.5 is `temperature=1 / 1.5`. Above 0.
        top_k: Draws among the so many most likely words; 0 among all.
        top_p: Draws among the fewest words that together have this probability, in (0, 1].

    Source:
        Donahue et al., 2015, section 5.2 (best: `num_samples=100, temperature=1 / 1.5`).
        https://arxiv.org/abs/1411.4389
    """

    num_samples: int = 1
    n_best: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not 1 <= self.n_best <= self.num_samples:
            raise ValueError(
                "Sampling needs 1 <= n_best <= num_samples. "
                f"Received: n_best={self.n_best}, num_samples={self.num_samples}"
            )
        if self.temperature <= 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "Sampling needs temperature > 0, top_k >= 0 and 0 < top_p <= 1. Received: "
                f"temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}"
            )

    def __call__(self, step, state, batch_size, max_words, constraints=None, uniforms=None):
        """Draws.

        Args:
            step: See `zoo.decoding`.
            state: Flat list of tensors, `batch_size` rows each.
            batch_size: Number of images; an int or a scalar tensor.
            max_words: Longest sentence, its end included.
            constraints: `Constraints` or None.
            uniforms: float32 `(batch, num_samples, max_words)` in [0, 1), one number for each
                word. See `draw_uniforms`.

        Returns:
            `Decoded` with `n_best` sentences an image.

        Raises:
            ValueError: If there are no `uniforms`, or of another shape.
        """
        wanted = (self.num_samples, max_words)
        given = () if uniforms is None else tuple(uniforms.shape[1:])
        if len(given) != 2 or any(n not in (None, m) for n, m in zip(given, wanted, strict=True)):
            raise ValueError(
                "Sampling draws no random numbers itself: give `uniforms`, float32 (batch, "
                f"{self.num_samples}, {max_words}) in [0, 1), for example from `draw_uniforms`. "
                f"Received: {None if uniforms is None else uniforms.shape}"
            )
        # A float64 just below 1 rounds to 1, which lies outside.
        uniforms = ops.minimum(ops.cast(uniforms, "float32"), BELOW_ONE)
        uniforms = ops.reshape(uniforms, (-1, max_words))

        def choose(logits, position):
            drawn = ops.take(uniforms, position, axis=1)
            return invert(logits, drawn, self.temperature, self.top_k, self.top_p)

        rows = batch_size * self.num_samples
        state = repeat_rows(state, self.num_samples)
        written = write(step, state, rows, max_words, constraints, choose)
        decoded = Decoded(
            ops.reshape(written.token_ids, (-1, self.num_samples, max_words)),
            ops.reshape(written.log_probs, (-1, self.num_samples)),
            ops.reshape(written.word_log_probs, (-1, self.num_samples, max_words)),
        )
        return best_of(decoded, decoded.log_probs, self.n_best)


def draw_uniforms(seeds, num_samples, max_words):
    """Draws the numbers that `Sampling` asks for, from one seed an image.

    Args:
        seeds: Sequence of non-negative ints, `(batch,)`.
        num_samples: Sentences an image.
        max_words: Numbers a sentence.

    Returns:
        NumPy float32 `(batch, num_samples, max_words)` in [0, 1); a row depends on its seed alone.
    """
    rows = [
        np.random.Generator(np.random.Philox(key=int(seed))).random((num_samples, max_words))
        for seed in seeds
    ]
    # Rounding to float32 may give 1.0, which lies outside.
    return np.minimum(np.asarray(rows, "float32"), np.float32(BELOW_ONE))


def invert(logits, uniforms, temperature=1.0, top_k=0, top_p=1.0):
    """Inverts the distribution of the next word: the first word whose share reaches `uniforms`.

    Args:
        logits: float32 `(rows, vocabulary_size)`.
        uniforms: float32 `(rows,)` in [0, 1).
        temperature: Divides the logits: a number, or `(rows, 1)`.
        top_k: Number of words kept; 0 keeps all.
        top_p: Probability kept, after temperature and `top_k`: a number, or `(rows, 1)`.

    Returns:
        int `(rows,)`.
    """
    probabilities = ops.softmax(logits / temperature)
    if not top_k and isinstance(top_p, (int, float)) and top_p == 1:
        # All words stay, so any fixed order will do, and sorting is what costs.
        return _first_to_reach(uniforms, probabilities)[:, 0]
    order = ops.argsort(-probabilities, axis=-1)  # (rows, vocabulary_size), best first
    probabilities = ops.take_along_axis(probabilities, order, axis=-1)
    if top_k:
        probabilities = ops.where(ops.arange(probabilities.shape[-1]) < top_k, probabilities, 0.0)
        probabilities = probabilities / ops.sum(probabilities, -1, keepdims=True)
    before = ops.cumsum(probabilities, -1) - probabilities
    probabilities = ops.where(before < top_p, probabilities, 0.0)
    place = _first_to_reach(uniforms, probabilities)
    return ops.take_along_axis(order, place, axis=-1)[:, 0]


def _first_to_reach(uniforms, probabilities):
    """int `(rows, 1)`: the first place whose running sum passes that share of the whole."""
    # Some backends add in a tree, where a word of probability 0 may move the sum by a rounding:
    # such a word reaches nothing, so that it is never drawn.
    reached = ops.where(probabilities > 0, ops.cumsum(probabilities, -1), 0.0)
    target = uniforms[:, None] * ops.max(reached, -1, keepdims=True)
    last = probabilities.shape[-1] - 1
    places = ops.where(reached > target, ops.arange(last + 1), last)
    return ops.min(places, -1, keepdims=True)


def write(step, state, rows, max_words, constraints, choose):
    """Writes one sentence a row; `choose(logits, position)` picks the word, int `(rows,)`."""
    constraints = constraints or Constraints()

    def body(position, tokens, word_log_probs, last, ended, state):
        logits, state = step(last, state)
        logits = ops.cast(logits, "float32")
        size = logits.shape[-1]
        allowed = constraints.allowed(position, tokens, size)
        word = ops.cast(choose(ops.where(allowed, logits, IMPOSSIBLE), position), "int32")
        word = ops.where(ended, EOS, word)
        log_prob = ops.take_along_axis(ops.log_softmax(logits), word[:, None], axis=-1)[:, 0]
        tokens = write_at(tokens, position, word)
        word_log_probs = write_at(word_log_probs, position, ops.where(ended, 0.0, log_prob))
        ended = ops.logical_or(ended, word == EOS)
        return position + 1, tokens, word_log_probs, word, ended, state

    def unfinished(position, tokens, word_log_probs, last, ended, state):
        return ops.logical_not(ops.all(ended))

    loop = (
        ops.convert_to_tensor(0, "int32"),
        ops.zeros((rows, max_words), "int32"),
        ops.zeros((rows, max_words), "float32"),
        ops.zeros((rows,), "int32") + EOS,
        ops.zeros((rows,), "bool"),
        state,
    )
    _, tokens, word_log_probs, _, _, _ = ops.while_loop(
        unfinished, body, loop, maximum_iterations=max_words
    )
    return Decoded(tokens, ops.sum(word_log_probs, -1), word_log_probs)
