"""Scores captions against references; reads and writes them in COCO's results format."""

import functools
import json
import unicodedata
from collections.abc import Mapping

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from zoo.evaluation import java_scorers
from zoo.files import write_json
from zoo.text.vocabulary import has_word

TOKENISATION = "lower-case words of letters, marks, digits and apostrophes; punctuation dropped"
RESULTS_FORMAT = 'expected COCO\'s results format: [{"image_id": 1, "caption": "a dog"}, ...]'


def score_captions(references, hypotheses):
    """Scores one caption an image against the image's references, with the official scorers.

    `bleu_1` to `bleu_4`, `cider` (CIDEr-D) and `rouge_l` see the words of `plain_words`: they are
    always there, and the same on every machine. `meteor` and `spice` see those words too, but
    need Java, and SPICE its model files on disk. `ptb_bleu_1` to `ptb_bleu_4`, `ptb_cider` and
    `ptb_rouge_l` see the words of COCO's own tokeniser (PTB), which needs Java as well. What
    cannot be computed is left out, never a reason to fail.

    BLEU is the corpus's, no mean over captions. CIDEr weighs words by how few of the *given*
    images have them: a subset scores differently, and a single image always scores 0. References
    without a letter or digit are passed over.

    Args:
        references: Dict from image id to the captions of the image, a list of strings.
        hypotheses: Dict from the same ids to one caption each, which may be empty.

    Returns:
        A flat dict: metric names to floats; `tokenisation`, the rule in words; and, where
        something was left out, `left_out`, one line that says what and why.

    Raises:
        ValueError: If the ids differ, an image has no reference, or a caption is no string.

    Source:
        pycocoevalcap, COCO's scorers; its `Cider` is CIDEr-D.
        https://github.com/salaniz/pycocoevalcap
    """
    references, hypotheses = _checked(references, hypotheses)
    words = _plain(references, hypotheses)
    scores = score_words(*words)

    def ptb_scores():
        ptb = score_words(*java_scorers.ptb_words(references, hypotheses))
        return {f"ptb_{name}": score for name, score in ptb.items()}

    left_out = {}  # reason -> names
    for name, compute in (
        ("meteor", lambda: {"meteor": java_scorers.meteor(*words)}),
        ("ptb_*", ptb_scores),
        ("spice", lambda: {"spice": java_scorers.spice(*words)}),
    ):
        try:
            scores |= compute()
        except java_scorers.JavaError as error:
            left_out.setdefault(str(error), []).append(name)
    scores["tokenisation"] = TOKENISATION
    if left_out:
        scores["left_out"] = "; ".join(f"{', '.join(n)}: {why}" for why, n in left_out.items())
    return scores


def per_caption_cider(references, hypotheses):
    """Gives every image's own CIDEr-D, to sort a gallery by; their mean is `cider`.

    Takes the arguments of `score_captions`, needs no Java, and raises the same errors.

    Returns:
        Dict from image id to a float, in the order of `references`.
    """
    references, hypotheses = _plain(*_checked(references, hypotheses))
    _, scores = Cider().compute_score(references, _in_lists(hypotheses))
    return dict(zip(references, map(float, scores), strict=True))


def exact_sentences(references, hypotheses):
    """Gives the share of captions that are, word for word, one of their references.

    >>> exact_sentences({1: ["A dog runs."], 2: ["two men"]}, {1: "a dog runs", 2: "a man"})
    0.5

    Takes the arguments of `score_captions`, and raises the same errors.
    """
    references, hypotheses = _plain(*_checked(references, hypotheses))
    return float(np.mean([hypotheses[key] in references[key] for key in references]))


def score_words(references, hypotheses):
    """Scores captions that are words already, joined by single spaces, without Java.

    >>> score_words({1: ["a dog runs"], 2: ["two men"]}, {1: "a dog", 2: "two men"})["bleu_1"]
    0.778...

    Args:
        references: Dict from image id to a list of captions, none of them empty.
        hypotheses: Dict from the same ids, in the same order, to one caption each.

    Returns:
        Dict with the floats `bleu_1` to `bleu_4`, `cider` and `rouge_l`.
    """
    hypotheses = _in_lists(hypotheses)
    bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
    cider, _ = Cider().compute_score(references, hypotheses)
    rouge_l, _ = Rouge().compute_score(references, hypotheses)
    scores = {f"bleu_{n}": float(score) for n, score in enumerate(bleu, start=1)}
    return {**scores, "cider": float(cider), "rouge_l": float(rouge_l)}


def plain_words(caption):
    """Gives the words of a caption in lower case, without punctuation, joined by single spaces.

    A word is a run of letters, marks, digits and apostrophes (`’` counts as `'`); everything else
    separates words, also in `3.5` and `t-shirt`. On ASCII this is what Keras's text filter
    keeps, the rule behind many published Flickr8k scores.

    >>> plain_words("A man's T-shirt: “Café 3.5”!")
    "a man's t shirt café 3 5"
    """
    caption = unicodedata.normalize("NFC", caption.lower())
    words = "".join(map(_word_character, caption)).split()
    # An emoji's invisible variation mark is no word.
    return " ".join(word for word in words if any(c.isalnum() or c == "'" for c in word))


def perplexity(log_probs, num_words):
    """Gives the perplexity per word: exp of minus the mean log-probability of a word.

    >>> round(perplexity([-2.0, -4.0], num_words=[1, 2]), 4)  # e squared
    7.3891

    Args:
        log_probs: Natural log-probability of each sentence, `(sentences,)`.
        num_words: Words in each sentence, `(sentences,)`; count `<eos>` where it was scored.

    Returns:
        A float, `inf` where a sentence is impossible.

    Raises:
        ValueError: If there is no sentence, the shapes differ, or a sentence has no word.
    """
    log_probs, num_words = np.asarray(log_probs, "float64"), np.asarray(num_words)
    if log_probs.shape != num_words.shape or num_words.size == 0 or np.min(num_words) < 1:
        raise ValueError(
            "Expected one log-probability and a number of words, 1 or more, for each sentence. "
            f"Received log_probs of shape {log_probs.shape} and num_words of shape "
            f"{num_words.shape}" + (f", least {np.min(num_words)}." if num_words.size else ".")
        )
    with np.errstate(over="ignore"):
        return float(np.exp(-log_probs.sum() / num_words.sum()))


def read_results(path):
    """Reads captions in COCO's results format, `[{"image_id": 1, "caption": "a dog"}, ...]`.

    Returns:
        Dict from image id, an int or a string, to the caption.

    Raises:
        ValueError: If the file has another format or an image twice; it names file and entry.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            entries = json.load(file)
        except ValueError as error:  # no JSON, or no UTF-8
            raise ValueError(f"{path}: {RESULTS_FORMAT}. It is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: {RESULTS_FORMAT}. Received a {type(entries).__name__}.")
    results = {}
    for number, entry in enumerate(entries):
        if not (
            isinstance(entry, dict)
            and type(entry.get("image_id")) in (int, str)
            and isinstance(entry.get("caption"), str)
        ):
            raise ValueError(f"{path}: {RESULTS_FORMAT}. Entry {number} is {_short(entry)}.")
        if entry["image_id"] in results:
            raise ValueError(
                f"{path}: expected one caption an image, but entry {number} is another one for "
                f"image_id {entry['image_id']!r}. Leave one of them."
            )
        results[entry["image_id"]] = entry["caption"]
    return results


def write_results(path, hypotheses):
    """Writes a dict from image id to caption in COCO's results format, at once or not at all."""
    entries = [{"image_id": key, "caption": caption} for key, caption in hypotheses.items()]
    write_json(path, entries)


@functools.cache
def _word_character(character):
    if character in "'’":
        return "'"
    return character if unicodedata.category(character)[0] in "LMN" else " "


def _plain(references, hypotheses):
    return (
        {key: [plain_words(caption) for caption in references[key]] for key in references},
        {key: plain_words(hypotheses[key]) for key in references},
    )


def _in_lists(hypotheses):
    return {key: [caption] for key, caption in hypotheses.items()}


def _checked(references, hypotheses):
    """Gives both, in the order of `references`, without wordless references; or says no."""
    for name, value in (("references", references), ("hypotheses", hypotheses)):
        if not isinstance(value, Mapping):
            raise ValueError(
                f"Expected `{name}` to be a dict keyed by image id. Received {_short(value)}."
            )
    without_hypothesis = [key for key in references if key not in hypotheses]
    without_reference = [key for key in hypotheses if key not in references]
    if without_hypothesis or without_reference or not references:
        raise ValueError(
            "Expected references and one hypothesis for each image, under the same ids (1 and "
            f"'1' are two). Of {len(references)} images with references "
            f"{len(without_hypothesis)} have no hypothesis: {_short(without_hypothesis)}; of "
            f"{len(hypotheses)} with a hypothesis {len(without_reference)} have no references: "
            f"{_short(without_reference)}. Caption the former, drop the latter."
        )
    kept = {}
    for key, captions in references.items():
        if not isinstance(captions, list | tuple) or not all(isinstance(c, str) for c in captions):
            raise ValueError(
                f"Expected the references of image {key!r} to be a list of strings. "
                f"Received {_short(captions)}."
            )
        if not isinstance(hypotheses[key], str):
            raise ValueError(
                f"Expected the hypothesis of image {key!r} to be one string. "
                f"Received {_short(hypotheses[key])}."
            )
        kept[key] = [caption for caption in captions if has_word(caption)]
        if not kept[key]:
            raise ValueError(
                f"Expected at least one reference with a word in it for image {key!r}. "
                f"Received {_short(captions)}. Leave the image out of both dicts."
            )
    return kept, {key: hypotheses[key] for key in references}


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:76] + " ..."
