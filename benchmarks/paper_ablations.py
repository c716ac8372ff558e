"""Repeats the ablations of the paper's tables 5 and 6 in kind, on smaller data sets.

    python benchmarks/paper_ablations.py --data flickr8k=DIR --data own=captions.json --runs runs

Trains a captioner for every variant with recipes/image_captioning.py, scores its captions with
every way of decoding, and ranks images and sentences with recipes/image_retrieval.py. Prints one
table. A run that was stopped is resumed by the same command. Takes hours on two cores.

Source: Donahue et al., 2015, section 5.1 and 5.2. https://arxiv.org/abs/1411.4389
"""

import argparse
import json
import pathlib
import subprocess
import sys
from typing import NamedTuple

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"
EPOCHS = 6
FINE_TUNE_EPOCHS = 2
DECODINGS = {
    "beam 1": ["--beam", "1"],
    "beam 5": ["--beam", "5"],
    "beam 10": ["--beam", "10"],
    "100 samples": ["--samples", "100"],
}
RETRIEVAL_IMAGES = 200  # of each data set


class Variant(NamedTuple):
    """A network of the ablation.

    Attributes:
        layers: `"1u"`, `"2u"`, `"2f"` or `"4f"`.
        unit: `"lstm"` or `"rnn"`.
        fine_tuned: Whether the CNN is trained, too.
    """

    layers: str
    unit: str = "lstm"
    fine_tuned: bool = False

    @property
    def name(self):
        """Name of the run's folder."""
        return f"{self.unit}-{self.layers}{'-fine-tuned' if self.fine_tuned else ''}"


VARIANTS = (
    Variant("2f", "rnn"),
    Variant("2f"),
    Variant("1u"),
    Variant("2u"),
    Variant("4f"),
    Variant("2f", fine_tuned=True),
)


def main(arguments=None):
    """Trains, scores and prints the table."""
    parser = argparse.ArgumentParser(description="Repeats the paper's ablations.")
    parser.add_argument("--data", required=True, action="append", metavar="NAME=PATH")
    parser.add_argument("--runs", required=True, type=pathlib.Path, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--max-images", type=int, help="images of each split, for a trial")
    options = parser.parse_args(arguments)
    rows = []
    for variant in VARIANTS:
        run = options.runs / variant.name
        train(variant, run, options)
        recall = rank(run, options)
        for name, flags in DECODINGS.items():
            scores = evaluate(run, name, flags, options)
            rows.append((variant, name, scores, recall))
            print_table(rows)


def source_flags(options):
    """Returns the flags that name the data sets."""
    return [text for source in options.data for text in ("--data", source)]


def data_flags(options):
    """Returns the flags that name the data sets and limit their images."""
    limit = ["--max-images", str(options.max_images)] if options.max_images else []
    return [*source_flags(options), *limit]


def train(variant, run, options):
    """Trains one variant: the decoder, and with `fine_tuned` the CNN."""
    flags = ["--variant", variant.layers, "--unit", variant.unit, "--batch-size", "128"]
    flags += ["--epochs", str(options.epochs), "--cider-epochs", "0"]
    flags += ["--fine-tune-epochs", str(FINE_TUNE_EPOCHS if variant.fine_tuned else 0)]
    flags += ["--precision", options.precision, "--cache", str(options.runs / "features")]
    if not (run / "metrics.json").exists():
        run_recipe("image_captioning.py", "train", *data_flags(options), *flags, "--run", str(run))


def evaluate(run, name, flags, options):
    """Returns the mean scores over the dev sets for one way of decoding."""
    out = run / f"{name.replace(' ', '-')}.json"
    if not out.exists():
        common = ["--model", str(run), "--out", str(out), "--length-penalty", "0"]
        run_recipe("image_captioning.py", "evaluate", *data_flags(options), *common, *flags)
    return json.loads(out.read_text(encoding="utf-8"))


def rank(run, options):
    """Returns recall and median ranks of retrieval among dev images, both ways."""
    out = run / "retrieval.json"
    if not out.exists():
        count = str(min(options.max_images or RETRIEVAL_IMAGES, RETRIEVAL_IMAGES))
        common = ["--model", str(run), "--num-images", count, "--out", str(out)]
        run_recipe("image_retrieval.py", "evaluate", *source_flags(options), *common)
    return json.loads(out.read_text(encoding="utf-8"))


def run_recipe(recipe, *arguments):
    """Runs a recipe in a process of its own; its output is shown."""
    command = [sys.executable, str(RECIPES / recipe), *arguments]
    subprocess.run(command, check=True)


def print_table(rows):
    """Prints the scores in Markdown."""
    print("\n| unit | layers | CNN | decoding | BLEU-4 | CIDEr | R@10 images | R@10 sentences |")
    print("|---|---|---|---|---|---|---|---|")
    for variant, decoding, scores, recall in rows:
        cnn = "fine-tuned" if variant.fine_tuned else "frozen"
        to_image = recall["text_to_image_recall_at_10"]
        to_sentence = recall["image_to_text_recall_at_10"]
        print(
            f"| {variant.unit} | {variant.layers} | {cnn} | {decoding} | {scores['bleu_4']:.3f} | "
            f"{scores['cider']:.3f} | {to_image:.3f} | {to_sentence:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
