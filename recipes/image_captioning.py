"""Trains, evaluates and exports the LRCN that describes photographs.

    python recipes/image_captioning.py train --data flickr8k=DIR --run runs/flickr8k
    python recipes/image_captioning.py train --data flickr8k=DIR --data own=captions.json \
        --text sentences.txt --run runs/both
    python recipes/image_captioning.py train --from PRESET --data own=captions.json --run runs/mine
    python recipes/image_captioning.py evaluate --model runs/flickr8k --data flickr8k=DIR \
        --split dev --out metrics.json
    python recipes/image_captioning.py confidence --model runs/flickr8k --data flickr8k=DIR \
        --out confidence.json
    python recipes/image_captioning.py export --model runs/flickr8k --saved-models saved_models

Stage 0, with `--text`, trains the decoder on sentences without pictures. Stage 1 trains the decoder
on features of the frozen CNN. Stage 2 fine-tunes the whole network at a lower rate. Stage 3 trains
the decoder on the CIDEr of sentences that it samples itself. To resume a run that was stopped, give
the same command again.

Source: Donahue et al., 2015, section 5. https://arxiv.org/abs/1411.4389
"""

import argparse
import functools
import json
import os
import pathlib
import sys
import tempfile
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what goes wrong arrives as an exception

import keras
import numpy as np

import zoo
from zoo import training
from zoo.data import datasets
from zoo.data.batches.captions import feature_batches, image_batches, sampling_batches
from zoo.data.features.image_features import encode_images
from zoo.data.features.photographs import JoinedPhotographs, Photographs
from zoo.data.images.views import VIEWS as ALL_VIEWS
from zoo.decoding import Sampling
from zoo.evaluation.captions import read_results
from zoo.files import write_json
from zoo.models.backbones import efficientnet_lite0, efficientnet_lite2, vgg16
from zoo.models.backbones.efficientnet_lite import FEATURES
from zoo.presets import from_preset, from_run, save_confidence
from zoo.serving.export import export_preset
from zoo.text.tokenization import encode_captions
from zoo.text.vocabulary import Vocabulary, has_word
from zoo.training.cider import CiderTraining, caption_reward
from zoo.training.confidence import THRESHOLD, fit_confidence, write_confidence_report
from zoo.training.report import evaluate_captioner, generated_cider, write_report
from zoo.training.resume import fit_stage, keep_settings
from zoo.training.transfer import match_sizes, transfer_decoder
from zoo.training.whole_batch import SGD, StepCrossEntropy, cosine_adam
from zoo.training.workers import is_chief, run_folder
from zoo.visualization.curves import draw_curves

ENCODERS = {
    "efficientnet_lite0": efficientnet_lite0,
    "efficientnet_lite2": efficientnet_lite2,
    "vgg16": functools.partial(vgg16, features="fc8", weights="imagenet"),
}
MAX_WORDS = 20  # words of a caption that are trained on; authors' code
MIN_COUNT = 5  # a rarer word is <unk>; authors' code
VIEWS = {  # of a training image, in stages 1 and 3
    "1": ("full",),
    "2": ("full", "mirror"),
    "4": ("full", "mirror", "center", "mirror_center"),
    "12": ALL_VIEWS,
}
HELD_OUT = 5  # one training image of five becomes a dev image where a data set has none
TOO_LOW = 0.1  # a mean dev CIDEr below it means that the captions are useless
# When a run is resumed.
MAY_CHANGE = (
    "command",
    "run",
    "checkpoint_seconds",
    "cache",
    "data",
    "data_service",
    "text",
    "finish",
)
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

FROM_PRESET = {  # for a few photographs and a decoder that is trained already
    "learning_rate": 2e-4,
    "epochs": 5,
    "fine_tune_epochs": 0,
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
    train_examples, dev_examples = read_training_data(options)
    text = datasets.sentences(options.text) if options.text else []
    # Captions in stage 1, a quarter as many images in stage 2.
    training.check_batch_size(options.batch_size, strategy.num_replicas_in_sync, unit=4)
    keras.config.set_dtype_policy(options.precision)
    keras.utils.set_random_seed(options.seed)
    source = None
    if options.from_preset:
        source = from_run(options.from_preset, "image_captioning")
    with strategy.scope():
        if source is None:
            encoder = training.load_encoder(options.encoder, encoders(options.features))
        else:
            encoder = source.image_encoder
    run.mkdir(parents=True, exist_ok=True)
    keep_settings(run / "settings.json", vars(options), MAY_CHANGE, strategy)
    cache = options.cache or pathlib.Path(options.run).parent / "features"

    views = VIEWS[options.views]
    seen = JoinedPhotographs(photograph_sets(train_examples, encoder, cache, views))
    held_out = JoinedPhotographs(photograph_sets(dev_examples, encoder, cache))
    base = source.vocabulary if source else None
    vocabulary = Vocabulary.from_captions([*seen.captions, *text], options.min_count, base)
    token_ids, image_index = seen.encode_captions(vocabulary, MAX_WORDS)
    weights = seen.caption_weights(options.machine_weight)
    # Batches already seen can be skipped only among the same images and captions.
    digest = {"images and captions": seen.digest()}
    if text:
        digest["text"] = zlib.crc32("\n".join(text).encode())
    keep_settings(run / "data.json", digest, strategy=strategy)
    print(f"{len(seen.paths)} images, {len(token_ids)} captions, {len(vocabulary)} words")

    with strategy.scope():
        captioner = build_captioner(options, encoder, vocabulary, source)
    if source is not None:
        report = transfer_decoder(source, captioner)
        print(f"{options.from_preset}: {report['new_words']} words are new to it")
    elif not options.paper:
        captioner.adapt(seen.features[:, 0])

    def fit(stage, model, batches, epochs, score=None, first_score=None):
        epochs = 0 if options.finish else epochs
        patience, seconds = options.patience, options.checkpoint_seconds
        return fit_stage(run, stage, model, batches, epochs, score, first_score, patience, seconds)

    decoding = {"beam_size": 5, "length_penalty": 0.0}
    if source is not None:
        decoding |= source.metadata.get("decoding", {})
    decoding |= given_decoding(options)

    def dev_scores():
        """CIDEr of each dev set; their mean comes first, and it decides."""
        ciders = {n: generated_cider(captioner, p, decoding) for n, p in held_out.parts.items()}
        scores = {"val_cider": float(np.mean(list(ciders.values())))}
        if len(ciders) > 1:
            scores |= {f"val_cider_{label}": cider for label, cider in ciders.items()}
        return scores

    encoder.trainable = False
    with strategy.scope():
        model = captioner.on_features()

    # Stage 0: the decoder, on sentences without pictures. Each is given the mean of all images.
    if text and options.text_epochs:
        text_ids = encode_captions(text, vocabulary, MAX_WORDS)
        mean = seen.features[:, 0].mean(0)[None, None]  # (1, 1, features)
        steps = -(-len(text_ids) // options.batch_size)
        with strategy.scope():
            compile_teaching(model, options, options.text_rate, steps * options.text_epochs, 10.0)
        of_mean = np.zeros(len(text_ids), "int64")
        batches = functools.partial(
            feature_batches, mean, of_mean, text_ids, options.batch_size, options.seed
        )
        fit("stage0", model, batches, options.text_epochs)

    # Stage 1: the decoder, on features that the frozen encoder gives once.
    best = None
    if source is not None and is_chief(strategy):
        best = dev_scores()["val_cider"]
        print(f"{options.from_preset} before training: dev CIDEr {best:.4f}")
    steps = -(-len(token_ids) // options.batch_size)
    with strategy.scope():
        compile_teaching(model, options, options.learning_rate, steps * options.epochs, 10.0)
    batches = functools.partial(
        feature_batches,
        seen.features,
        image_index,
        token_ids,
        options.batch_size,
        options.seed,
        caption_weights=weights,
    )
    best = fit("stage1", model, batches, options.epochs, dev_scores, best)

    # Stage 2: the whole network, at a lower rate. Batch statistics stay ImageNet's.
    if options.fine_tune_epochs:
        encoder.trainable = True
        training.freeze_batch_statistics(encoder)
        if options.fine_tune_from:
            training.freeze_layers_before(encoder, options.fine_tune_from)
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
            caption_weights=seen.group(weights),
            augment=options.augment,
        )

        def score_from_pixels():
            with tempfile.TemporaryDirectory() as passing:
                held_out.encode_again(encoder, passing)
            return dev_scores()

        # Weights that score less after this stage may score more after the next.
        first_score = None if options.cider_epochs else best
        epochs = options.fine_tune_epochs
        best = fit("stage2", model, batches, epochs, score_from_pixels, first_score)
        encoder.trainable = False

    # Stage 3: the decoder, on the CIDEr of its own sentences.
    if options.cider_epochs:
        if options.fine_tune_epochs:
            seen.encode_again(encoder, cache, views)
            held_out.encode_again(encoder, cache)
        steps = -(-len(seen.paths) // options.batch_size)
        with strategy.scope():
            model = CiderTraining(
                captioner.decoder,
                Sampling(num_samples=SAMPLES, n_best=SAMPLES),
                caption_reward(list(seen.references.values()), vocabulary),
                captioner.constraints,
            )
            model.compile(
                cosine_adam(options.cider_rate, steps * options.cider_epochs, options.accumulate),
                jit_compile=training.jit_compile(),
            )
        batches = functools.partial(
            sampling_batches, seen.features, SAMPLES, MAX_WORDS, options.batch_size, options.seed
        )
        best = fit("stage3", model, batches, options.cider_epochs, dev_scores, best)

    if not is_chief(strategy):
        return
    logs = {f"stage{n}": run / f"stage{n}" / "log.csv" for n in range(4)}
    draw_curves({s: log for s, log in logs.items() if log.exists()}, run / "curves.png")
    metadata = describe_run(options, captioner, seen, held_out, decoding)
    captioner.save_to_preset(run / "model", metadata)
    # What is scored is what was saved and will be loaded: half the precision on disk, and this
    # run's policy for layers forgotten.
    keras.config.set_dtype_policy("float32")
    captioner = from_preset(run / "model")
    held_out.encode_again(captioner.image_encoder, cache)
    metrics = evaluate_sets(captioner, held_out.parts, decoding, run / "metrics.json")
    try:
        fit_of_confidence = fit_confidence(captioner, held_out.parts, options.seed)
        captioner.confidence = fit_of_confidence.confidence
        write_confidence_report(fit_of_confidence, run / "confidence.json")
    except ValueError as error:
        print(f"The captions of this model have no confidence: {error}", file=sys.stderr)
    chosen = np.random.default_rng(options.seed).permutation(len(seen.paths))[:PRIOR_IMAGES]
    chosen, size = [seen.paths[i] for i in chosen], captioner.image_encoder.input_shape[1]
    captioner.prior_features = encode_images(captioner.image_encoder, chosen, size, cache)[0][:, 0]
    captioner.save_to_preset(run / "model", {**metadata, "scores": metrics})
    for photos in (seen, *held_out.parts.values()):
        if photos.skipped:
            print(photos.skipped_line(), file=sys.stderr)
    if metrics["cider"] < TOO_LOW:
        print(
            f"dev CIDEr {metrics['cider']:.2f} after {options.epochs} epochs: too few photographs, "
            "or too few epochs. The captions of this model are hardly better than chance.",
            file=sys.stderr,
        )
    print(f"The model is in {run / 'model'}: lrcn caption --model {run / 'model'} PHOTO")


def build_captioner(options, encoder, vocabulary, source=None):
    """Builds the captioner: as the options say, or of the same sizes as a trained one."""
    sizes = {
        "variant": options.variant,
        "unit": options.unit,
        "embedding_dim": options.embedding_dim,
        "lstm_units": options.lstm_units,
        "projection_dim": options.projection_dim,
    }
    sizes = match_sizes(sizes, source)
    captioner = zoo.lrcn_captioner(encoder, len(vocabulary), dropout=options.dropout, **sizes)
    captioner.vocabulary = vocabulary
    return captioner


def describe_run(options, captioner, seen, held_out, decoding):
    """Returns what the preset keeps about its training."""
    counts = [f"{len(p.paths)} of {label}" for label, p in seen.parts.items()]
    machine_written = int((seen.caption_weights(0.0) == 0).sum())
    data = (
        f"{' and '.join(counts)} training images, "
        f"{' and '.join(str(len(p.paths)) for p in held_out.parts.values())} dev images"
    )
    if machine_written:
        data += f"; {machine_written} of {len(seen.captions)} captions are machine-written"
    readers = [source.reader for source in options.data]
    terms = dict.fromkeys(TERMS[reader] for reader in readers if reader in TERMS)
    start = f", started from {options.from_preset}" if options.from_preset else ""
    encoder = "of that preset" if options.from_preset else options.encoder
    return {
        "about": f"LRCN-{captioner.decoder.variant} captioner, image encoder {encoder}{start}.",
        "data": f"{data}.",
        "terms": " ".join(terms) or None,
        "command": " ".join(["python", "recipes/image_captioning.py", *sys.argv[1:]]),
        "seed": options.seed,
        "decoding": decoding,
    }


def evaluate_sets(captioner, photo_sets, decoding, out):
    """Captions and scores one or more data sets.

    With several, each one's report lies beside `out`, named after the data set, and `out` holds
    the mean of every score, then the scores of each set as `"label/score"`.

    Returns:
        Dict of metrics.
    """
    if len(photo_sets) == 1:
        [photos] = photo_sets.values()
        return evaluate_captioner(captioner, photos, decoding, MAX_WORDS, out)
    out = pathlib.Path(out)
    by_set = {}
    for label, photos in photo_sets.items():
        part = out.with_name(f"{out.stem}-{label}.json")
        by_set[label] = evaluate_captioner(captioner, photos, decoding, MAX_WORDS, part)
    all_scores = list(by_set.values())
    metrics = {}
    for name in all_scores[0]:
        if all(isinstance(scores.get(name), float) for scores in all_scores):
            metrics[name] = float(np.mean([scores[name] for scores in all_scores]))
    metrics["num_images"] = sum(m["num_images"] for m in by_set.values())
    metrics |= decoding
    for label, scores in by_set.items():
        metrics |= {f"{label}/{name}": value for name, value in scores.items()}
    write_json(out, metrics)
    return metrics


def evaluate(options):
    """Captions a split with a trained model and scores the captions."""
    splits = datasets.read_sources(options.data, options.split, options.max_images)
    captioner = from_run(options.model, "image_captioning")
    # A run's images lie encoded beside it.
    beside = options.model if pathlib.Path(options.model, "model").exists() else options.out
    cache = options.cache or pathlib.Path(beside).parent / "features"
    photo_sets = photograph_sets(splits, captioner.image_encoder, cache)
    decoding = {**captioner.metadata.get("decoding", {}), **given_decoding(options)}
    if options.samples is not None:
        for name in ("beam_size", "length_penalty"):
            decoding.pop(name, None)
        decoding |= {"num_samples": options.samples, "temperature": options.temperature}
    metrics = evaluate_sets(captioner, photo_sets, decoding, options.out)
    print(json.dumps(metrics, indent=1))


def given_decoding(options):
    """Returns the decoding settings that the command line names."""
    given = {
        "beam_size": options.beam,
        "length_penalty": options.length_penalty,
        "no_repeat_ngram": options.no_repeat_ngram,
    }
    return {name: value for name, value in given.items() if value is not None}


def confidence(options):
    """Fits how probable it is that a caption is right, and stores that in the preset."""
    splits = datasets.read_sources(options.data, options.split, options.max_images)
    captioner = from_run(options.model, "image_captioning")
    cache = options.cache or pathlib.Path(options.out).parent / "features"
    photo_sets = photograph_sets(splits, captioner.image_encoder, cache)
    fit = fit_confidence(captioner, photo_sets, options.seed, options.threshold)
    write_confidence_report(fit, options.out)
    changed = save_confidence(options.model, fit.confidence)
    print(json.dumps({name: fit.report[name] for name in ("all", "sets")}, indent=1))
    print(f"The confidence is in {changed}, the report in {options.out}")


def score(options):
    """Scores captions that any program wrote, in COCO's results format."""
    splits = datasets.read_sources(options.data, options.split, options.max_images)
    examples = [example for split in splits.values() for example in split]
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


def read_training_data(options):
    """Reads the train and dev examples of each data set.

    A data set without a dev split lends one training image of five, chosen by its id.

    Returns:
        Two dicts from a label to a list of `CaptionedImage`.
    """
    train = datasets.read_sources(options.data, "train", options.max_images)
    dev = {}
    for label, source in zip(train, options.data, strict=True):
        try:
            dev[label] = datasets.read(*source, "dev")[: options.max_images]
        except datasets.EmptySplitError:
            train[label], dev[label] = hold_out(train[label])
            if len(dev[label]) < 2:  # the CIDEr of a single image is always 0
                raise
            print(
                f"{source.path} has no dev split: {len(dev[label])} of its training images are "
                "held out to score the captions.",
                file=sys.stderr,
            )
    return train, dev


def hold_out(examples):
    """Splits examples by a hash of their ids, so that the choice does not depend on their order.

    Returns:
        Two lists: four fifths of the examples, and one fifth.
    """
    order = sorted(examples, key=lambda example: zlib.crc32(str(example.image_id).encode()))
    num_dev = len(order) // HELD_OUT
    return order[num_dev:], order[:num_dev]


def photographs(examples, encoder, cache, views=("full",)):
    """Encodes the images of a split; says how many could not be used."""
    photos = Photographs(examples, encoder, cache, views)
    if photos.skipped:
        print(photos.skipped_line(), file=sys.stderr)
    return photos


def photograph_sets(splits, encoder, cache, views=("full",)):
    """Encodes the images of each data set: dict from its label to its `Photographs`."""
    return {label: photographs(e, encoder, cache, views) for label, e in splits.items()}


def encoders(features):
    """Returns the functions that build an encoder, by name."""
    if features is None:
        return ENCODERS
    return {
        name: functools.partial(build, features=features)
        for name, build in ENCODERS.items()
        if name.startswith("efficientnet_lite")
    }


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
        else cosine_adam(rate, batches, options.accumulate, options.ema),
        StepCrossEntropy(options.label_smoothing),
        loss_weights=20.0 if options.paper else None,  # the authors' loss counts 20 times
        jit_compile=training.jit_compile(),
    )


def add_decoding(parser):
    """Adds the options of the beam search; without them a preset's own settings are used."""
    parser.add_argument("--beam", type=int, metavar="N", help="beams; default: 5, or the preset's")
    parser.add_argument(
        "--length-penalty", type=float, metavar="P", help="default: 0, or the preset's"
    )
    parser.add_argument(
        "--no-repeat-ngram", type=int, metavar="N", help="no run of N words appears twice"
    )


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)

    data = argparse.ArgumentParser(add_help=False)
    training.add_sources(data, datasets.parse_source, datasets.READERS)
    data.add_argument("--cache", help="folder of encoded images; default: beside the run")
    data.add_argument("--max-images", type=int, help="images of each split; default: all")

    p = commands.add_parser("train", parents=[data], help="train a captioner")
    p.set_defaults(command=train)
    p.add_argument("--run", required=True, help="folder of this run; the same again goes on")
    p.add_argument(
        "--paper", action="store_true", help="the paper's numbers, where no others are given"
    )
    p.add_argument(
        "--from",
        dest="from_preset",
        metavar="PRESET",
        help="start from a trained captioner: a run, preset's folder or preset's name",
    )
    p.add_argument(
        "--text", metavar="FILE[.gz]", help="sentences without pictures, one a line, for stage 0"
    )
    p.add_argument("--text-epochs", type=int, default=2, help="of stage 0; default: 2")
    p.add_argument("--text-rate", type=float, default=1e-3, help="learning rate of stage 0")
    p.add_argument(
        "--min-count", type=int, default=MIN_COUNT, help="a rarer word is <unk>; default: 5"
    )
    p.add_argument(
        "--machine-weight",
        type=float,
        default=1.0,
        metavar="W",
        help="weight of captions that a program wrote; captions of people weigh 1",
    )
    p.add_argument(
        "--views", default="2", choices=VIEWS, help="views of a training image in stages 1 and 3"
    )
    p.add_argument(
        "--finish",
        action="store_true",
        help="train no further: write the model with the best weights that the run has so far",
    )
    p.add_argument("--encoder", default="efficientnet_lite0", help="name, or a file.keras")
    p.add_argument(
        "--features",
        choices=FEATURES,
        help="of an EfficientNet-Lite: pooled features, ImageNet's class scores, or both",
    )
    p.add_argument("--variant", default="2f", choices=["1u", "2u", "2f", "4f"])
    p.add_argument("--unit", default="lstm", choices=["lstm", "rnn"])
    p.add_argument("--embedding-dim", type=int, default=256)
    p.add_argument("--lstm-units", type=int, default=512)
    p.add_argument("--projection-dim", type=int, default=512, help="0 for none")
    p.add_argument("--dropout", type=float, default=0.4)
    p.add_argument("--label-smoothing", type=float, default=0.0, help="in stages 0 to 2")
    p.add_argument(
        "--ema", type=float, metavar="MOMENTUM", help="average the weights in stages 0 to 2"
    )
    p.add_argument("--batch-size", type=int, default=64, help="captions a batch")
    p.add_argument("--epochs", type=int, default=12, help="of stage 1, frozen CNN")
    p.add_argument("--learning-rate", type=float, default=1e-3, help="of stage 1")
    p.add_argument("--fine-tune-epochs", type=int, default=4, help="of stage 2, whole network")
    p.add_argument("--fine-tune-rate", type=float, default=1e-4)
    p.add_argument(
        "--fine-tune-from",
        metavar="LAYER",
        help="keep the CNN's layers before this one frozen in stage 2, which takes less time; "
        "such as block15_expand_conv",
    )
    p.add_argument(
        "--augment",
        action="store_true",
        help="draw the size of the crops in stage 2 as well, and sharpen or blur them by chance",
    )
    p.add_argument("--cider-epochs", type=int, default=10, help="of stage 3, CIDEr")
    p.add_argument("--cider-rate", type=float, default=1e-4)
    p.add_argument("--patience", type=int, help="stop a stage after so many epochs without gain")
    add_decoding(p)
    p.add_argument("--seed", type=int, default=1)
    training.add_arguments(p)
    p.add_argument("--checkpoint-seconds", type=float, default=120)
    p.add_argument("--data-service", metavar="grpc://HOST:PORT", help="decodes for stage 2")

    p = commands.add_parser("evaluate", parents=[data], help="caption a split and score it")
    p.set_defaults(command=evaluate)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    p.add_argument("--split", default="dev", choices=["train", "dev", "val", "test"])
    p.add_argument("--out", required=True, metavar="metrics.json")
    add_decoding(p)
    p.add_argument(
        "--samples", type=int, metavar="N", help="the most likely of N samples, instead of a beam"
    )
    p.add_argument("--temperature", type=float, default=1 / 1.5, help="of the samples")

    p = commands.add_parser(
        "confidence", parents=[data], help="fit how probable it is that a caption is right"
    )
    p.set_defaults(command=confidence)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name; changed")
    p.add_argument("--split", default="dev", choices=["dev", "val", "test"])
    p.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="below it a caption is unsure"
    )
    p.add_argument("--seed", type=int, default=1, help="of the random parts that are judged")
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
    presets = (("paper", PAPER), ("from_preset", FROM_PRESET))
    for name, defaults in presets:
        if getattr(options, name, False):
            commands.choices["train"].set_defaults(**defaults)
            options = parser.parse_args(arguments)  # explicit values take precedence
    return options


if __name__ == "__main__":
    main()
