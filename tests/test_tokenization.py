import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from zoo.data.datasets import flickr8k
from zoo.text import tokenization
from zoo.text.vocabulary import Vocabulary, tokenize

SENTENCES = [
    "A man's dog, aged 3.5, ran away.",
    "caf\u00e9",
    "NA\u00cfVE",
    "a dog \U0001f436\U0001f468\u200d\U0001f469 .",
    "3.5",
    "don't",
    "don\u2019t stop!.",
    "wait ...",
    "one . .",
    "two. \n",
    ".",
    "",
    " \t\u3000",
    "\u0394\u03a1\u039f\u039c\u039f\u03a3 \u039a\u0391\u0399",  # Greek: the last sigma of a word
    "\u0130stanbul \u00df\u1e9e",
    "\u0915\u0941\u0924\u094d\u0924\u093e \u4e00\u53ea\u72d7\u3002",
    "a\u0085b\x1fc\x0bd\u2028e.\u00a0",
    "snake_case x\u00b2 \u00bd",
]


def as_python(tokens):
    return [[token.decode() for token in row] for row in tokens.to_list()]


def test_three_forms_of_the_rule_agree_on_hard_sentences():
    expected = [tokenize(sentence) for sentence in SENTENCES]
    assert as_python(tokenization.tokenize_in_pipeline(SENTENCES)) == expected
    assert as_python(tokenization.tokenize_in_graph(SENTENCES)) == expected


def test_python_and_pipeline_compose_accents():
    sentences = [unicodedata.normalize("NFD", sentence) for sentence in SENTENCES]
    expected = [tokenize(sentence) for sentence in sentences]
    assert as_python(tokenization.tokenize_in_pipeline(sentences)) == expected
    assert tokenize("cafe\u0301") == ["caf\u00e9"]


def test_three_forms_of_the_rule_agree_on_every_character():
    # Python and TensorFlow know different editions of Unicode: only planes that no longer change.
    characters = [chr(code) for code in range(1, 0xA700) if unicodedata.category(chr(code)) != "Cn"]
    sentences = [f"x{c}X {c} {c}{c}-." for c in characters if c != "\u2c2f"]
    expected = [tokenize(sentence) for sentence in sentences]
    assert as_python(tokenization.tokenize_in_pipeline(sentences)) == expected
    nfc = [unicodedata.normalize("NFC", sentence) for sentence in sentences]
    assert as_python(tokenization.tokenize_in_graph(nfc)) == expected


def test_three_forms_of_the_rule_agree_on_flickr8k(real_data):
    root = real_data / "flickr8k"
    examples = flickr8k(root, "train") + flickr8k(root, "dev")
    sentences = [caption for example in examples for caption in example.captions]
    assert len(sentences) == 35_000
    expected = [tokenize(sentence) for sentence in sentences]
    assert as_python(tokenization.tokenize_in_pipeline(sentences)) == expected
    assert as_python(tokenization.tokenize_in_graph(sentences)) == expected


def test_core_form_needs_neither_tensorflow_text_nor_an_english_locale():
    code = (
        "import sys\n"
        "sys.modules['tensorflow_text'] = None\n"
        "from zoo.text.tokenization import tokenize_in_graph\n"
        "from zoo.text.vocabulary import tokenize\n"
        "sentence = 'TITIC \u0130\u011e \u00c9'\n"
        "tokens = tokenize_in_graph([sentence]).to_list()[0]\n"
        "assert [token.decode() for token in tokens] == tokenize(sentence), tokens\n"
    )
    environment = {**os.environ, "LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_core_form_works_in_an_exported_graph(tmp_path):
    module = tf.Module()
    module.tokenize = tf.function(
        lambda sentences: tokenization.tokenize_in_graph(sentences).to_tensor(),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    tokens = tf.saved_model.load(str(tmp_path)).tokenize(["Caf\u00e9 au lait.", "tea"])
    assert tokens.numpy().tolist() == [["caf\u00e9".encode(), b"au", b"lait"], [b"tea", b"", b""]]


def test_encoded_captions_are_cut_padded_and_in_order(monkeypatch):
    monkeypatch.setattr(tokenization, "BATCH_SIZE", 2)
    vocabulary = Vocabulary(["<eos>", "<unk>", "a", "dog", "runs"])
    sentences = ["A dog runs.", "a zebra", "a dog runs a dog runs", "!?", "dog"]
    token_ids = tokenization.encode_captions(sentences, vocabulary, max_words=4)
    assert token_ids.dtype == np.int32
    assert token_ids.tolist() == [
        [2, 3, 4, 0],
        [2, 1, 0, 0],
        [2, 3, 4, 2],
        [0, 0, 0, 0],  # no word in it
        [3, 0, 0, 0],
    ]


def test_no_captions_encode_as_no_rows():
    vocabulary = Vocabulary(["<eos>", "<unk>"])
    assert tokenization.encode_captions([], vocabulary).shape == (0, 20)


def test_encoding_flickr8k_is_what_the_vocabulary_does(real_data):
    sentences = [c for example in flickr8k(real_data / "flickr8k", "dev") for c in example.captions]
    vocabulary = Vocabulary.from_captions(sentences)
    token_ids = tokenization.encode_captions(sentences, vocabulary)
    for row, sentence in zip(token_ids.tolist(), sentences, strict=True):
        ids = vocabulary.encode(sentence)[:20]
        assert row == ids + [0] * (20 - len(ids))


def test_every_word_and_the_end_are_asked_for_once():
    token_ids = tf.constant([[7, 8, 0, 0], [7, 0, 0, 0], [7, 8, 9, 6], [0, 0, 0, 0]])
    inputs, targets, weights = tokenization.teacher_forcing(token_ids)
    assert inputs.numpy().tolist() == [[0, 7, 8, 0], [0, 7, 0, 0], [0, 7, 8, 9], [0, 0, 0, 0]]
    assert targets.numpy().tolist() == token_ids.numpy().tolist()
    assert weights.numpy().tolist() == [
        [1, 1, 1, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 1],  # cut: its end was not seen, so none is asked for
        [0, 0, 0, 0],
    ]


def test_teacher_forcing_keeps_static_shapes_in_a_pipeline():
    dataset = tf.data.Dataset.from_tensor_slices(np.ones((6, 5), "int32")).batch(2, True)
    for spec in dataset.map(tokenization.teacher_forcing).element_spec:
        assert spec.shape == (2, 5)


@pytest.mark.parametrize("form", ["tokenize_in_pipeline", "tokenize_in_graph"])
def test_forms_work_inside_tf_data(form):
    dataset = tf.data.Dataset.from_tensor_slices(["a dog", "a cat runs"]).batch(2)
    (tokens,) = dataset.map(getattr(tokenization, form))
    assert tokens.to_list() == [[b"a", b"dog"], [b"a", b"cat", b"runs"]]
