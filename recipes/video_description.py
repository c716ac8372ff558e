"""Trains, evaluates and exports the LRCN that describes a video in a sentence.

    python recipes/video_description.py train --dataset moving_digits --run runs/digits
    python recipes/video_description.py train --dataset msvd --data DIR --run runs/msvd
    python recipes/video_description.py train --from PRESET --dataset msvd --data DIR --run runs/b
    python recipes/video_description.py evaluate --model runs/msvd --dataset msvd --data DIR \
        --split test --out metrics.json
    python recipes/video_description.py export --model runs/msvd --saved-models saved_models

`--input` says what the LSTMs see: `frames`; or semantic labels (activity, object, ...), as in the
paper, the most likely ones or their probabilities. These a recogniser reads off the video, which
is trained first. `--architecture` says how they see it: `encoder-decoder` reads step after step
and then writes, `decoder` has all of it before it at every word.

    --input labels-max --architecture encoder-decoder    the paper's (a)
    --input labels-max --architecture decoder            the paper's (b)
    --input label-probabilities                          the paper's (c), its best
    --input frames --architecture decoder                mean of the frames' features
    --input frames --architecture encoder-decoder        S2VT, the default

`--from` starts from a trained captioner of photographs: its CNN, its words, and all weights of its
decoder that fit. With `--architecture decoder`, the default then, all of them do.

A killed run goes on where it was when the same command is given again.

Source: Donahue et al., 2015, section 6. https://arxiv.org/abs/1411.4389. `--from`: Venugopalan et
al., 2015. https://arxiv.org/abs/1412.4729
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
import tensorflow as tf

import zoo
from zoo import training
from zoo.data import datasets
from zoo.data.batches.captions import WHOLE, epoch_order, feature_batches
from zoo.data.batches.videos import role_batches, sequence_batches, video_batches
from zoo.data.datasets.described.described_video import label_ids, roles_of
from zoo.data.datasets.synthetic.described_digits import ROLES, described_digits
from zoo.data.datasets.synthetic.moving_digits import placed_digits
from zoo.data.features.described_videos import DescribedVideos
from zoo.data.sources.arrays import ClipArray
from zoo.data.videos.clips import FRAME_SIZE
from zoo.evaluation.roles import evaluate_roles
from zoo.models.backbones import digit_cnn, efficientnet_lite0, vgg16
from zoo.models.generation import MAX_WORDS
from zoo.models.video_describer import MAX_STEPS
from zoo.presets import from_preset, from_run
from zoo.serving.export import export_preset
from zoo.text.vocabulary import Vocabulary
from zoo.training.report import evaluate_captioner, generated_cider
from zoo.training.resume import fit_stage, keep_settings
from zoo.training.role_labels import read_labels
from zoo.training.transfer import match_sizes, transfer_decoder
from zoo.training.whole_batch import StepCrossEntropy, cosine_adam
from zoo.training.workers import is_chief, run_folder
from zoo.visualization.curves import draw_curves
from zoo.visualization.film_strip import write_film_strip

FROM_SCRATCH = "digit_cnn"  # the encoder without ImageNet weights
ENCODERS = {
    FROM_SCRATCH: digit_cnn,
    "efficientnet_lite0": efficientnet_lite0,
    "vgg16": functools.partial(vgg16, "fc7", weights="imagenet"),
}
INPUTS = ("frames", "label-probabilities", "labels-max")
ARCHITECTURES = ("decoder", "encoder-decoder")
MAX_FRAMES = MAX_STEPS - MAX_WORDS  # S2VT: 80 steps for frames and words together
STAGES = ("pictures", "roles", "roles_fine_tuned", "words", "words_fine_tuned")
MAY_CHANGE = ("command", "run", "checkpoint_seconds", "cache", "data")  # when a run goes on
DIGIT_VIDEOS = {"train": 12_000, "val": 300, "test": 500}
DIGIT_PICTURES = 30_000
PICTURES_A_BATCH = 64
PICTURE_RATE = 0.004
MOVING_DIGITS = {  # minutes on two cores
    "encoder": FROM_SCRATCH,
    "frame_size": (32, 32),
    "rate": None,
    "min_count": 1,
    "embedding_dim": 64,
    "lstm_units": 256,
    "projection_dim": 0,
    "dropout": 0.2,
    "role_units": 256,
    "picture_epochs": 4,
    "role_epochs": 6,
    "epochs": 6,
    "learning_rate": 0.005,
}
FROM_PRESET = {  # for a decoder that is trained already
    "frame_size": None,  # that of the captioner
    "learning_rate": 2e-4,
}


def main(arguments=None):
    """Runs the command line."""
    training.run_command(parse(arguments))


def train(options):
    """Trains the recogniser of roles where one is needed, then the describer; leaves presets."""
    strategy = training.distribution(options.strategy)  # before there is any tensor
    with run_folder(strategy, options.run) as run:
        train_on(strategy, options, run)


def train_on(strategy, options, run):
    """Trains in the scope of a strategy; of several workers, the chief writes and scores."""
    cache = options.cache or pathlib.Path(options.run).parent / "frame_features"
    seen, held_out = open_split(options, "train"), open_split(options, "val")
    for batch_size in (options.batch_size, options.fine_tune_batch_size, PICTURES_A_BATCH):
        training.check_batch_size(batch_size, strategy.num_replicas_in_sync)
    keras.config.set_dtype_policy(options.precision)
    keras.utils.set_random_seed(options.seed)
    source = None
    if options.from_preset:
        source = from_run(options.from_preset, "image_captioning")
    if options.frame_size is None:
        options.frame_size = FRAME_SIZE
        if source is not None:  # a captioner's photographs are squashed to a square
            options.frame_size = source.image_encoder.input_shape[1:3]
    run.mkdir(parents=True, exist_ok=True)
    keep_settings(run / "settings.json", vars(options), MAY_CHANGE, strategy)
    roles = recognizer = encoder = None
    if options.input != "frames":
        roles = ROLES if options.dataset == "moving_digits" else roles_of(seen.examples)
        if not roles:
            raise ValueError(f"{options.dataset} has no labels: try --input frames.")
    fit = functools.partial(
        fit_stage, run, patience=options.patience, seconds=options.checkpoint_seconds
    )
    if options.recognizer:
        recognizer = load_recognizer(options)
        encoder, roles = recognizer.frame_encoder, recognizer.roles
    elif source is not None:
        encoder = source.image_encoder
    elif not labels_are_given(options):
        with strategy.scope():
            encoder = training.load_encoder(options.encoder, ENCODERS)
        if options.encoder == FROM_SCRATCH:
            teach_pictures(options, strategy, encoder, fit)
            cache = None  # it is another one in every run
    if encoder is not None:
        for split in (seen, held_out):  # what turns out damaged is left out from here on
            encode(split, encoder, options, cache)
    base = source.vocabulary if source else None
    vocabulary = Vocabulary.from_captions(seen.captions, options.min_count, base)
    # Batches already seen can be skipped only among the same videos and captions.
    labels = [example.labels for example in seen.examples]
    data = {"videos and captions": seen.digest(), "labels": labels}
    keep_settings(run / "data.json", data, strategy=strategy)
    print(f"{len(seen.examples)} videos, {len(seen.captions)} captions, {len(vocabulary)} words")

    if roles and encoder and not recognizer:
        recognizer = train_recognizer(options, strategy, encoder, seen, held_out, roles, fit)
    if roles:
        for split in (seen, held_out):
            read_labels(split, roles, *label_source(options, recognizer))
    with strategy.scope():
        num_labels = None if roles is None else [len(labels) for labels in roles.values()]
        describer = build_describer(
            options,
            encoder if roles is None else recognizer or num_labels,
            len(vocabulary),
            source,
        )
    describer.vocabulary, describer.roles = vocabulary, roles
    if source is not None:
        transferred = transfer_decoder(source, describer)
        kept = ", ".join(transferred["kept"]) or "none"
        print(
            f"{options.from_preset}: {transferred['copied']} weights copied, others: {kept}; "
            f"{transferred['new_words']} words are new to it"
        )
    train_describer(options, strategy, describer, seen, held_out, fit)

    if not is_chief(strategy):
        return
    logs = {stage: run / stage / "log.csv" for stage in STAGES}
    draw_curves({s: log for s, log in logs.items() if log.exists()}, run / "curves.png")
    metadata = {
        "about": f"{options.architecture} on {options.input}, frame encoder "
        f"{encoder.name if encoder else 'none: it is fed labels'}"
        f"{f', started from {options.from_preset}' if options.from_preset else ''}.",
        "data": f"{options.dataset}: {len(seen.examples)} training videos, scored on "
        f"{len(held_out.examples)} held-out ones.",
        "command": " ".join(["python", "recipes/video_description.py", *sys.argv[1:]]),
        "seed": options.seed,
        "decoding": {"beam_size": 5, "length_penalty": options.length_penalty},
        "frames": frames_of(options),
        "labels": {"noise": options.label_noise},
    }
    describer.save_to_preset(run / "model", metadata)
    # What is scored is what was saved and will be loaded: half the precision on disk, and this
    # run's policy for layers forgotten.
    keras.config.set_dtype_policy("float32")
    describer = from_preset(run / "model")
    metrics = report(describer, held_out, options, run / "metrics.json", cache)
    describer.save_to_preset(run / "model", {**metadata, "scores": metrics})
    for split in (seen, held_out):
        if split.skipped:
            print(split.skipped_line(), file=sys.stderr)
    print(f"The model is in {run / 'model'}", end="")
    print(f": lrcn describe --model {run / 'model'} VIDEO" if describer.frame_encoder else "")


def build_describer(options, reads, vocabulary_size, source=None):
    """Builds the describer: as the options say, or of the same sizes as a trained captioner.

    Args:
        options: Parsed command line.
        reads: An image encoder, a recognizer of roles, or the number of labels of each role.
        vocabulary_size: Number of ids.
        source: Trained `LRCNCaptioner`, or None.

    Returns:
        `LRCNVideoDescriber`.
    """
    sizes = {
        "embedding_dim": options.embedding_dim,
        "lstm_units": options.lstm_units,
        "projection_dim": options.projection_dim or None,
    }
    sizes = match_sizes(sizes, source)
    if source is not None and options.architecture == "decoder":
        sizes["variant"] = source.decoder.variant
    return zoo.lrcn_video_describer(
        reads,
        vocabulary_size,
        options.input.replace("-", "_"),
        options.architecture.replace("-", "_"),
        dropout=options.dropout,
        **sizes,
    )


def frames_of(options):
    """How a model wants its frames."""
    return {
        "modality": "rgb",
        "rate": options.rate,
        "size": list(options.frame_size),
        "max_frames": options.max_frames,
    }


def load_recognizer(options):
    """Loads the recogniser of `--recognizer`: a preset of its own, or part of a describer's."""
    model = from_run(options.recognizer)
    recognizer = getattr(model, "recognizer", model)
    if not isinstance(recognizer, zoo.SemanticRoleRecognizer):
        raise ValueError(
            f"--recognizer {options.recognizer} recognises no roles: expected RUN/recognizer of a "
            "run with --input labels-max or label-probabilities."
        )
    if model.metadata["frames"] != frames_of(options):
        raise ValueError(
            f"{options.recognizer} was trained on frames {model.metadata['frames']}; these would "
            f"be {frames_of(options)}: give the same --rate, --frame-size and --max-frames."
        )
    return recognizer


def teach_pictures(options, strategy, encoder, fit):
    """Teaches a new CNN which digit a frame shows and where, as others know ImageNet's objects."""
    frames, digits, places = placed_digits("train", DIGIT_PICTURES, options.seed)
    frames = tf.constant(frames)

    def batches(epoch, first_batch, share=WHOLE):
        order = epoch_order(len(digits), PICTURES_A_BATCH, options.seed, epoch)
        order = share.of(order, first_batch)
        chosen = tf.data.Dataset.from_tensor_slices((order, (digits[order], places[order])))
        return chosen.map(lambda rows, taught: (tf.gather(frames, rows), taught)).prefetch(2)

    with strategy.scope():
        heads = keras.layers.Dense(10), keras.layers.Dense(places.shape[1])
        model = keras.Model(encoder.input, [head(encoder.output) for head in heads])
        steps = -(-len(digits) // PICTURES_A_BATCH) * options.picture_epochs
        what = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = cosine_adam(PICTURE_RATE, steps, options.accumulate)
        model.compile(adam, [what, "mean_squared_error"], jit_compile=training.jit_compile())
    fit("pictures", model, batches, options.picture_epochs)


def train_recognizer(options, strategy, encoder, seen, held_out, roles, fit):
    """Trains the recogniser of roles: on features of the frozen CNN, then the whole network."""
    with strategy.scope():
        recognizer = zoo.semantic_role_recognizer(
            encoder,
            [len(labels) for labels in roles.values()],
            options.role_units,
            dropout=options.role_dropout,
        )
    recognizer.roles = roles
    labels, _ = label_ids(seen.examples, roles)
    right, num_unknown = label_ids(held_out.examples, roles, unknown=-1)
    if num_unknown:
        print(f"{num_unknown} held-out labels do not occur in training", file=sys.stderr)
    best = None

    def val_exact_tuple():
        predicted, _ = recognizer.recognize(held_out.sequences(), batch_size=64)
        return {"val_exact_tuple": evaluate_roles(right, predicted, roles)["exact_tuple"]}

    def from_pixels():
        encode(held_out, encoder, options)
        return val_exact_tuple()

    if options.role_epochs:
        encoder.trainable = False
        recognizer.adapt(frame_vectors(seen))
        with strategy.scope():
            model = recognizer.on_features()
            steps = -(-len(labels) // options.batch_size) * options.role_epochs
            adam = cosine_adam(options.learning_rate, steps, options.accumulate)
            model.compile(adam, jit_compile=training.jit_compile())
        batches = functools.partial(
            role_batches, *seen.sequences(), labels, options.batch_size, options.seed
        )
        best = fit("roles", model, batches, options.role_epochs, val_exact_tuple)
    if options.role_fine_tune_epochs:
        unfreeze(encoder, options)
        with strategy.scope():
            steps = -(-len(labels) // options.fine_tune_batch_size) * options.role_fine_tune_epochs
            adam = cosine_adam(options.fine_tune_rate, steps, options.accumulate)
            recognizer.compile(adam, jit_compile=training.jit_compile())
        batches = batches_from_pixels(options, seen, encoder, labels)
        epochs = options.role_fine_tune_epochs
        fit("roles_fine_tuned", recognizer, batches, epochs, from_pixels, best)
        for split in (seen, held_out):
            encode(split, encoder, options)
    predicted, _ = recognizer.recognize(held_out.sequences(), batch_size=64)
    scores = evaluate_roles(right, predicted, roles)
    print(", ".join(f"{name} {value:.3f}" for name, value in scores.items()), flush=True)
    metadata = {
        "about": "Labels semantic roles.",
        "seed": options.seed,
        "scores": scores,
        "frames": frames_of(options),
    }
    if is_chief(strategy):
        recognizer.save_to_preset(pathlib.Path(options.run) / "recognizer" / "model", metadata)
    return recognizer


def train_describer(options, strategy, describer, seen, held_out, fit):
    """Trains the describer: on features or labels, then, from frames, the whole network."""
    token_ids, video_index = seen.encode_captions(describer.vocabulary, MAX_WORDS)
    encoder, best = describer.frame_encoder, None

    def val_cider():
        return {"val_cider": generated_cider(describer, held_out)}

    def from_pixels():
        encode(held_out, encoder, options)
        return val_cider()

    if options.from_preset and is_chief(strategy):
        best = val_cider()["val_cider"]
        print(f"{options.from_preset} before training: CIDEr {best:.4f}")
    if options.epochs:
        steps = -(-len(token_ids) // options.batch_size)
        with strategy.scope():
            model = describer.on_features()
            compile_teaching(model, options, options.learning_rate, steps * options.epochs)
        if seen.labels is None:
            encoder.trainable = False
            if not options.from_preset:
                describer.adapt(frame_vectors(seen))
            batches = functools.partial(sequence_batches, *seen.sequences())
        else:
            batches = functools.partial(feature_batches, seen.labels[:, None], name="labels")
        batches = functools.partial(
            batches,
            video_index,
            token_ids,
            options.batch_size,
            options.seed,
        )
        best = fit("words", model, batches, options.epochs, val_cider, best)
    if options.fine_tune_epochs and seen.labels is None:
        unfreeze(encoder, options)
        steps = -(-len(seen.examples) // options.fine_tune_batch_size) * options.fine_tune_epochs
        with strategy.scope():
            model = describer.on_caption_groups()
            compile_teaching(model, options, options.fine_tune_rate, steps)
        groups = seen.group_captions(describer.vocabulary, MAX_WORDS)
        batches = batches_from_pixels(options, seen, encoder, groups)
        fit("words_fine_tuned", model, batches, options.fine_tune_epochs, from_pixels, best)


def encode(split, encoder, frames, cache=None):
    """Gives the videos of a split their features; without a cache, those of a changed encoder.

    `frames` has `frame_size` and `max_frames`, as the options of `train` do.
    """
    with tempfile.TemporaryDirectory() as passing:
        split.encode(encoder, frames.frame_size, cache or passing, frames.max_frames)


def frame_vectors(split):
    """Yields the features of the frames of each video, `(frames, features)`."""
    for vectors, count in zip(*split.sequences(), strict=True):
        yield vectors[:count]


def unfreeze(encoder, options):
    """Lets the whole CNN learn; batch statistics of a pretrained one stay ImageNet's."""
    encoder.trainable = True
    if options.encoder != FROM_SCRATCH:
        training.freeze_batch_statistics(encoder)


def batches_from_pixels(options, split, encoder, targets):
    """Function from epoch and first batch to batches of whole videos."""
    return functools.partial(
        video_batches,
        split.source,
        split.rows,
        options.frame_size,
        encoder.input_shape[1],
        options.max_frames,
        targets,
        options.fine_tune_batch_size,
        options.seed,
    )


def compile_teaching(model, options, rate, batches):
    """Compiles for cross-entropy of the next word, averaged over words that are there."""
    adam = cosine_adam(rate, batches, options.accumulate)
    model.compile(adam, StepCrossEntropy(), jit_compile=training.jit_compile())


def label_source(options, recognizer):
    """Which labels a describer sees and where they come from, for `read_labels`."""
    visual = options.input.replace("-", "_")
    return visual, recognizer, options.label_probabilities, options.label_noise, options.seed


def labels_are_given(options):
    """Whether no recogniser is needed: the labels come from a file, or are the true ones."""
    return options.label_noise is not None or options.label_probabilities is not None


def report(describer, split, options, out, cache=None):
    """Describes the videos of a split; writes metrics, sentences and pictures beside each other."""
    if describer.frame_encoder is not None:
        encode(split, describer.frame_encoder, options, cache)
    more = {}
    if describer.roles is not None:
        source = label_source(options, describer.recognizer)
        more = read_labels(split, describer.roles, *source)
    with tempfile.TemporaryDirectory() as passing:
        rows = {e.video_id: row for e, row in zip(split.examples, split.rows, strict=True)}

        def picture_of(example):
            row = rows[example.video_id]
            return write_film_strip(split.source, row, os.path.join(passing, f"{row}.jpg"))

        return evaluate_captioner(
            describer,
            split,
            describer.metadata["decoding"],
            MAX_WORDS,
            out,
            more,
            picture_of if split.source is not None else None,
        )


def evaluate(options):
    """Describes a split with a trained model and scores the sentences."""
    describer = from_run(options.model, "video_description")
    metadata = describer.metadata
    settings = argparse.Namespace(**{**vars(options), **metadata["frames"]})
    settings.frame_size, settings.seed = settings.size, metadata["seed"]
    settings.input = describer.visual.replace("_", "-")
    settings.label_noise = metadata["labels"]["noise"]
    if describer.recognizer is None and describer.num_labels and not labels_are_given(settings):
        raise ValueError(f"{options.model} reads labels from a file: --label-probabilities FILE")
    if options.label_probabilities and describer.frame_encoder is not None:
        raise ValueError(f"{options.model} sees frames: it takes no --label-probabilities")
    split = open_split(settings, options.split)
    beside = pathlib.Path(options.model, "model").exists()  # a run's videos lie encoded beside it
    cache = (
        options.cache
        or pathlib.Path(options.model if beside else options.out).parent / "frame_features"
    )
    metrics = report(describer, split, settings, pathlib.Path(options.out), cache)
    if split.skipped:
        print(split.skipped_line(), file=sys.stderr)
    print(json.dumps(metrics, indent=1))


def compare(options):
    """Prints a table of runs: mean and standard deviation over those that differ in the seed."""
    groups = {}
    for run in map(pathlib.Path, options.runs):
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
        noise = settings["label_noise"]
        kind = (
            settings["dataset"],
            settings["input"],
            settings["architecture"],
            "" if noise is None else f"{noise:g}",
        )
        metrics = json.loads((run / options.metrics).read_text(encoding="utf-8"))
        groups.setdefault(kind, []).append(metrics)
    names = ("bleu_4", "cider", "exact", "exact_tuple")
    print(
        "| data | input | architecture | noise in true labels | runs |", *(f"{n} |" for n in names)
    )
    print("|---" * (5 + len(names)) + "|")
    for kind, metrics in sorted(groups.items()):
        cells = [*kind, len(metrics)]
        for name in names:
            values = [m[name] for m in metrics if name in m]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "")
        print("|", " | ".join(map(str, cells)), "|")


def export(options):
    """Writes a trained model as a SavedModel for a TensorFlow model server."""
    print(export_preset(options.model, options.saved_models, options.name))


def open_split(options, split):
    """Opens the videos of a split."""
    if options.dataset == "moving_digits":
        clips, examples = described_digits(split, DIGIT_VIDEOS[split], options.seed)
        return DescribedVideos(examples, source=ClipArray(clips))
    examples = datasets.read_described(options.dataset, options.data, split)
    examples = examples[: options.max_videos]
    frames = options.label_probabilities is None
    split = DescribedVideos(examples, options.rate, frames=frames)
    if split.skipped:
        print(split.skipped_line(), file=sys.stderr)
    return split


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)

    data = argparse.ArgumentParser(add_help=False)
    named = sorted(["moving_digits", *datasets.DESCRIBED_READERS])
    data.add_argument("--dataset", required=True, choices=named)
    data.add_argument("--data", metavar="DIR", help="where the data set lies; of own, the JSON")
    data.add_argument("--max-videos", type=int, help="use only the first so many of each split")
    data.add_argument("--cache", help="folder of encoded frames; default: beside the run")
    data.add_argument(
        "--label-probabilities", metavar="NPZ", help="labels from a file instead of a recogniser"
    )

    p = commands.add_parser("train", parents=[data], help="train a describer")
    p.set_defaults(command=train)
    p.add_argument("--run", required=True, help="folder of this run; the same again goes on")
    p.add_argument("--input", default="frames", choices=INPUTS, help="what the LSTMs see")
    p.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        help="how they see it; default: encoder-decoder for frames, decoder for labels and --from",
    )
    p.add_argument(
        "--from",
        dest="from_preset",
        metavar="PRESET",
        help="start from a captioner of photographs: a run, preset's folder or preset's name",
    )
    p.add_argument("--recognizer", metavar="RUN", help="of roles, trained before; run or preset")
    p.add_argument(
        "--label-noise", type=float, metavar="SHARE", help="true labels, this share made wrong"
    )
    p.add_argument("--rate", type=float, default=3.0, help="frames per second")
    p.add_argument(
        "--frame-size",
        type=training.frame_size,
        metavar="HxW",
        help=f"default: {'x'.join(map(str, FRAME_SIZE))}; with --from the side of its photographs",
    )
    p.add_argument("--max-frames", type=int, default=MAX_FRAMES, help="of a video, spread over it")
    p.add_argument("--encoder", default="efficientnet_lite0", help="name, or a file.keras")
    p.add_argument("--min-count", type=int, default=2, help="a rarer word is <unk>")
    p.add_argument("--embedding-dim", type=int, default=256)
    p.add_argument("--lstm-units", type=int, default=512)
    p.add_argument("--projection-dim", type=int, default=500, help="0 for none; S2VT: 500")
    p.add_argument("--dropout", type=float, default=0.4)
    p.add_argument("--role-units", type=int, default=128, help="LSTM of the recogniser")
    p.add_argument("--role-dropout", type=float, default=0.3)
    p.add_argument("--batch-size", type=int, default=64, help="captions or videos")
    p.add_argument(
        "--fine-tune-batch-size", type=int, default=4, help="videos, where their frames are read"
    )
    p.add_argument("--picture-epochs", type=int, default=0, help="of a CNN that is new")
    p.add_argument("--role-epochs", type=int, default=10, help="recogniser, frozen CNN")
    p.add_argument("--role-fine-tune-epochs", type=int, default=0, help="recogniser, whole")
    p.add_argument("--epochs", type=int, default=12, help="describer, frozen CNN or labels")
    p.add_argument("--fine-tune-epochs", type=int, default=0, help="describer, whole network")
    p.add_argument("--learning-rate", type=float, default=1e-3, help="of both, frozen CNN")
    p.add_argument("--fine-tune-rate", type=float, default=1e-4)
    p.add_argument("--patience", type=int, help="stop a stage after so many epochs without gain")
    p.add_argument("--length-penalty", type=float, default=0.0, help="of the final sentences")
    p.add_argument("--seed", type=int, default=1)
    training.add_arguments(p)
    p.add_argument("--checkpoint-seconds", type=float, default=120)

    p = commands.add_parser("evaluate", parents=[data], help="describe a split and score it")
    p.set_defaults(command=evaluate)
    p.add_argument("--model", required=True, help="run, or preset's folder")
    p.add_argument("--split", default="val", choices=["train", "val", "test"])
    p.add_argument("--out", required=True, metavar="metrics.json")

    p = commands.add_parser("compare", help="print a table of runs, over their seeds")
    p.set_defaults(command=compare)
    p.add_argument("runs", nargs="+", metavar="RUN")
    p.add_argument("--metrics", default="metrics.json", help="file of each run that is compared")

    p = commands.add_parser("export", help="write a SavedModel for a model server")
    p.set_defaults(command=export)
    p.add_argument("--model", required=True, help="run, or preset's folder")
    p.add_argument("--saved-models", required=True, metavar="DIR", help="of all served models")
    p.add_argument("--name", help="what clients ask for; default: lrcn_video_describer")

    options = parser.parse_args(arguments)
    if options.command is train:
        if options.dataset == "moving_digits":
            commands.choices["train"].set_defaults(**MOVING_DIGITS)
        if options.from_preset:
            commands.choices["train"].set_defaults(**FROM_PRESET)
        options = parser.parse_args(arguments)  # what was given explicitly counts more
        _check(commands.choices["train"], options)
        if options.architecture is None:
            on_sequence = options.input == "frames" and not options.from_preset
            options.architecture = "encoder-decoder" if on_sequence else "decoder"
    elif options.command is evaluate and options.dataset != "moving_digits" and not options.data:
        commands.choices["evaluate"].error(f"--data says where {options.dataset} lies")
    return options


def _check(parser, options):
    """Refuses settings that do not go together, before hours of work."""
    digits, labelled = options.dataset == "moving_digits", options.input != "frames"
    sources = [options.recognizer, options.label_noise, options.label_probabilities]
    given = sum(source is not None for source in sources)
    if not digits and options.data is None:
        parser.error(f"--data says where {options.dataset} lies")
    if options.from_preset and labelled:
        parser.error("--from goes with --input frames: a captioner reads no labels")
    untrained = options.encoder == FROM_SCRATCH and not options.from_preset
    if untrained and not (digits and options.picture_epochs):
        parser.error(f"--encoder {FROM_SCRATCH} goes with --dataset moving_digits: it is untrained")
    if given and not labelled:
        parser.error(
            "--recognizer, --label-noise and --label-probabilities go with --input labels-max or "
            "label-probabilities"
        )
    if given > 1:
        parser.error("give one of --recognizer, --label-noise and --label-probabilities")
    if options.label_noise is not None and not 0 <= options.label_noise <= 1:
        parser.error(f"--label-noise is a share in 0..1, got {options.label_noise}")
    if labelled and options.fine_tune_epochs:
        parser.error("--fine-tune-epochs goes with --input frames; see --role-fine-tune-epochs")
    if options.role_fine_tune_epochs and (given or not labelled):
        parser.error("--role-fine-tune-epochs is for a recogniser that is trained in this run")


if __name__ == "__main__":
    main()
