"""From a step function to token ids: greedy, beam search, sampling, and constraints on them.

A sampler sees no model, only `step(token_ids, state) -> (logits, state)`, where `token_ids` is
int32 `(rows,)`, `logits` float `(rows, vocabulary_size)`, and `state` a flat list of tensors with
`rows` first. Id 0 both starts and ends a sentence.
"""

from zoo.decoding.beam_search import BeamSearch, whole_beam
from zoo.decoding.constraints import Constraints
from zoo.decoding.decoded import EOS, Decoded
from zoo.decoding.sampling import Greedy, Sampling, draw_uniforms
from zoo.decoding.settings import read_decoding, write_decoding

__all__ = [
    "EOS",
    "BeamSearch",
    "Constraints",
    "Decoded",
    "Greedy",
    "Sampling",
    "draw_uniforms",
    "read_decoding",
    "whole_beam",
    "write_decoding",
]
