"""What every sampler returns, and the small steps that they share."""

from typing import Any, NamedTuple

from keras import ops

from zoo.text.vocabulary import EOS

__all__ = ["EOS", "IMPOSSIBLE", "Decoded", "best_of", "repeat_rows", "write_at"]

IMPOSSIBLE = -1e9  # log-probability of what must not happen; finite, so that sums stay numbers


class Decoded(NamedTuple):
    """Sentences, best first.

    Attributes:
        token_ids: int32 `(batch, n, max_words)`; after the last word only zeros.
        log_probs: float32 `(batch, n)`, sum of the words' log-probabilities and the end's.
        word_log_probs: float32 `(batch, n, max_words)`, one for each word and one for the end;
            zero after that. The model's own belief, whatever temperature, penalty or
            constraints chose the word.
    """

    token_ids: Any
    log_probs: Any
    word_log_probs: Any


def repeat_rows(state, times):
    """Repeats every row of every tensor: `(batch, ...)` to `(batch * times, ...)`."""
    return [ops.repeat(tensor, times, axis=0) for tensor in state]


def write_at(buffer, position, values):
    """Writes `values (...)` into `buffer (..., max_words)` at `position`, a scalar tensor."""
    here = ops.equal(ops.arange(ops.shape(buffer)[-1]), position)
    return ops.where(here, ops.expand_dims(values, -1), buffer)


def best_of(decoded, ranks, n):
    """Keeps the `n` of highest rank: `ranks (batch, m)` with `n <= m`, best first."""
    _, chosen = ops.top_k(ranks, n)  # (batch, n)
    by_word = ops.expand_dims(chosen, -1)
    return Decoded(
        token_ids=ops.take_along_axis(decoded.token_ids, by_word, axis=1),
        log_probs=ops.take_along_axis(decoded.log_probs, chosen, axis=1),
        word_log_probs=ops.take_along_axis(decoded.word_log_probs, by_word, axis=1),
    )
