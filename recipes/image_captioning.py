"""Trains, evaluates and exports the LRCN that describes photographs.

    python recipes/image_captioning.py train --dataset flickr8k --data DIR --run runs/flickr8k
    python recipes/image_captioning.py evaluate --model runs/flickr8k --dataset flickr8k \
        --data DIR --split dev --out metrics.json
    python recipes/image_captioning.py confidence --model runs/flickr8k --data flickr8k=DIR \
        --out confidence.json
    python recipes/image_captioning.py export --model runs/flickr8k --saved-models saved_models

Stage 1 trains the decoder on features of the frozen CNN, stage 2 fine-tunes the whole network at
a lower rate, stage 3 trains the decoder on the CIDEr of sentences that it draws itself. A killed
run goes on where it was when the same command is given again.

Source: Donahue et al., 2015, section 5. https://arxiv.org/abs/1411.4389
"""

import argparse
import functools
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what goes wrong arrives as an exception

import keras
import numpy as np

import zoo
from zoo import training
from zoo.data import datasets
from zoo.data.batches import feature_batches, image_batches, sampling_batches
from zoo.data.photographs import Photographs
from zoo.data.records import encode_images
from zoo.decoding import Constraints, Sampling
from zoo.evaluation.captions import read_results
from zoo.models.backbones import efficientnet_lite0, vgg16
from zoo.presets import from_preset, from_run, save_confidence, save_to_preset
from zoo.serving.export import export_preset
from zoo.training.cider import CiderTraining, caption_reward
from zoo.training.confidence import THRESHOLD, fit_confidence, write_confidence_report
from zoo.training.curves import draw_curves
from zoo.training.report import evaluate_captioner, generated_cider, write_report
from zoo.training.resume import fit_stage, keep_settings
from zoo.training.whole_batch import SGD, StepCrossEntropy, cosine_adam
from zoo.training.workers import is_chief, run_folder
from zoo.vocabulary import UNKNOWN, Vocabulary, has_word

ENCODERS = {
    "efficientnet_lite0": efficientnet_lite0,
    "vgg16": functools.partial(vgg16, features="fc8", weights="imagenet"),
}
MAX_WORDS = 20  # words of a caption that are trained on; authors' code
MIN_COUNT = 5  # a rarer word is <unk>; authors' code
VIEWS = ("full", "mirror")  # of a training image, in stages 1 and 3
# When a run goes on.
MAY_CHANGE = ("command", "run", "checkpoint_seconds", "cache", "data", "data_service")
TERMS = {  # under which the weights may be used, as far as the data are concerned
    "flickr8k": "Flickr8k (Hodosh, Young, Hockenmaier, 2013): research and education.",
    "flickr30k": "Flickr30k (Young et al., 2014): research and education.",
    "coco2014": "COCO's captions: CC BY 4.0; the photographs: Flickr's terms of use.",
    "coco2017": "COCO's captions: CC BY 4.0; the photographs: Flickr's terms of use.",
}
PRIOR_IMAGES = 200  # training images, with which retrieval corrects what sentences are common
SAMPLES = 5  # sentences drawn an image in stage 3
PAPER = {  # the authors' solvers; their per-layer rates have no counterpart here
    "embedding_dim": 1000,
    "lstm_units": 1000,
    "projection_dim": 0,
    "dropout": 0.0,
    "batch_size": 100,
    "epochs": 27,  # 110,000 steps on COCO
    "learning_rate": 0.01,
    "fine_tune_epochs": 12,  # 50,000 steps
    "fine_tune_rate": 0.001,
    "cider_epochs": 0,
}


def main(arguments=None):
    """Runs the command line."""
    training.run_command(parse(arguments))


def train(options):
    """Trains in three stages and leaves a preset in the run's folder."""
    strategy = training.distribution(options.strategy)  # before there is any tensor
    with run_folder(strategy, options.run) as run:
        train_on(strategy, options, run)


def train_on(strategy, options, run):
    """Trains in the scope of a strategy; of several workers, the chief writes and scores."""
    train_examples, dev_examples = read_split(options, "train"), read_split(options, "dev")
    # Captions in stage 1, a quarter as many images in stage 2.
    training.check_batch_size(options.batch_size, strategy.num_replicas_in_sync, unit=4)
    keras.config.set_dtype_policy(options.precision)
    keras.utils.set_random_seed(options.seed)
    with strategy.scope():
        encoder = training.load_encoder(options.encoder, ENCODERS)
    run.mkdir(parents=True, exist_ok=True)
    keep_settings(run / "settings.json", vars(options), MAY_CHANGE, strategy)
    cache = options.cache or pathlib.Path(options.run).parent / "features"

    seen = photographs(train_examples, encoder, cache, VIEWS)
    held_out = photographs(dev_examples, encoder, cache)
    vocabulary = Vocabulary.from_captions(seen.captions, MIN_COUNT)
    token_ids, image_index = seen.encode_captions(vocabulary, MAX_WORDS)
    # Batches already seen can be skipped only among the same images and captions.
    keep_settings(run / "data.json", {"images and captions": seen.digest()}, strategy=strategy)
    print(f"{len(seen.paths)} images, {len(token_ids)} captions, {len(vocabulary)} words")

    with strategy.scope():
        captioner = zoo.lrcn_captioner(
            encoder,
            len(vocabulary),
            variant=options.variant,
            unit=options.unit,
            embedding_dim=options.embedding_dim,
            lstm_units=options.lstm_units,
            projection_dim=options.projection_dim,
            dropout=options.dropout,
        )
    captioner.vocabulary = vocabulary
    if not options.paper:
        captioner.standardize(seen.features[:, 0])

    fit = functools.partial(
        fit_stage, run, patience=options.patience, seconds=options.checkpoint_seconds
    )

    def val_cider():
        return {"val_cider": generated_cider(captioner, held_out)}

    # Stage 1: the decoder, on features that the frozen encoder gives once.
    encoder.trainable = False
    steps = -(-len(token_ids) // options.batch_size)
    with strategy.scope():
        model = captioner.on_features()
        compile_teaching(model, options, options.learning_rate, steps * options.epochs, 10.0)
    batches = functools.partial(
        feature_batches, seen.features, image_index, token_ids, options.batch_size, options.seed
    )
    best = fit("stage1", model, batches, options.epochs, val_cider)

    # Stage 2: the whole network, at a lower rate. Batch statistics stay ImageNet's.
    if options.fine_tune_epochs:
        encoder.trainable = True
        training.freeze_batch_statistics(encoder)
        images_a_batch = images_in_batch(options.batch_size)
        steps = -(-len(seen.paths) // images_a_batch)
        with strategy.scope():
            model = captioner.on_caption_groups()
            rate = options.fine_tune_rate
            compile_teaching(model, options, rate, steps * options.fine_tune_epochs, 25.0)
        batches = functools.partial(
            image_batches,
            seen.paths,
            seen.group_captions(vocabulary, MAX_WORDS),
            encoder.input_shape[1],
            images_a_batch,
            options.seed,
            service=options.data_service,
        )

        def score_from_pixels():
            with tempfile.TemporaryDirectory() as passing:
                held_out.encode_again(encoder, passing)
            return val_cider()

        best = fit("stage2", model, batches, options.fine_tune_epochs, score_from_pixels, best)
        encoder.trainable = False

    # Stage 3: the decoder, on the CIDEr of its own sentences.
    if options.cider_epochs:
        if options.fine_tune_epochs:
            seen.encode_again(encoder, cache, VIEWS)
            held_out.encode_again(encoder, cache)
        steps = -(-len(seen.paths) // options.batch_size)
        with strategy.scope():
            model = CiderTraining(
                captioner.decoder,
                Sampling(num_samples=SAMPLES, n_best=SAMPLES),
                caption_reward(list(seen.references.values()), vocabulary),
                Constraints(forbidden_ids=(UNKNOWN,)),
            )
            model.compile(
                cosine_adam(options.cider_rate, steps * options.cider_epochs, options.accumulate),
                jit_compile=training.jit_compile(),
            )
        batches = functools.partial(
            sampling_batches, seen.features, SAMPLES, MAX_WORDS, options.batch_size, options.seed
        )
        fit("stage3", model, batches, options.cider_epochs, val_cider, best)

    if not is_chief(strategy):
        return
    logs = {stage: run / stage / "log.csv" for stage in ("stage1", "stage2", "stage3")}
    draw_curves({s: log for s, log in logs.items() if log.exists()}, run / "curves.png")
    decoding = {"beam_size": 5, "length_penalty": options.length_penalty}
    metadata = {
        "about": f"LRCN-{options.variant} captioner, image encoder {options.encoder}.",
        "data": f"{options.dataset}: {len(seen.paths)} training images, scored on "
        f"{len(held_out.paths)} held-out ones.",
        "terms": TERMS.get(options.dataset),
        "command": " ".join(["python", "recipes/image_captioning.py", *sys.argv[1:]]),
        "seed": options.seed,
        "decoding": decoding,
    }
    save_to_preset(captioner, run / "model", metadata)
    # What is scored is what was saved and will be loaded: half the precision on disk, and this
    # run's policy for layers forgotten.
    keras.config.set_dtype_policy("float32")
    captioner = from_preset(run / "model")
    held_out.encode_again(captioner.image_encoder, cache)
    metrics = evaluate_captioner(captioner, held_out, decoding, MAX_WORDS, run / "metrics.json")
    chosen = np.random.default_rng(options.seed).permutation(len(seen.paths))[:PRIOR_IMAGES]
    chosen, size = [seen.paths[i] for i in chosen], captioner.image_encoder.input_shape[1]
    captioner.prior_features = encode_images(captioner.image_encoder, chosen, size, cache)[0][:, 0]
    save_to_preset(captioner, run / "model", {**metadata, "scores": metrics})
    for photos in (seen, held_out):
        if photos.skipped:
            print(photos.skipped_line(), file=sys.stderr)
    print(f"The model is in {run / 'model'}: lrcn caption --model {run / 'model'} PHOTO")


def evaluate(options):
    """Captions a split with a trained model and scores the captions."""
    examples = read_split(options, options.split)
    captioner = from_run(options.model, "image_captioning")
    # A run's images lie encoded beside it.
    beside = options.model if pathlib.Path(options.model, "model").exists() else options.out
    cache = options.cache or pathlib.Path(beside).parent / "features"
    photos = photographs(examples, captioner.image_encoder, cache)
    decoding = dict(captioner.metadata.get("decoding", {}))
    if options.beam is not None:
        decoding["beam_size"] = options.beam
    if options.length_penalty is not None:
        decoding["length_penalty"] = options.length_penalty
    metrics = evaluate_captioner(captioner, photos, decoding, MAX_WORDS, options.out)
    print(json.dumps(metrics, indent=1))


def confidence(options):
    """Fits how probable it is that a caption is right, and stores that in the preset."""
    captioner = from_run(options.model, "image_captioning")
    cache = options.cache or pathlib.Path(options.out).parent / "features"
    photos = {}
    for name, path in options.data:
        examples = datasets.read(name, path, options.split)
        photos[f"{name}={path}"] = photographs(examples, captioner.image_encoder, cache)
    fit = fit_confidence(captioner, photos, options.seed, options.threshold)
    write_confidence_report(fit, options.out)
    changed = save_confidence(options.model, fit.confidence)
    print(json.dumps({name: fit.report[name] for name in ("all", "sets")}, indent=1))
    print(f"The confidence is in {changed}, the report in {options.out}")


def score(options):
    """Scores captions that any program wrote, in COCO's results format."""
    examples = read_split(options, options.split)
    captions = read_results(options.predictions)
    scored = [e for e in examples if e.image_id in captions and any(map(has_word, e.captions))]
    missing = len(examples) - len(scored)
    if missing:
        print(f"{missing} images have no prediction, or no caption to compare", file=sys.stderr)
    unknown = captions.keys() - {example.image_id for example in examples}
    if unknown or not scored:
        raise ValueError(
            f"{options.predictions} has captions of {len(unknown)} images that the split lacks, "
            f"such as {sorted(unknown, key=str)[:3]}; of the split's images it has {len(scored)}."
        )
    captions = {example.image_id: captions[example.image_id] for example in scored}
    metrics = write_report(scored, captions, options.out, {"num_missing": missing})
    print(json.dumps(metrics, indent=1))


def export(options):
    """Writes a trained model as a SavedModel for a TensorFlow model server."""
    print(export_preset(options.model, options.saved_models, options.name))


def read_split(options, split):
    """Reads which images a split has, and what people wrote about them."""
    return datasets.read(options.dataset, options.data, split)[: options.max_images]


def photographs(examples, encoder, cache, views=("full",)):
    """Encodes the images of a split; says how many could not be used."""
    photos = Photographs(examples, encoder, cache, views)
    if photos.skipped:
        print(photos.skipped_line(), file=sys.stderr)
    return photos


def images_in_batch(captions):
    """Images of a batch of stage 2, where each brings its four to six captions along."""
    return max(captions // 4, 1)


def paper_optimizer(rate, clipnorm, accumulate=None):
    """SGD with momentum, halved every 20,000 steps, as the authors' solvers have it."""
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, 20_000, 0.5, staircase=True)
    return SGD(
        schedule, momentum=0.9, global_clipnorm=clipnorm, gradient_accumulation_steps=accumulate
    )


def compile_teaching(model, options, rate, batches, paper_clipnorm):
    """Compiles for cross-entropy of the next word, averaged over words that are there."""
    model.compile(
        paper_optimizer(rate, paper_clipnorm, options.accumulate)
        if options.paper
        else cosine_adam(rate, batches, options.accumulate),
        StepCrossEntropy(),
        loss_weights=20.0 if options.paper else None,  # the authors' loss counts 20 times
        jit_compile=training.jit_compile(),
    )


def named_path(text):
    """Reads `NAME=PATH`: a reader of `zoo.data.datasets` and where its data set lies."""
    name, _, path = text.partition("=")
    if name not in datasets.READERS or not path:
        raise argparse.ArgumentTypeError(
            f"expected NAME=PATH with a NAME of {', '.join(sorted(datasets.READERS))}, got {text}"
        )
    return name, path


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--dataset", required=True, choices=sorted(datasets.READERS))
    data.add_argument("--data", required=True, metavar="DIR", help="where the data set lies")
    data.add_argument("--cache", help="folder of encoded images; default: beside the run")
    data.add_argument("--max-images", type=int, help="use only the first so many of each split")

    p = commands.add_parser("train", parents=[data], help="train a captioner")
    p.set_defaults(command=train)
    p.add_argument("--run", required=True, help="folder of this run; the same again goes on")
    p.add_argument(
        "--paper", action="store_true", help="the paper's numbers, where no others are given"
    )
    p.add_argument("--encoder", default="efficientnet_lite0", help="name, or a file.keras")
    p.add_argument("--variant", default="2f", choices=["1u", "2u", "2f", "4f"])
    p.add_argument("--unit", default="lstm", choices=["lstm", "rnn"])
    p.add_argument("--embedding-dim", type=int, default=256)
    p.add_argument("--lstm-units", type=int, default=512)
    p.add_argument("--projection-dim", type=int, default=512, help="0 for none")
    p.add_argument("--dropout", type=float, default=0.4)
    p.add_argument("--batch-size", type=int, default=64, help="captions a batch")
    p.add_argument("--epochs", type=int, default=12, help="of stage 1, frozen CNN")
    p.add_argument("--learning-rate", type=float, default=1e-3, help="of stage 1")
    p.add_argument("--fine-tune-epochs", type=int, default=4, help="of stage 2, whole network")
    p.add_argument("--fine-tune-rate", type=float, default=1e-4)
    p.add_argument("--cider-epochs", type=int, default=10, help="of stage 3, CIDEr")
    p.add_argument("--cider-rate", type=float, default=1e-4)
    p.add_argument("--patience", type=int, help="stop a stage after so many epochs without gain")
    p.add_argument("--length-penalty", type=float, default=0.0, help="of the final captions")
    p.add_argument("--seed", type=int, default=1)
    training.add_arguments(p)
    p.add_argument("--checkpoint-seconds", type=float, default=120)
    p.add_argument("--data-service", metavar="grpc://HOST:PORT", help="decodes for stage 2")

    p = commands.add_parser("evaluate", parents=[data], help="caption a split and score it")
    p.set_defaults(command=evaluate)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    p.add_argument("--split", default="dev", choices=["train", "dev", "val", "test"])
    p.add_argument("--out", required=True, metavar="metrics.json")
    p.add_argument("--beam", type=int)
    p.add_argument("--length-penalty", type=float)

    p = commands.add_parser("confidence", help="fit how probable it is that a caption is right")
    p.set_defaults(command=confidence)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name; changed")
    p.add_argument(
        "--data",
        required=True,
        action="append",
        type=named_path,
        metavar="NAME=PATH",
        help=f"a data set with captions by people; several times; {', '.join(datasets.READERS)}",
    )
    p.add_argument("--split", default="dev", choices=["dev", "val", "test"])
    p.add_argument("--cache", help="folder of encoded images; default: features, beside --out")
    p.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="below it a caption is unsure"
    )
    p.add_argument("--seed", type=int, default=1, help="of the random halves that are judged")
    p.add_argument("--out", required=True, metavar="confidence.json", help="report; and a plot")

    p = commands.add_parser("score", parents=[data], help="score captions from a file")
    p.set_defaults(command=score)
    p.add_argument("--predictions", required=True, metavar="JSON", help="COCO's results format")
    p.add_argument("--split", default="dev", choices=["train", "dev", "val", "test"])
    p.add_argument("--out", required=True, metavar="metrics.json")

    p = commands.add_parser("export", help="write a SavedModel for a model server")
    p.set_defaults(command=export)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    p.add_argument("--saved-models", required=True, metavar="DIR", help="of all served models")
    p.add_argument("--name", help="what clients ask for; default: lrcn_captioner")

    options = parser.parse_args(arguments)
    if getattr(options, "paper", False):
        commands.choices["train"].set_defaults(**PAPER)
        options = parser.parse_args(arguments)  # what was given explicitly counts more
    return options


if __name__ == "__main__":
    main()
