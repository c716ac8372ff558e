"""Scores all pairs of images and sentences, and each pair through the whole model beside it.

    python benchmarks/retrieval.py [--captions FILE]        # or: make bench

Both sides get the features of the preset's 200 images, so no CNN runs, and the same sentences:
drawn from the model itself at temperature 1, five an image, or those of a file. First both have
to give the same scores; then they take turns. Exit code 1 if all pairs at once are less than
`FASTER` times as fast, or if 1,000 images and 5,000 sentences would take more than an hour.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from tqdm import tqdm

from zoo.decoding import Sampling
from zoo.files import write_json
from zoo.models.pair_scores import score_pairs
from zoo.presets import from_preset
from zoo.text.vocabulary import has_word

MODEL = "lrcn_captioner_efficientnet_lite0_flickr8k"
FASTER, LONGEST = 3.0, 3600.0  # the least, and seconds
TOLERANCE = 1e-4
ROUNDS = 3
PAIRS = (32, 256)  # images and sentences of a round
LARGE = (1000, 5000)  # of which the time is worked out
PACKAGES = ("tensorflow", "keras", "numpy")


def main(arguments=None):
    """Runs both ways and prints a table."""
    parser = argparse.ArgumentParser(description="Times the scoring of all pairs.")
    parser.add_argument("--model", default=MODEL, metavar="PRESET", help="name or folder")
    parser.add_argument("--captions", metavar="FILE", help="sentences, one a line")
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    captioner = from_preset(options.model)
    features = captioner.prior_features
    if options.captions:
        lines = pathlib.Path(options.captions).read_text(encoding="utf-8").splitlines()
        sentences = [line for line in lines if has_word(line)]
    else:
        sentences = draw_sentences(captioner, features)
    figures = compare(captioner, features, sentences)
    print_table(figures)
    if options.json:
        write_json(options.json, figures)
    sys.exit("\n".join(problems(figures)) or 0)


def draw_sentences(captioner, features):
    """Five sentences of each image, drawn at temperature 1; distinct ones only."""
    sampler = Sampling(num_samples=5, n_best=5)
    drawn = captioner.generate(features, sampler, seed=1).token_ids
    written = [captioner.vocabulary.decode(ids) for row in drawn for ids in row]
    return [sentence for sentence in dict.fromkeys(written) if has_word(sentence)]


def compare(captioner, features, sentences):
    """Times both ways on the same pairs, in turns, and ours on all that there are.

    Returns:
        Dict for JSON: `difference`, the largest one of scores; `at_once` and `by_pair`, pairs a
        second of each round; `large_seconds`, worked out.
    """
    images, some = features[: PAIRS[0]], sentences[: PAIRS[1]]

    def by_pair():
        rows = [captioner.score(np.tile(x, (len(some), 1)), some)[0] for x in images]
        return np.stack(rows)

    def at_once():
        return score_pairs(captioner, images, some)

    pairs, seconds, scores = len(images) * len(some), {"at_once": [], "by_pair": []}, {}
    for run in tqdm(range(ROUNDS + 1), unit=" rounds"):
        for name, way in (("at_once", at_once), ("by_pair", by_pair)):
            start = time.perf_counter()
            scores[name] = way()
            if run:  # the first one traces
                seconds[name].append(time.perf_counter() - start)
    start = time.perf_counter()
    score_pairs(captioner, features, sentences)
    rate = len(features) * len(sentences) / (time.perf_counter() - start)
    return {
        "difference": float(np.abs(scores["at_once"] - scores["by_pair"]).max()),
        "num_images": len(features),
        "num_sentences": len(sentences),
        **{name: [pairs / s for s in values] for name, values in seconds.items()},
        "all_pairs_per_second": rate,
        "large_seconds": LARGE[0] * LARGE[1] / rate,
    }


def problems(figures):
    """List of lines; none if all is well."""
    found, ratio = [], np.median(figures["at_once"]) / np.median(figures["by_pair"])
    if figures["difference"] > TOLERANCE:
        found.append(f"the scores differ by {figures['difference']:.2g}")
    if ratio < FASTER:
        found.append(f"{ratio:.2f} times as fast, expected {FASTER}")
    if figures["large_seconds"] > LONGEST:
        found.append(f"{LARGE} would take {figures['large_seconds']:.0f} s")
    return found


def print_table(figures):
    """Prints pairs a second of both ways, and what they ran on."""
    at_once, by_pair = np.median(figures["at_once"]), np.median(figures["by_pair"])
    print(f"\n| {PAIRS[0]} images x {PAIRS[1]} sentences | pairs/s, median of {ROUNDS} | |")
    print("|---|---|---|")
    print(f"| each pair through the model | {by_pair:.0f} | 1 |")
    print(f"| all pairs at once | {at_once:.0f} | {at_once / by_pair:.1f} |")
    print(
        f"\nScores differ by {figures['difference']:.1g} at most. {figures['num_images']} images x "
        f"{figures['num_sentences']} sentences: {figures['all_pairs_per_second']:.0f} pairs/s, so "
        f"{LARGE[0]} x {LARGE[1]} take {figures['large_seconds'] / 60:.0f} minutes."
    )
    versions = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}")
    print(json.dumps({name: figures[name] for name in ("at_once", "by_pair")}))


if __name__ == "__main__":
    main()
