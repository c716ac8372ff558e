"""Evaluates and exports a captioner that ranks: images for a sentence, sentences for an image.

    python recipes/image_retrieval.py evaluate --model runs/flickr8k --data flickr8k=DIR \
        --split dev --out metrics.json
    python recipes/image_retrieval.py export --model runs/flickr8k --saved-models saved_models

There is nothing to train: recipes/image_captioning.py trains the model. A sentence is ranked by its
log-probability for an image, less the log of its mean probability over other images.

Source: Donahue et al., 2015, section 5.1. https://arxiv.org/abs/1411.4389
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what goes wrong arrives as an exception

import numpy as np
from tqdm import tqdm

from zoo import training
from zoo.data import datasets
from zoo.data.features.photographs import JoinedPhotographs, Photographs
from zoo.evaluation.retrieval import correct_by_prior, evaluate_folds
from zoo.evaluation.retrieval import evaluate as count_hits
from zoo.files import write_json
from zoo.models.pair_scores import score_pairs
from zoo.presets import from_run
from zoo.serving.export import export_preset
from zoo.visualization.gallery import Picture, write_gallery

QUERIES = 10  # shown on the page, each way
ANSWERS = 5  # shown for a query


def main(arguments=None):
    """Runs the command line."""
    training.run_command(parse(arguments))


def evaluate(options):
    """Ranks all images of a split for each sentence, all sentences for each image."""
    splits = datasets.read_sources(options.data, options.split, options.num_images)
    captioner = from_run(options.model, "image_captioning")
    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    # A run's images lie encoded beside it.
    beside = options.model if pathlib.Path(options.model, "model").exists() else out
    cache = options.cache or pathlib.Path(beside).parent / "features"
    encoder = captioner.image_encoder
    photos = JoinedPhotographs({n: Photographs(e, encoder, cache) for n, e in splits.items()})
    if photos.skipped:
        print(photos.skipped_line(), file=sys.stderr)
    counts = [min(len(example.captions), options.captions) for example in photos.examples]
    sentence_image = np.repeat(np.arange(len(counts)), counts)
    sentences = [c for e in photos.examples for c in e.captions[: options.captions]]

    def score(features, name):
        with tqdm(total=len(features), unit=" images", desc=name) as bar:
            return score_pairs(
                captioner,
                features,
                sentences,
                end=options.end,
                path=str(out.with_name(f"{out.stem}-{name}.npy")),
                progress=lambda share: bar.update(round(share * len(features)) - bar.n),
            )

    scores = log_probs = score(photos.features[:, 0], "candidates")
    if options.prior:
        prior = captioner.prior_features
        others = None if prior is None else score(prior, "prior")
        scores, about = correct_by_prior(log_probs, others)
        print(about, file=sys.stderr)
    if options.folds > 1:
        metrics = evaluate_folds(scores, sentence_image, options.folds)
    else:
        metrics = count_hits(scores, sentence_image)
    write_json(out, metrics)
    write_page(out.with_suffix(".html"), photos, sentences, sentence_image, scores)
    print(json.dumps(metrics, indent=1))


def write_page(path, photos, sentences, sentence_image, scores):
    """Shows some queries with their first answers."""
    pictures = []
    for image in _spread(len(photos.paths)):
        first = np.argsort(-scores[image], kind="stable")[:ANSWERS]
        lines = [f"{'✓' if sentence_image[n] == image else '✗'} {sentences[n]}" for n in first]
        pictures.append(Picture(photos.paths[image], lines, "its first sentences"))
    for n in _spread(len(sentences)):
        for place, image in enumerate(np.argsort(-scores[:, n], kind="stable")[:ANSWERS], 1):
            mark = "✓" if sentence_image[n] == image else "✗"
            pictures.append(Picture(photos.paths[image], [sentences[n]], f"{mark} answer {place}"))
    write_gallery(path, "Images for sentences, sentences for images", pictures)


def _spread(count):
    return np.linspace(0, count - 1, min(count, QUERIES)).round().astype(int)


def export(options):
    """Writes a trained model as a SavedModel for a TensorFlow model server."""
    name = options.name
    print(export_preset(options.model, options.saved_models, name, for_retrieval=True))


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)

    p = commands.add_parser("evaluate", help="rank a split and count the hits")
    p.set_defaults(command=evaluate)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    training.add_sources(p, datasets.parse_source, datasets.READERS)
    p.add_argument("--split", default="dev", choices=["train", "dev", "val", "test"])
    p.add_argument("--num-images", type=int, metavar="N", help="the first N of each; default: all")
    p.add_argument("--captions", type=int, default=5, metavar="N", help="of an image; default: 5")
    p.add_argument("--folds", type=int, default=1, metavar="N", help="5 for COCO's 1k: their mean")
    p.add_argument(
        "--prior",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="correct by how likely a sentence is for any image",
    )
    p.add_argument(
        "--end",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="whether a sentence's end counts; authors: no",
    )
    p.add_argument("--cache", help="folder of features; default: beside the run")
    p.add_argument("--out", required=True, metavar="metrics.json")

    p = commands.add_parser("export", help="write a SavedModel for a model server")
    p.set_defaults(command=export)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    p.add_argument("--saved-models", required=True, metavar="DIR", help="of all served models")
    p.add_argument("--name", help="what clients ask for; default: lrcn_retrieval")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
