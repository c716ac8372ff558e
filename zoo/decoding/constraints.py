"""Which words may come next, whatever the model believes."""

import dataclasses

from keras import ops

from zoo.decoding.decoded import EOS


@dataclasses.dataclass(frozen=True)
class Constraints:
    """Rules that every sampler keeps.

    Args:
        forbidden_ids: Ids that never appear, for example that of `<unk>`.
        min_words: A sentence does not end before it has so many words.
        no_repeat_ngram: No run of so many words appears twice in a sentence; 0 allows it.
        prefix: Ids with which every sentence begins. It wins over the other rules.

    Raises:
        ValueError: If a number is negative or the end is forbidden.
    """

    forbidden_ids: tuple[int, ...] = ()
    min_words: int = 0
    no_repeat_ngram: int = 0
    prefix: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "forbidden_ids", tuple(int(i) for i in self.forbidden_ids))
        object.__setattr__(self, "prefix", tuple(int(i) for i in self.prefix))
        if EOS in self.forbidden_ids or EOS in self.prefix:
            raise ValueError(
                f"Id {EOS} ends a sentence: it can neither be forbidden nor stand in a prefix. "
                f"Received: forbidden_ids={self.forbidden_ids}, prefix={self.prefix}. "
                "For longer sentences use `min_words`."
            )
        if min(self.min_words, self.no_repeat_ngram, *self.forbidden_ids, *self.prefix) < 0:
            raise ValueError(f"Constraints take no negative numbers. Received: {self}")

    def check(self, vocabulary_size, max_words):
        """Raises ValueError where no sentence of `max_words` could keep these rules."""
        largest = max((*self.forbidden_ids, *self.prefix, 0))
        if largest >= vocabulary_size:
            raise ValueError(
                f"Constraints name id {largest}, but the vocabulary ends at {vocabulary_size - 1}."
            )
        if len(self.prefix) > max_words or self.min_words > max_words:
            raise ValueError(
                f"max_words={max_words} leaves no room for a prefix of {len(self.prefix)} and "
                f"min_words={self.min_words}. Raise `max_words`."
            )

    def allowed(self, position, token_ids, vocabulary_size):
        """Tells which words may stand at `position`.

        Args:
            position: int32 scalar, words written so far.
            token_ids: int32 `(rows, max_words)`, the words written so far, then zeros.
            vocabulary_size: Number of ids.

        Returns:
            bool, broadcastable to `(rows, vocabulary_size)`.
        """
        ids = ops.arange(vocabulary_size)[None, :]  # (1, vocabulary_size)
        allowed = ops.ones_like(ids, dtype="bool")
        for forbidden in self.forbidden_ids:
            allowed = ops.logical_and(allowed, ids != forbidden)
        if self.min_words:
            too_short = position < self.min_words
            allowed = ops.logical_and(
                allowed, ops.logical_not(ops.logical_and(too_short, ids == EOS))
            )
        if self.no_repeat_ngram:
            repeats = self._repeats(position, token_ids, vocabulary_size)
            allowed = ops.logical_and(allowed, ops.logical_not(repeats))
        if self.prefix:
            written = ops.convert_to_tensor(self.prefix, "int32")
            wanted = ops.take(written, ops.minimum(position, len(self.prefix) - 1))
            allowed = ops.where(position < len(self.prefix), ids == wanted, allowed)
        return allowed

    def _repeats(self, position, token_ids, vocabulary_size):
        """bool `(rows, vocabulary_size)`: words that would write an n-gram a second time."""
        n, max_words = self.no_repeat_ngram, token_ids.shape[1]
        repeats = ops.zeros((ops.shape(token_ids)[0], vocabulary_size), dtype="bool")
        last = [  # the n - 1 words before `position`, each (rows,)
            ops.take(token_ids, ops.maximum(position - n + 1 + j, 0), axis=1) for j in range(n - 1)
        ]
        for start in range(max_words - n + 1):  # each n-gram that may have been written already
            same = ops.broadcast_to(start + n <= position, ops.shape(token_ids)[:1])
            for j, word in enumerate(last):
                same = ops.logical_and(same, token_ids[:, start + j] == word)
            next_word = token_ids[:, start + n - 1, None] == ops.arange(vocabulary_size)[None]
            repeats = ops.logical_or(repeats, ops.logical_and(same[:, None], next_word))
        # The end is no word: `a dog` may end where `a dog` ended before.
        return ops.logical_and(repeats, ops.arange(vocabulary_size)[None] != EOS)
