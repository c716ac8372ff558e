"""Beam search: the most likely sentences, `beam_size` candidates at a time."""

import dataclasses

from keras import ops

from zoo.decoding.constraints import Constraints
from zoo.decoding.decoded import EOS, IMPOSSIBLE, Decoded, best_of, repeat_rows, write_at


@dataclasses.dataclass(frozen=True)
class BeamSearch:
    """Keeps the `beam_size` best beginnings at every word.

    A finished sentence keeps its score and still competes. Where none has finished after
    `max_words`, the best unfinished one is returned.

    Args:
        beam_size: Candidates an image. 1 is greedy.
        n_best: Sentences returned an image, at most `beam_size`.
        length_penalty: Sentences are ranked by `log_prob / words ** length_penalty`, where the
            end counts as a word. 0 is the paper's: a plain sum, which favours short sentences.

    Source:
        Donahue et al., 2015, section 5. https://arxiv.org/abs/1411.4389
    """

    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 0.0

    def __post_init__(self):
        if not 1 <= self.n_best <= self.beam_size:
            raise ValueError(
                "BeamSearch needs 1 <= n_best <= beam_size. "
                f"Received: n_best={self.n_best}, beam_size={self.beam_size}"
            )

    def __call__(self, step, state, batch_size, max_words, constraints=None, uniforms=None):
        """Searches.

        Args:
            step: `step(token_ids, state) -> (logits, state)`, see `zoo.decoding`.
            state: Flat list of tensors, `batch_size` rows each, before the first word.
            batch_size: Number of images; an int or a scalar tensor.
            max_words: Longest sentence, its end included.
            constraints: `Constraints` or None.
            uniforms: Not used: the search is deterministic.

        Returns:
            `Decoded` with `n_best` sentences an image. Where the vocabulary and the constraints
            leave fewer, the rest have log-probabilities of about -1e9.
        """
        constraints = constraints or Constraints()
        beams = self.beam_size
        first_row = ops.arange(batch_size)[:, None] * beams  # (batch, 1)

        def rank(scores, lengths):
            if not self.length_penalty:
                return scores
            return scores / ops.power(ops.cast(lengths, "float32"), self.length_penalty)

        def body(position, tokens, word_log_probs, scores, lengths, last, state):
            logits, state = step(ops.reshape(last, (-1,)), state)
            size = logits.shape[-1]
            width = min(beams, size)  # the best of all beams are among the best of each
            log_probs = ops.log_softmax(ops.cast(logits, "float32"))  # (batch * beams, size)
            allowed = constraints.allowed(position, ops.reshape(tokens, (-1, max_words)), size)
            gains, words = ops.top_k(ops.where(allowed, log_probs, IMPOSSIBLE), width)
            gains = ops.reshape(gains, (-1, beams, width))
            words = ops.cast(ops.reshape(words, (-1, beams, width)), "int32")
            # A finished beam goes on in one way only, at no cost.
            ended = lengths > 0  # (batch, beams)
            stays = ops.where(ops.arange(width) == 0, 0.0, IMPOSSIBLE)
            gains = ops.where(ended[..., None], stays, gains)
            words = ops.where(ended[..., None], EOS, words)
            candidates = scores[..., None] + gains  # (batch, beams, width)
            would_be = ops.where(ended, lengths, position + 1)[..., None]
            ranks = ops.reshape(rank(candidates, would_be), (-1, beams * width))
            _, chosen = ops.top_k(ranks, beams)  # (batch, beams)
            beam = chosen // width

            def of_chosen(tensor):
                tensor = ops.reshape(tensor, (-1, beams * width))
                return ops.take_along_axis(tensor, chosen, axis=1)

            scores, gain, word = of_chosen(candidates), of_chosen(gains), of_chosen(words)

            def from_beam(tensor):
                index = ops.reshape(beam, (-1, beams, *[1] * (len(tensor.shape) - 2)))
                return ops.take_along_axis(tensor, index, axis=1)

            had_ended, lengths = from_beam(ended), from_beam(lengths)
            ends = ops.logical_and(word == EOS, ops.logical_not(had_ended))
            lengths = ops.where(ends, position + 1, lengths)
            tokens = write_at(from_beam(tokens), position, word)
            word_log_probs = write_at(from_beam(word_log_probs), position, gain)
            rows = ops.reshape(first_row + ops.cast(beam, first_row.dtype), (-1,))
            state = [ops.take(tensor, rows, axis=0) for tensor in state]
            return position + 1, tokens, word_log_probs, scores, lengths, word, state

        def unfinished(position, tokens, word_log_probs, scores, lengths, last, state):
            # Beams stand best first. A sum can only fall, so with no penalty the answer is known
            # as soon as the first n_best have ended; a mean can still rise.
            needed = beams if self.length_penalty else self.n_best
            open_beams = ops.logical_and(lengths == 0, scores > IMPOSSIBLE / 2)
            return ops.any(open_beams[:, :needed])

        shape = (batch_size, beams)
        only_first = ops.where(ops.arange(beams) == 0, 0.0, IMPOSSIBLE)
        loop = (
            ops.convert_to_tensor(0, "int32"),
            ops.zeros((*shape, max_words), "int32"),
            ops.zeros((*shape, max_words), "float32"),
            ops.zeros(shape, "float32") + only_first,
            ops.zeros(shape, "int32"),  # words of a finished sentence, its end included; else 0
            ops.zeros(shape, "int32") + EOS,
            repeat_rows(state, beams),
        )
        _, tokens, word_log_probs, scores, lengths, _, _ = ops.while_loop(
            unfinished, body, loop, maximum_iterations=max_words
        )
        # Finished sentences come before unfinished ones, and last what no sentence could fill;
        # within each kind the beams stand best first already.
        possible = scores > IMPOSSIBLE / 2
        finished = ops.logical_and(possible, lengths > 0)
        kinds = ops.cast(possible, "int32") + ops.cast(finished, "int32")  # (batch, beams)
        places = kinds * beams - ops.arange(beams, dtype="int32")
        return best_of(Decoded(tokens, scores, word_log_probs), places, self.n_best)


def whole_beam(sampler):
    """Returns a beam search that returns all its sentences; any other sampler as it is."""
    if not isinstance(sampler, BeamSearch):
        return sampler
    return dataclasses.replace(sampler, n_best=sampler.beam_size)
