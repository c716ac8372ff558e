"""Words and their ids: the tokenisation rule, and the vocabulary file with one word a line."""

import collections
import difflib
import functools
import itertools
import math
import pathlib
import re
import unicodedata

EOS = 0  # "<eos>": ends a sentence, begins it, and fills up short ones
UNKNOWN = 1  # "<unk>": stands for every word that is not in the vocabulary
RESERVED = ("<eos>", "<unk>")

MIN_SIMILARITY = 0.7  # of two words, a ratio of `difflib`; 1 for equal words
MAX_SIMILARITY_GAP = 0.1  # a suggestion may be less similar than the best one by this much
RARITY_PENALTY = 0.05  # in similarity, for a word that is ten places further down the list

_ASCII_TOKEN = re.compile(r"\w+|[^\w\s]+")


def has_word(caption):
    """Says whether a caption has a letter or digit; one without is of use nowhere."""
    return any(map(str.isalnum, caption))


def tokenize(sentence):
    """Splits a sentence into lower-case words and punctuation marks.

    Runs of word characters (Unicode letters, marks, digits and `_`) are tokens, and so are runs
    of other characters that are not white space. A full stop that ends the sentence is dropped.

    Args:
        sentence: A string.

    Returns:
        A list of strings.

    Example:
        >>> tokenize("A man's dog, aged 3.5, ran away.")
        ['a', 'man', "'", 's', 'dog', ',', 'aged', '3', '.', '5', ',', 'ran', 'away']

    Source:
        The rule of `coco_to_hdf5_data.py` in https://github.com/jeffdonahue/caffe (branch
        recurrent), which knew ASCII letters only.
    """
    if sentence.isascii():  # nearly every English caption, and much faster than the general way
        tokens = _ASCII_TOKEN.findall(sentence.lower())
    else:
        sentence = unicodedata.normalize("NFC", sentence).lower()
        runs = itertools.groupby(sentence, key=_kind)
        tokens = ["".join(characters) for kind, characters in runs if kind != "space"]
    if tokens and tokens[-1] == ".":
        tokens.pop()
    return tokens


@functools.lru_cache(maxsize=4096)
def _kind(character):
    if character.isspace():
        return "space"
    if character == "_" or unicodedata.category(character)[0] in "LMN":
        return "word"
    return "other"


def describe_unknown_word(word, similar):
    """Returns a message about a word that a vocabulary lacks.

    >>> describe_unknown_word("zebras", ["zebra"])
    'unknown word: zebras; similar: zebra'

    Args:
        word: A string.
        similar: List of words of the vocabulary that are spelled like it; it may be empty.
    """
    return f"unknown word: {word}" + (f"; similar: {', '.join(similar)}" if similar else "")


class Vocabulary:
    """The words a model knows: a word's id is its place in the list.

    Args:
        words: Iterable of strings; the first two are `"<eos>"` and `"<unk>"`.

    Raises:
        ValueError: If the first two words are others, if a word appears twice, or if one is
            empty or has white space in it (the file holds one word a line).

    Example:
        >>> vocabulary = Vocabulary(["<eos>", "<unk>", "a", "man", "rides", "horse"])
        >>> vocabulary.encode("A man rides a zebra.")
        [2, 3, 4, 2, 1]
        >>> vocabulary.decode([2, 3, 4, 2, 5, 0, 0])
        'a man rides a horse'
    """

    def __init__(self, words):
        self.words = tuple(words)
        if self.words[:2] != RESERVED:
            raise ValueError(
                f'A vocabulary begins with the words "<eos>" and "<unk>", this one with '
                f"{list(self.words[:2])}. Build it with `Vocabulary.from_captions(captions)`, or "
                f"put these two words on the first two lines of the file."
            )
        self._ids = {}
        for word_id, word in enumerate(self.words):
            if word.split() != [word]:
                raise ValueError(
                    f"A word of a vocabulary is one run of characters without white space; word "
                    f"{word_id} (line {word_id + 1} of a file) is {word!r}. Remove or mend it."
                )
            if word in self._ids:
                raise ValueError(
                    f"Each word of a vocabulary appears once; {word!r} is word {self._ids[word]} "
                    f"and word {word_id} (line {word_id + 1} of a file). Remove one of them."
                )
            self._ids[word] = word_id

    @classmethod
    def from_captions(cls, captions, min_count=5, base=None):
        """Collects the words of captions, the most frequent first.

        Give it the captions of the training split alone: a vocabulary that has seen the test
        captions makes the test easier than life.

        Args:
            captions: Iterable of sentences.
            min_count: Words that appear less often are left out and become `"<unk>"`.
            base: A `Vocabulary` whose words come first and keep their ids, however often they
                appear; or None.

        Returns:
            A `Vocabulary`. Words of equal count are in alphabetical order.

        Example:
            >>> Vocabulary.from_captions(["a dog", "a cat", "the dog"], min_count=1).words
            ('<eos>', '<unk>', 'a', 'dog', 'cat', 'the')
        """
        if isinstance(captions, str):
            raise ValueError(f"Expected several captions, got the one string {captions!r:.80}.")
        counts = collections.Counter(itertools.chain.from_iterable(map(tokenize, captions)))
        first = RESERVED if base is None else base.words
        known = set(first)
        kept = [word for word, n in counts.items() if n >= min_count and word not in known]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls([*first, *kept])

    @classmethod
    def load(cls, path):
        """Reads a vocabulary from a file with one word a line."""
        return cls._load(path, list)

    @classmethod
    def load_authors(cls, path):
        """Reads the vocabulary of the authors' captioners, or one of ours.

        Theirs begins with `<unk>`: the end of a sentence has id 0 and no line. They cut sentences
        at runs of characters that are no word's, so that a "word" may have white space in it, such
        as `, "`, which becomes `_` here.
        """

        def arrange(lines):
            first = RESERVED[:1] if lines[0] == RESERVED[1] else ()
            return ["_".join(line.split()) for line in (*first, *lines)]

        return cls._load(path, arrange)

    @classmethod
    def _load(cls, path, arrange):
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8-sig")
            return cls(arrange(text.removesuffix("\n").split("\n")))
        except ValueError as error:  # no UTF-8, or no vocabulary
            raise ValueError(f"{path}: {error}") from error

    def save(self, path):
        """Writes the vocabulary as UTF-8 text: one word a line, word 0 on the first."""
        from zoo.files import aside  # only here: the module needs nothing but the standard library

        with aside(path) as part, open(part, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{word}\n" for word in self.words)

    def encode(self, sentence):
        """Returns the ids of the words of a sentence, without an `"<eos>"` at the end."""
        return [self._ids.get(word, UNKNOWN) for word in tokenize(sentence)]

    def unknown_words(self, sentence):
        """Lists the words of a sentence that the vocabulary lacks.

        Punctuation marks are not words and are not listed.

        Args:
            sentence: A string.

        Returns:
            A list of strings in the order of the sentence, each once.

        Example:
            >>> vocabulary = Vocabulary(["<eos>", "<unk>", "a", "zebra"])
            >>> vocabulary.unknown_words("Zebras, a zebra, zebras and giraffes!")
            ['zebras', 'and', 'giraffes']
        """
        unknown = (word for word in tokenize(sentence) if has_word(word) and word not in self)
        return list(dict.fromkeys(unknown))

    def check_sentence(self, sentence):
        """Refuses a sentence that says nothing to a model with this vocabulary.

        Args:
            sentence: A string.

        Raises:
            ValueError: If the sentence has no word, or only words that the vocabulary lacks.
        """
        words = [word for word in tokenize(sentence) if has_word(word)]
        if not words:
            raise ValueError(f"Expected a sentence with at least one word. Received: {sentence!r}")
        unknown = self.unknown_words(sentence)
        if len(set(words)) > len(unknown):
            return
        named = "; ".join(describe_unknown_word(word, self.similar(word)) for word in unknown)
        raise ValueError(
            f"Expected a sentence with at least one word of the vocabulary. "
            f"Received: {sentence!r} ({named}). Use other words."
        )

    def similar(self, word, count=3):
        """Suggests words of the vocabulary that are spelled like a word.

        Words that are as similar are listed by their place in the vocabulary, which
        `from_captions` sorts by frequency: the more frequent word comes first.

        Args:
            word: A string.
            count: Most words to return.

        Returns:
            A list of strings, the best first. Empty if no word is similar.

        Example:
            >>> vocabulary = Vocabulary(["<eos>", "<unk>", "zebra", "horse", "bra"])
            >>> vocabulary.similar("zebras")
            ['zebra']
        """
        words = [known for known in self.words[len(RESERVED) :] if has_word(known)]
        close = difflib.get_close_matches(
            word.lower(), words, n=len(words) or 1, cutoff=MIN_SIMILARITY
        )
        ratios = {
            known: difflib.SequenceMatcher(None, known, word.lower()).ratio() for known in close
        }
        best = max(ratios.values(), default=0.0)

        def rank(known):
            return ratios[known] - RARITY_PENALTY * math.log10(self._ids[known])

        kept = [known for known, ratio in ratios.items() if ratio >= best - MAX_SIMILARITY_GAP]
        return sorted(kept, key=rank, reverse=True)[:count]

    def decode(self, ids):
        """Returns the sentence that token ids stand for, up to the first `"<eos>"`.

        Args:
            ids: Iterable of integers.

        Raises:
            ValueError: If an id is not a word of this vocabulary.
        """
        words = []
        for token_id in map(int, ids):
            if not 0 <= token_id < len(self.words):
                raise ValueError(
                    f"Token ids of this vocabulary are 0 to {len(self.words) - 1}, got {token_id}. "
                    f"Was the model trained with another vocabulary?"
                )
            if token_id == EOS:
                break
            words.append(self.words[token_id])
        return " ".join(words)

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self._ids
