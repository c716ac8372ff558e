import itertools
import subprocess
import sys

import pytest

import zoo.text.vocabulary
from zoo.text.vocabulary import Vocabulary, _kind, tokenize


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("A man rides a horse.", ["a", "man", "rides", "a", "horse"]),
        ("A man rides a horse .", ["a", "man", "rides", "a", "horse"]),
        ("don't", ["don", "'", "t"]),
        ("3.5", ["3", ".", "5"]),
        ("a (red) car, parked", ["a", "(", "red", ")", "car", ",", "parked"]),
        ("wait ...", ["wait", "..."]),
        ("stop !.", ["stop", "!."]),
        ("one . .", ["one", "."]),
        ("snake_case", ["snake_case"]),
        ("Caf\u00e9", ["caf\u00e9"]),
        ("na\u00efve", ["na\u00efve"]),
        ("Cafe\u0301", ["caf\u00e9"]),
        ("a dog \U0001f436.", ["a", "dog", "\U0001f436."]),
        ("\u0915\u0941\u0924\u094d\u0924\u093e", ["\u0915\u0941\u0924\u094d\u0924\u093e"]),
        ("a\u00a0dog\u3000runs", ["a", "dog", "runs"]),
        (".", []),
        ("", []),
        (" \t\r\n", []),
    ],
)
def test_sentence_becomes_these_tokens(sentence, tokens):
    assert tokenize(sentence) == tokens


def test_fast_way_for_ascii_equals_general_way():
    ascii_characters = map(chr, range(128))
    for pair in itertools.product(ascii_characters, repeat=2):
        text = "x" + "".join(pair)
        runs = itertools.groupby(text.lower(), key=_kind)
        expected = ["".join(run) for kind, run in runs if kind != "space"]
        assert tokenize(text + " x.") == [*expected, "x"]


def test_frequent_words_come_first_and_equals_in_alphabetical_order():
    vocabulary = Vocabulary.from_captions(["b a c", "c b", "d"], min_count=1)
    assert vocabulary.words == ("<eos>", "<unk>", "b", "c", "a", "d")


def test_rare_words_are_unknown():
    vocabulary = Vocabulary.from_captions(["dog"] * 5 + ["cat"] * 4)
    assert vocabulary.words == ("<eos>", "<unk>", "dog")
    assert vocabulary.encode("Dog and cat.") == [2, 1, 1]


def test_decoding_stops_at_the_first_end():
    vocabulary = Vocabulary(["<eos>", "<unk>", "dog"])
    assert vocabulary.decode([2, 1, 0, 2]) == "dog <unk>"
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("token_id", [-1, 3])
def test_decoding_refuses_ids_that_are_no_words(token_id):
    with pytest.raises(ValueError, match=f"0 to 2, got {token_id}"):
        Vocabulary(["<eos>", "<unk>", "dog"]).decode([token_id])


def test_saved_vocabulary_is_the_loaded_one(tmp_path):
    path = tmp_path / "vocabulary.txt"
    vocabulary = Vocabulary(["<eos>", "<unk>", "caf\u00e9", "\U0001f436", "\u2028x".strip()])
    vocabulary.save(path)
    assert path.read_bytes().splitlines()[2] == "caf\u00e9".encode()
    assert Vocabulary.load(path).words == vocabulary.words
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.txt"]


def test_file_from_a_windows_editor_loads(tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(b"\xef\xbb\xbf<eos>\r\n<unk>\r\ndog\r\n")
    assert Vocabulary.load(path).words == ("<eos>", "<unk>", "dog")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["<unk>", "<eos>"], "begins with"),
        ([], "begins with"),
        (["<eos>", "<unk>", "dog", "cat", "dog"], "'dog' is word 2 and word 4"),
        (["<eos>", "<unk>", "a dog"], "word 2 .line 3 of a file. is 'a dog'"),
        (["<eos>", "<unk>", ""], "white space"),
    ],
)
def test_words_that_make_no_vocabulary_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(words)


def test_error_names_the_vocabulary_file(tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_text("dog\n")
    with pytest.raises(ValueError, match="vocabulary.txt: A vocabulary begins"):
        Vocabulary.load(path)


def test_one_string_is_not_several_captions():
    with pytest.raises(ValueError, match="several captions"):
        Vocabulary.from_captions("a dog")


ANIMALS = Vocabulary(["<eos>", "<unk>", "a", ",", "dog", "zebra", "child", "children", "bicycle"])


def test_unknown_words_are_listed_once_in_order_without_punctuation():
    sentence = "Zebras, a dog; two zebras & Café-goers!"
    assert ANIMALS.unknown_words(sentence) == ["zebras", "two", "café", "goers"]
    assert ANIMALS.unknown_words("A dog, a zebra.") == []


@pytest.mark.parametrize(
    ("word", "suggestions"),
    [
        ("zebras", ["zebra"]),
        ("Zebras", ["zebra"]),
        ("bycicle", ["bicycle"]),
        ("childs", ["child"]),  # "children" is much less similar
        ("submarine", []),
        ("eos", []),  # reserved words are no suggestions
    ],
)
def test_similar_words_are_suggested(word, suggestions):
    assert ANIMALS.similar(word) == suggestions


def test_of_equally_similar_words_the_frequent_one_comes_first():
    vocabulary = Vocabulary(["<eos>", "<unk>", *"abcdefgh", "boot", "boat"])
    assert vocabulary.similar("bot") == ["boot", "boat"]
    assert vocabulary.similar("bot", count=1) == ["boot"]


def test_vocabulary_without_words_suggests_none():
    assert Vocabulary(["<eos>", "<unk>", "!"]).similar("dog") == []


@pytest.mark.parametrize("sentence", ["", "  ", "...", "?!"])
def test_sentence_without_a_word_is_refused(sentence):
    with pytest.raises(ValueError, match="at least one word. Received"):
        ANIMALS.check_sentence(sentence)


def test_sentence_of_unknown_words_alone_is_refused_with_suggestions():
    with pytest.raises(ValueError, match="zebras; similar: zebra; unknown word: run"):
        ANIMALS.check_sentence("Zebras run, zebras.")
    ANIMALS.check_sentence("A zebra runs")  # one known word is enough


def test_len_and_membership_count_reserved_words():
    vocabulary = Vocabulary(["<eos>", "<unk>", "dog"])
    assert len(vocabulary) == 3
    assert "dog" in vocabulary and "<eos>" in vocabulary and "cat" not in vocabulary


def test_vocabulary_needs_only_the_standard_library():
    # -I -S: no site-packages, and no `zoo` either, whose front door imports keras.
    subprocess.run([sys.executable, "-I", "-S", zoo.text.vocabulary.__file__], check=True)
