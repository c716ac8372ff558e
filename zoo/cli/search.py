"""`lrcn search`: finds photographs by a sentence, or the sentence for a photograph."""

import collections
import functools
import hashlib
import json
import os
import pathlib
import sys
import time

from zoo.cli.arguments import CAPTIONER, positive
from zoo.cli.caption import find_pictures

MAX_NAMED = 10  # unknown words on stderr; JSON has all of them


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("search", help="find photographs by a sentence, or the other way round")
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("sentence", nargs="?", metavar="SENTENCE")
    p.add_argument("--images", nargs="+", metavar="DIR", help="files or folders to search in")
    p.add_argument("--image", metavar="PHOTO", help="find the sentence for a photograph")
    p.add_argument("--captions", metavar="FILE", help="sentences to search in, one a line")
    p.add_argument("--model", default=CAPTIONER, metavar="PRESET", help="name or folder")
    p.add_argument("--top", type=positive, default=5, metavar="N")
    p.add_argument("--index", metavar="FILE", help="where features are kept; default: your cache")
    p.add_argument("--json", action="store_true", help="for scripts")
    p.add_argument("--html", metavar="FILE", help="also write a page with the photographs")


def _check(parser, options):
    by_sentence = options.sentence is not None and options.images is not None
    by_image = options.image is not None and options.captions is not None
    given = (options.sentence, options.images, options.image, options.captions)
    if by_sentence == by_image or sum(value is not None for value in given) != 2:
        parser.error("expected either SENTENCE --images DIR, or --image PHOTO --captions FILE")


def run(options):
    """Prints what fits best."""
    search = search_images if options.sentence is not None else search_captions
    found = search(options)
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for result in found["results"]:
            print(f"{result['score']:8.2f}  {result.get('file') or result['sentence']}")
    if options.html:
        _write_page(found, options.html)
    return 0


def search_images(options):
    """Ranks photographs by how much likelier they make a sentence than others do.

    Returns:
        Dict for JSON: `sentence`, `results` with `file`, `score` and `log_prob`, best first,
        `unknown_words`, and what was done.

    Raises:
        ValueError: If the sentence has no word that the model knows, or no photograph can be read.
    """
    import numpy as np

    from zoo.data.features.photo_index import index_photos
    from zoo.presets import from_preset

    captioner = from_preset(options.model, "image_captioning")
    captioner.vocabulary.check_sentence(options.sentence)
    unknown_words = _name_unknown_words(captioner.vocabulary, [options.sentence])
    paths = list(dict.fromkeys(map(os.path.abspath, find_pictures(options.images))))
    index = index_photos(captioner.image_encoder, paths, options.index or _index_file(options))
    for path, reason in index.skipped.items():
        print(f"{path}: {reason}", file=sys.stderr)
    if not index.paths:
        raise ValueError(f"None of the {len(paths)} photographs can be read.")
    start = time.perf_counter()
    log_probs, scores, about = _score(captioner, index.features, [options.sentence])
    log_probs, scores = log_probs[:, 0], scores[:, 0]
    best = np.argsort(-scores, kind="stable")[: options.top]
    seconds = time.perf_counter() - start
    print(
        f"{len(index.paths)} photographs ({index.num_encoded} new or changed, {index.num_removed} "
        f"gone, {len(index.skipped)} unreadable), answered in {seconds:.1f} s. {about}",
        file=sys.stderr,
    )
    return {
        "sentence": options.sentence,
        "results": [
            {
                "file": index.paths[n],
                "score": float(scores[n]),
                "log_prob": float(log_probs[n]),
            }
            for n in best
        ],
        "unknown_words": unknown_words,
        "num_images": len(index.paths),
        "num_new": index.num_encoded,
        "num_removed": index.num_removed,
        "unreadable": index.skipped,
        "seconds": seconds,
        "prior": about,
    }


def search_captions(options):
    """Ranks sentences by how much likelier a photograph makes them than others do.

    Returns:
        Dict for JSON: `file`, `results` with `sentence`, `score` and `log_prob`, best first,
        `unknown_words`, and `left_out`, the lines without a word that the model knows.

    Raises:
        ValueError: If no sentence has a word that the model knows, or the photograph cannot be
            read.
    """
    import numpy as np

    from zoo.data.images.decode import explain, read_images
    from zoo.presets import from_preset

    captioner = from_preset(options.model, "image_captioning")
    sentences, left_out = _read_sentences(captioner.vocabulary, options.captions)
    unknown_words = _name_unknown_words(captioner.vocabulary, sentences)
    size = captioner.image_encoder.input_shape[1]
    images = [image for _, image in read_images([options.image], size).as_numpy_iterator()]
    if not images:
        raise ValueError(f"{options.image}: {explain(options.image)}")
    features = captioner.encode(np.stack(images))
    log_probs, scores, about = _score(captioner, features, sentences)
    log_probs, scores = log_probs[0], scores[0]
    print(f"{len(sentences)} sentences. {about}", file=sys.stderr)
    return {
        "file": options.image,
        "results": [
            {
                "sentence": sentences[n],
                "score": float(scores[n]),
                "log_prob": float(log_probs[n]),
            }
            for n in np.argsort(-scores, kind="stable")[: options.top]
        ],
        "unknown_words": unknown_words,
        "num_sentences": len(sentences),
        "left_out": left_out,
        "prior": about,
    }


def _read_sentences(vocabulary, path):
    """Reads the sentences of a file: those with a known word, and the lines without one."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    sentences = []
    left_out = []
    for line in dict.fromkeys(line.strip() for line in lines if line.strip()):
        try:
            vocabulary.check_sentence(line)
        except ValueError as error:
            reason = error
            left_out.append(line)
        else:
            sentences.append(line)
    if not sentences:
        example = f" {reason}" if left_out else ""
        raise ValueError(f"{path} holds no sentence to search in: expected one a line.{example}")
    if left_out:
        print(
            f"{len(left_out)} lines are left out, the first one {left_out[0]!r}: they have no word "
            "of the vocabulary.",
            file=sys.stderr,
        )
    return sentences, left_out


def _name_unknown_words(vocabulary, sentences):
    """Names the words that the vocabulary lacks on stderr, those of most sentences first.

    Returns:
        List for JSON, one dict a word: `word`, `num_sentences` with it, and `similar`, words of
        the vocabulary.
    """
    from zoo.text.vocabulary import describe_unknown_word

    counts = collections.Counter()
    num_sentences = 0
    for sentence in sentences:
        unknown = vocabulary.unknown_words(sentence)
        counts.update(unknown)
        num_sentences += bool(unknown)
    if len(sentences) > 1 and counts:
        print(
            f"{len(counts)} unknown words in {num_sentences} of {len(sentences)} sentences:",
            file=sys.stderr,
        )
    entries = [
        {"word": word, "num_sentences": count, "similar": vocabulary.similar(word)}
        for word, count in counts.most_common()
    ]
    for entry in entries[:MAX_NAMED]:
        print(describe_unknown_word(entry["word"], entry["similar"]), file=sys.stderr)
    if len(counts) > MAX_NAMED:
        print(f"... and {len(counts) - MAX_NAMED} more (--json lists them)", file=sys.stderr)
    return entries


def _score(captioner, features, sentences):
    """Log-probabilities and scores, each `(images, sentences)`, and a line about the prior."""
    import numpy as np

    from zoo.evaluation.retrieval import correct_by_prior
    from zoo.models.pair_scores import score_pairs

    prior = captioner.prior_features
    others = features[:0] if prior is None else prior
    log_probs = score_pairs(captioner, np.concatenate([features, others]), sentences)
    log_probs, others = np.split(log_probs, [len(features)])
    return log_probs, *correct_by_prior(log_probs, others)


def _index_file(options):
    """Where the features of these folders lie: one file for each choice of folders."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    named = "\0".join([options.model, *map(os.path.abspath, options.images)])
    digest = hashlib.sha256(os.fsencode(named)).hexdigest()[:32]
    return str(pathlib.Path(cache) / "lrcn" / f"index-{digest}.npz")


def _write_page(found, path):
    from zoo.visualization.gallery import Picture, write_gallery

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "sentence" in found:
        title, results = found["sentence"], found["results"]
        pictures = [
            Picture(result["file"], [f"{n}."], f"score {result['score']:.2f}")
            for n, result in enumerate(results, 1)
        ]
    else:
        title = "Sentences for a photograph"
        lines = [result["sentence"] for result in found["results"]]
        pictures = [Picture(found["file"], lines, found["prior"])]
    write_gallery(path, title, pictures)
    print(f"Page: {path.resolve()}", file=sys.stderr)
