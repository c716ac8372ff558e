"""What the signatures of all models that write share: from token ids to sentences, in the graph."""

import dataclasses

import tensorflow as tf

N_BEST = 3  # sentences in an answer


def sampler_of(model):
    """Returns the beam search of a model, with up to three sentences an answer."""
    return dataclasses.replace(model.sampler, n_best=min(N_BEST, model.sampler.beam_size))


def spoken(words):
    """The words of a vocabulary as a constant, the end of a sentence silent."""
    return tf.constant(["", *words[1:]])


def sentences(words, token_ids):
    """Strings `(...)` from ids `(..., words)`, with the words from `spoken`."""
    joined = tf.strings.reduce_join(tf.gather(words, token_ids), axis=-1, separator=" ")
    return tf.strings.strip(joined)


def best_sentences(words, decoded, good):
    """What is answered of a beam search.

    Args:
        words: From `spoken`.
        decoded: `zoo.decoding.Decoded`, n sentences a row.
        good: bool `(B,)`, False for a row that could not be read.

    Returns:
        Dict of `caption` and `log_prob`, `(B,)`, the best; `captions` and `log_probs`, `(B, n)`.
    """
    captions = tf.where(good[:, None], sentences(words, decoded.token_ids), "")
    log_probs = tf.where(good[:, None], decoded.log_probs, 0.0)
    return {
        "caption": captions[:, 0],
        "log_prob": log_probs[:, 0],
        "captions": captions,
        "log_probs": log_probs,
    }
