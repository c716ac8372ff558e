"""Sentences in TensorFlow: tokenised, encoded as token ids, and made ready for teacher forcing."""

import numpy as np
import tensorflow as tf

from zoo.text.vocabulary import UNKNOWN

# RE2's \w and \s know ASCII only; these classes are `zoo.text.vocabulary.tokenize`'s for all of
# Unicode.
WORD = r"\p{L}\p{M}\p{N}_"
HAS_WORD = r"(?s).*[\p{L}\p{N}].*"  # a letter or a digit, as `zoo.text.vocabulary.has_word`
SPACE = r"\x09-\x0d\x1c-\x20\x{85}\p{Z}"
BATCH_SIZE = (
    1024  # captions tokenised at a time: large enough that calling TensorFlow costs nothing
)


def tokenize_in_pipeline(sentences):
    """Tokenises a batch of sentences inside tf.data, as `zoo.text.vocabulary.tokenize` does.

    Uses tensorflow-text, so never call it in a graph that is exported: one of its ops makes the
    whole SavedModel unloadable for servers built without them. See `tokenize_in_graph`.

    Args:
        sentences: String tensor `(batch,)`, UTF-8.

    Returns:
        String `tf.RaggedTensor` `(batch, None)`.

    Example:
        >>> tokenize_in_pipeline(["Don't stop.", "3.5"]).to_list()
        [[b'don', b"'", b't', b'stop'], [b'3', b'.', b'5']]
    """
    import tensorflow_text as tf_text  # here, so that serving can import this room without it

    sentences = tf_text.normalize_utf8(sentences, "NFC")
    return tf_text.regex_split(
        _without_full_stop(_lower(sentences)),
        delim_regex_pattern=f"[{SPACE}]+|[{WORD}]+",
        keep_delim_regex_pattern=f"[{WORD}]+",
    )


def tokenize_in_graph(sentences):
    """Tokenises a batch of sentences with core TensorFlow ops, for graphs that are exported.

    Agrees with `zoo.text.vocabulary.tokenize` on text in Unicode's form NFC, which is what
    keyboards
    and nearly all files give: core TensorFlow cannot compose an `e` and a separate accent.

    Args:
        sentences: String tensor `(batch,)`, UTF-8, NFC.

    Returns:
        String `tf.RaggedTensor` `(batch, None)`.

    Example:
        >>> tokenize_in_graph(["Don't stop.", "3.5"]).to_list()
        [[b'don', b"'", b't', b'stop'], [b'3', b'.', b'5']]
    """
    sentences = _without_full_stop(_lower(sentences))
    sentences = tf.strings.regex_replace(sentences, f"[{SPACE}]+", " ")
    sentences = tf.strings.regex_replace(sentences, f"([{WORD}]+)", r" \1 ")
    return tf.strings.split(sentences)


def _lower(sentences):
    # TensorFlow lower-cases by the rules of the user's locale; under a Turkish one I becomes a
    # dotless i. ASCII letters and the one other letter concerned are therefore changed first.
    sentences = tf.strings.regex_replace(tf.strings.lower(sentences), "\u0130", "i\u0307")
    return tf.strings.lower(sentences, encoding="utf-8")


def _without_full_stop(sentences):
    # A full stop behind other punctuation ("...", "!.") is part of that token, and stays.
    return tf.strings.regex_replace(sentences, rf"(^|[{WORD}{SPACE}])\.[{SPACE}]*$", r"\1")


def encode_captions(sentences, vocabulary, max_words=20):
    """Encodes captions as rows of token ids.

    Args:
        sentences: List of strings.
        vocabulary: `zoo.text.vocabulary.Vocabulary`.
        max_words: Longer captions are cut after so many words.

    Returns:
        int32 array `(num_sentences, max_words)`; short captions are padded with 0. A caption with
        no word in it (no letter and no digit) gives a row of zeros, which `teacher_forcing` gives
        no weight: count these with `(token_ids[:, 0] == 0).sum()`.

    Example:
        >>> from zoo.text.vocabulary import Vocabulary
        >>> vocabulary = Vocabulary(["<eos>", "<unk>", "a", "man", "rides", "horse"])
        >>> encode_captions(["A man rides a zebra.", "..."], vocabulary, max_words=6)
        array([[2, 3, 4, 2, 1, 0],
               [0, 0, 0, 0, 0, 0]], dtype=int32)
    """
    sentences = list(sentences)
    if not sentences:
        return np.zeros((0, max_words), "int32")
    word_ids = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(vocabulary.words), tf.range(len(vocabulary), dtype=tf.int32)
        ),
        default_value=UNKNOWN,
    )

    def encode(sentences):
        has_word = tf.strings.regex_full_match(sentences, HAS_WORD)
        tokens = tokenize_in_pipeline(tf.where(has_word, sentences, ""))
        return word_ids.lookup(tokens[:, :max_words]).to_tensor(shape=(None, max_words))

    batches = tf.data.Dataset.from_tensor_slices(sentences).batch(BATCH_SIZE)
    batches = batches.map(encode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return np.concatenate(list(batches.as_numpy_iterator()))


def teacher_forcing(token_ids):
    """Makes the input, the target and the weight of every word from encoded captions.

    At each step the decoder sees the word before and is asked for the next one. Words and the
    `"<eos>"` behind them count; padding does not. A caption as long as its row has no `"<eos>"`.

    Args:
        token_ids: int32 tensor `(..., max_words)`, as `encode_captions` gives them.

    Returns:
        A tuple `(inputs, targets, weights)` of tensors `(..., max_words)`: int32, int32 and
        float32.

    Example:
        >>> inputs, targets, weights = teacher_forcing([[7, 8, 9, 0, 0]])
        >>> inputs.numpy()
        array([[0, 7, 8, 9, 0]], dtype=int32)
        >>> targets.numpy()
        array([[7, 8, 9, 0, 0]], dtype=int32)
        >>> weights.numpy()
        array([[1., 1., 1., 1., 0.]], dtype=float32)

    Source:
        Caption streams of `coco_to_hdf5_data.py` in https://github.com/jeffdonahue/caffe (branch
        recurrent); there the padding is -1, here it is 0 with weight 0.
    """
    targets = tf.convert_to_tensor(token_ids, tf.int32)
    inputs = tf.concat([tf.zeros_like(targets[..., :1]), targets[..., :-1]], axis=-1)
    # The first step counts unless the caption is empty, any other if the word before is a word.
    counts = tf.concat([targets[..., :1], targets[..., :-1]], axis=-1) != 0
    return inputs, targets, tf.cast(counts, tf.float32)
