"""Lets KerasHub's samplers write our sentences; KerasHub itself is not imported."""

import dataclasses
from typing import Any

from keras import ops

from zoo.decoding.constraints import Constraints
from zoo.decoding.decoded import EOS, IMPOSSIBLE, Decoded, write_at

FILLER = 1  # what stands where nothing is written yet; any id but the end


def is_keras_hub_sampler(sampler):
    """Tells whether `sampler` follows `keras_hub.samplers.Sampler`."""
    return hasattr(sampler, "get_next_token") or hasattr(sampler, "compute_probabilities")


@dataclasses.dataclass(frozen=True)
class KerasHubSampling:
    """Runs a `keras_hub.samplers.Sampler` on our step function.

    Its `BeamSampler` goes on adding words to finished beams, so its order is not that of
    `BeamSearch`. Log-probabilities are computed afterwards, by the model's own belief.

    Args:
        sampler: `keras_hub.samplers.Sampler`. One that returns all beams gives `n` sentences.
    """

    sampler: Any

    def __call__(self, step, state, batch_size, max_words, constraints=None, uniforms=None):
        """Writes sentences. Arguments and result as in `BeamSearch`."""
        constraints = constraints or Constraints()

        def next_logits(prompt, cache, index):
            logits, cache = step(ops.take(prompt, index - 1, axis=1), list(cache))
            logits = ops.cast(logits, "float32")
            allowed = constraints.allowed(index - 1, prompt[:, 1:], logits.shape[-1])
            return ops.where(allowed, logits, IMPOSSIBLE), None, list(cache)

        # Position 0 holds the start and is not to be overwritten.
        is_start = ops.broadcast_to(ops.arange(max_words + 1) == 0, (batch_size, max_words + 1))
        written = self.sampler(
            next=next_logits,
            prompt=ops.where(is_start, EOS, FILLER),
            cache=state,
            index=1,
            mask=is_start,
            stop_token_ids=(EOS,),
        )
        # All beams come as a pair: prompts (batch, n, words) and log-probabilities.
        written = written[0] if isinstance(written, (tuple, list)) else written[:, None]
        token_ids = ops.cast(written[..., 1:], "int32")
        before_end = ops.cumprod(ops.cast(token_ids != EOS, "int32"), axis=-1)
        token_ids = token_ids * before_end  # what stands behind the end is chance
        n = token_ids.shape[1]
        flat = ops.reshape(token_ids, (-1, max_words))
        log_probs = follow(step, [ops.repeat(tensor, n, axis=0) for tensor in state], flat)
        log_probs = ops.reshape(log_probs, (-1, n, max_words))
        return Decoded(token_ids, ops.sum(log_probs, -1), log_probs)


def follow(step, state, token_ids):
    """Log-probability of every word of given sentences, and of their end, step by step.

    Args:
        step: See `zoo.decoding`.
        state: Flat list of tensors, `rows` first, before the first word.
        token_ids: int32 `(rows, max_words)`, padded with 0.

    Returns:
        float32 `(rows, max_words)`; zero after the end.
    """
    max_words = token_ids.shape[-1]

    def body(position, last, ended, log_probs, state):
        logits, state = step(last, state)
        word = ops.take(token_ids, position, axis=1)
        gain = ops.take_along_axis(
            ops.log_softmax(ops.cast(logits, "float32")), word[:, None], axis=-1
        )[:, 0]
        log_probs = write_at(log_probs, position, ops.where(ended, 0.0, gain))
        return position + 1, word, ops.logical_or(ended, word == EOS), log_probs, state

    start = ops.zeros_like(token_ids[:, 0])
    loop = (
        ops.convert_to_tensor(0, "int32"),
        start,
        ops.zeros_like(start, dtype="bool"),
        ops.zeros_like(token_ids, dtype="float32"),
        state,
    )
    return ops.while_loop(lambda *_: True, body, loop, maximum_iterations=max_words)[3]
