"""Trains, evaluates and exports the LRCN that names the activity in a video.

    python recipes/activity_recognition.py train --dataset ucf101 --data DIR --run runs/ucf101
    python recipes/activity_recognition.py evaluate --model runs/ucf101 --dataset ucf101 \
        --data DIR --split test --out metrics.json
    python recipes/activity_recognition.py statistics --model PRESET --dataset ucf101 --data DIR \
        --out with_statistics
    python recipes/activity_recognition.py export --model runs/ucf101 --saved-models saved_models

First the baseline, which looks at single frames, then the LRCN on the same CNN; of each the head
is trained on features of the frozen CNN, and then, if so wished, the whole network. A killed run
goes on where it was when the same command is given again.

Source: Donahue et al., 2015, section 4. https://arxiv.org/abs/1411.4389
"""

import argparse
import functools
import hashlib
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
from zoo.data.batches.clips import clip_batches, clip_feature_batches
from zoo.data.datasets.synthetic.moving_digits import moving_digits
from zoo.data.features.frame_features import encode_videos
from zoo.data.sources.arrays import ClipArray
from zoo.data.sources.files import VideoFiles
from zoo.data.sources.shard_writer import prepare
from zoo.data.sources.shards import VideoShards
from zoo.data.videos.clips import CLIP_LENGTH, FRAME_SIZE, STRIDE, VIEWS
from zoo.evaluation.activity import top_k
from zoo.evaluation.activity_scores import Scores, fuse, load_scores
from zoo.files import write_json
from zoo.models.backbones import (
    FLOW_MEAN_PIXEL,
    caffenet,
    caffenet_hybrid,
    efficientnet_lite0,
    small_cnn,
    vgg16,
)
from zoo.presets import from_preset, from_run
from zoo.serving.export import export_preset
from zoo.training.activity import (
    classify_videos,
    count_unlike,
    fit_feature_statistics,
)
from zoo.training.activity_report import write_report
from zoo.training.resume import fit_stage, keep_settings
from zoo.training.whole_batch import CaffeSGD, StepCrossEntropy, cosine_adam
from zoo.training.workers import is_chief, run_folder
from zoo.visualization.curves import draw_curves

FROM_SCRATCH = "small_cnn"  # the encoder without ImageNet weights
ENCODERS = {
    "caffenet": functools.partial(caffenet, "fc7"),
    "caffenet_hybrid": functools.partial(caffenet_hybrid, "fc7"),
    "efficientnet_lite0": efficientnet_lite0,
    FROM_SCRATCH: small_cnn,
    "vgg16": functools.partial(vgg16, "fc7", weights="imagenet"),
}
FLOW_ENCODERS = {  # where 128 is no motion; authors' code
    **ENCODERS,
    "caffenet_hybrid": functools.partial(caffenet_hybrid, "fc7", mean_pixel=FLOW_MEAN_PIXEL),
}
DATASETS = ("clip_folder", "hmdb51", "moving_digits", "shards", "ucf101")
STAGES = ("single_frame", "single_frame_fine_tuned", "lrcn", "lrcn_fine_tuned")
FRAMES_A_BATCH = 128  # of the baseline; paper's solver
# When a run goes on.
MAY_CHANGE = ("command", "run", "checkpoint_seconds", "cache", "data", "data_service", "scope")
SCOPE_HELP = "what the model is for, which `lrcn classify` prints with every answer"
PAPER = {  # the authors' solvers for RGB, https://github.com/LisaAnne/lisa-caffe-public
    "encoder": "caffenet_hybrid",
    "feature_layer": "fc6",
    "input_dropout": 0.9,
    "clips_a_video": 1,
    "single_epochs": 0,
    "single_fine_tune_epochs": 17,  # 5,000 steps of 128 frames on UCF101's split 1
    "epochs": 0,
    "fine_tune_epochs": 76,  # 30,000 steps of 24 clips
    "fine_tune_rate": 0.001,
}
MOVING_DIGITS_CLIPS = {"train": 2000, "val": 500}
MOVING_DIGITS = {  # two minutes on two cores
    "encoder": FROM_SCRATCH,
    "frame_size": (32, 32),
    "lstm_units": 64,
    "dropout": 0.0,
    "mirror": False,
    "batch_size": 16,
    "clips_a_video": 1,
    "frames_a_clip": 1,  # several of one clip lie on a line, and it would learn that by heart
    "single_epochs": 0,
    "single_fine_tune_epochs": 2,
    "epochs": 0,
    "fine_tune_epochs": 4,
    "fine_tune_rate": 0.005,
}
PAPER_FLOW = {  # what differs for optical flow
    "single_fine_tune_epochs": 168,  # 50,000 steps
    "fine_tune_epochs": 176,  # 70,000 steps
}


def main(arguments=None):
    """Runs the command line."""
    training.run_command(parse(arguments))


def train(options):
    """Trains baseline and LRCN, and leaves both as presets in the run's folder."""
    strategy = training.distribution(options.strategy)  # before there is any tensor
    with run_folder(strategy, options.run) as run:
        train_on(strategy, options, run)


def train_on(strategy, options, run):
    """Trains in the scope of a strategy; of several workers, the chief writes and scores."""
    cache = options.cache or pathlib.Path(options.run).parent / "frame_features"
    source = open_source(options, "train", options.list, cache)
    held_out = open_source(options, "val", options.val_list, cache)
    if source.class_names != held_out.class_names:
        raise ValueError(
            f"Training and validation name different classes: {source.class_names} and "
            f"{held_out.class_names}. Give both lists the same --classes FILE."
        )
    for batch_size in (options.batch_size, FRAMES_A_BATCH):
        training.check_batch_size(batch_size, strategy.num_replicas_in_sync)
    keras.config.set_dtype_policy(options.precision)
    keras.utils.set_random_seed(options.seed)
    encoders = FLOW_ENCODERS if options.modality == "flow" else ENCODERS
    with strategy.scope():
        encoder = training.load_encoder(options.encoder, encoders)
        single = zoo.single_frame_recognizer(encoder, len(source.class_names), options.dropout)
        if options.encoder == FROM_SCRATCH:  # single frames teach it nothing: see moving_digits
            encoder = training.load_encoder(options.encoder, encoders)
        lrcn = zoo.lrcn_activity_recognizer(
            cut(encoder, options.feature_layer),
            len(source.class_names),
            options.clip_length,
            options.lstm_units,
            options.input_dropout,
            options.dropout,
            keras.initializers.RandomUniform(-0.01, 0.01) if options.paper else None,
        )
    run.mkdir(parents=True, exist_ok=True)
    keep_settings(run / "settings.json", vars(options), MAY_CHANGE, strategy)
    # Batches already seen can be skipped only among the same videos.
    videos = [source.class_names, list(map(str, source.video_ids)), source.labels.tolist()]
    keep_settings(run / "data.json", {"videos": videos}, strategy=strategy)
    print(f"{len(source.labels)} videos, {source.num_frames.sum()} frames, ", end="")
    print(f"{len(source.class_names)} classes; {len(held_out.labels)} videos held out", flush=True)

    fit = functools.partial(
        fit_stage, run, patience=options.patience, seconds=options.checkpoint_seconds
    )

    def fit_both(name, recognizer, clip_length, batch_size, clips_a_video, epochs, tuning_epochs):
        """Trains the head on the frozen CNN, then the whole network."""
        encoder, best, rows = recognizer.frame_encoder, None, np.arange(len(source.labels))
        steps = -(-len(source.labels) * clips_a_video // batch_size)
        sizes = (clip_length, batch_size, clips_a_video, options.seed)
        views = ("center", "mirror_center") if options.mirror else VIEWS[:1]

        def val_top_1(features, labels, _):
            probabilities = classify_videos(recognizer, features, clip_length, STRIDE)
            return {"val_top_1": top_k(probabilities, labels, 1)}

        def val_top_1_from_pixels():
            with tempfile.TemporaryDirectory() as passing:
                return val_top_1(*encode(encoder, held_out, options.frame_size, passing))

        if epochs:
            encoder.trainable = False
            features, labels, rows = encode(encoder, source, options.frame_size, cache, views)
            score = functools.partial(
                val_top_1, *encode(encoder, held_out, options.frame_size, cache)
            )
            recognizer.adapt(views[0] for views in features)
            with strategy.scope():
                model = recognizer.on_features()
                compile_recognizer(model, options, options.learning_rate, steps * epochs, name)
            batches = functools.partial(clip_feature_batches, features, labels, *sizes)
            best = fit(name, model, batches, epochs, score)
        if tuning_epochs:
            encoder.trainable = True
            if options.encoder != FROM_SCRATCH:  # else they stay ImageNet's
                training.freeze_batch_statistics(encoder)
            with strategy.scope():
                rate = options.fine_tune_rate
                compile_recognizer(recognizer, options, rate, steps * tuning_epochs, name)
            batches = functools.partial(
                clip_batches,
                source,
                rows,
                options.frame_size,
                encoder.input_shape[1],
                options.mirror,
                *sizes,
                service=options.data_service,
            )
            stage = f"{name}_fine_tuned"
            fit(stage, recognizer, batches, tuning_epochs, val_top_1_from_pixels, best)

    fit_both(
        "single_frame",
        single,
        1,
        FRAMES_A_BATCH,
        options.frames_a_clip * options.clips_a_video,
        options.single_epochs,
        options.single_fine_tune_epochs,
    )
    fit_both(
        "lrcn",
        lrcn,
        options.clip_length,
        options.batch_size,
        options.clips_a_video,
        options.epochs,
        options.fine_tune_epochs,
    )

    if not is_chief(strategy):
        return
    logs = {stage: run / stage / "log.csv" for stage in STAGES}
    draw_curves({s: log for s, log in logs.items() if log.exists()}, run / "curves.png")
    metadata = {
        "data": f"{options.dataset}: {len(source.labels)} training videos, scored on "
        f"{len(held_out.labels)} held-out ones.",
        "command": " ".join(["python", "recipes/activity_recognition.py", *sys.argv[1:]]),
        "seed": options.seed,
        "frames": {
            "modality": options.modality,
            "rate": options.rate,
            "size": options.frame_size,
            "clip_length": options.clip_length,
            "stride": STRIDE,
        },
    }
    if options.scope:
        metadata["scope"] = options.scope
    rgb = [
        open_rgb_source(options, split, list_file, opened)
        for split, list_file, opened in (
            ("train", options.list, source),
            ("val", options.val_list, held_out),
        )
    ]
    # What is scored is what was saved and will be loaded: half the precision on disk, and this
    # run's policy for layers forgotten.
    keras.config.set_dtype_policy("float32")
    kinds = {"baseline": ("Single frames", single), "model": ("LRCN", lrcn)}
    for folder, (kind, model) in kinds.items():
        model.class_names = source.class_names
        metadata["about"] = f"{kind}, frame encoder {options.encoder}, {options.modality}."
        model.save_to_preset(run / folder, metadata)
        model = from_preset(run / folder)
        out = run / ("metrics.json" if folder == "model" else "baseline-metrics.json")
        metrics = report(model, held_out, metadata["frames"], cache, out)
        found = add_feature_statistics(model, *rgb, options.frame_size, options.seed)
        model.save_to_preset(run / folder, {**metadata, **found, "scores": metrics})
        print(f"{kind}: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    if source.skipped:
        print(skipped_line(source), file=sys.stderr)
    print(f"The model is in {run / 'model'}: lrcn classify --model {run / 'model'} VIDEO")


def add_feature_statistics(recognizer, source, held_out, frame_size, seed=0):
    """Computes the statistics of the training videos, and which held-out videos they mark.

    Args:
        recognizer: Model whose `feature_statistics` are set, where they can be computed.
        source, held_out: Videos as RGB frames, or None.
        frame_size: Height and width in pixels to which frames are brought first.
        seed: Of the choice among more than 1,000 videos.

    Returns:
        Dict for the metadata of a preset; empty without statistics.
    """
    if source is None or held_out is None:
        print("No statistics of the training videos: only their flow is here.", file=sys.stderr)
        return {}
    try:
        statistics = fit_feature_statistics(recognizer, source, frame_size, seed)
    except ValueError as error:  # a training that is done must not be lost for their sake
        print(f"No statistics of the training videos: {error}", file=sys.stderr)
        return {}
    recognizer.feature_statistics = statistics
    marked, compared = count_unlike(recognizer, held_out, frame_size, seed)
    print(
        f"{marked} of {compared} held-out videos are marked as unlike the training videos "
        f"(threshold {statistics.threshold:.2f})"
    )
    return {"unlike_training": {"held_out_marked": marked, "held_out_videos": compared}}


def statistics(options):
    """Saves a preset again with the statistics of its training videos."""
    recognizer = from_run(options.model, "activity_recognition")
    frames = recognizer.metadata["frames"]
    settings = argparse.Namespace(**{**vars(options), "modality": "rgb", "rate": frames["rate"]})
    settings.classes = options.classes or recognizer.class_names
    source = open_source(settings, "train", options.list, options.cache)
    held_out = open_source(settings, "val", options.val_list, options.cache)
    if "flow" in (source.modality, held_out.modality):
        source = None
    found = add_feature_statistics(recognizer, source, held_out, frames["size"], options.seed)
    if not found:
        raise ValueError("No statistics could be computed; no preset is written.")
    scope = {"scope": options.scope} if options.scope else {}
    recognizer.save_to_preset(options.out, {**recognizer.metadata, **scope, **found})
    print(f"The preset is in {options.out}")


def evaluate(options):
    """Names the activity in the videos of a split, and counts how often that is right."""
    if len(options.model) != len(options.fold):
        raise ValueError(
            f"Each of {len(options.model)} models is scored on a fold of its own, and "
            f"{len(options.fold)} folds are given."
        )
    out = pathlib.Path(options.out)
    of_folds = []
    for model, fold in zip(options.model, options.fold, strict=True):
        recognizer = from_run(model, "activity_recognition")
        frames = recognizer.metadata["frames"]
        settings = argparse.Namespace(**{**vars(options), **frames, "fold": fold})
        settings.frame_size, settings.seed = frames["size"], recognizer.metadata.get("seed")
        settings.classes = options.classes or recognizer.class_names
        beside = pathlib.Path(model, "model").exists()  # a run's videos lie encoded beside it
        cache = options.cache or pathlib.Path(model if beside else out).parent / "frame_features"
        source = open_source(settings, options.split, options.list, cache)
        if source.class_names != recognizer.class_names:
            raise ValueError(
                f"The model {model} knows the classes {recognizer.class_names}, the data set "
                f"{source.class_names}."
            )
        name = out if len(options.model) == 1 else out.with_stem(f"{out.stem}-fold{fold}")
        views = VIEWS if options.crops == 10 else VIEWS[:1]
        of_folds.append(report(recognizer, source, frames, cache, name, views, options.compare))
    metrics = of_folds[0]
    if len(of_folds) > 1:
        metrics = {key: float(np.mean([m[key] for m in of_folds])) for key in metrics}
        write_json(out, metrics)
    print(json.dumps(metrics, indent=1))


def fusion(options):
    """Averages the scores that several models gave to the same videos."""
    fused = fuse([load_scores(path) for path in options.scores], options.weights)
    metrics = write_report(fused, options.out, options.compare)
    print(json.dumps(metrics, indent=1))


def export(options):
    """Writes a trained model as a SavedModel for a TensorFlow model server."""
    print(export_preset(options.model, options.saved_models, options.name))


def report(recognizer, source, frames, cache, out, views=VIEWS[:1], compare=None):
    """Classifies videos and writes metrics, scores and pictures beside each other."""
    if source.skipped:
        print(skipped_line(source), file=sys.stderr)
    features, labels, rows = encode(recognizer.frame_encoder, source, frames["size"], cache, views)
    clip_length = recognizer.clip_length or 1
    probabilities = classify_videos(recognizer, features, clip_length, frames["stride"])
    ids = [str(source.video_ids[row]) for row in rows]
    scores = Scores(np.array(ids), probabilities, labels, source.class_names)
    return write_report(scores, out, compare)


def encode(encoder, source, frame_size, cache, views=VIEWS[:1]):
    """Gives features and labels of those videos that can be read to their end, and their rows."""
    features, damaged = encode_videos(encoder, source, frame_size, cache, views)
    for reason in damaged.values():
        print(f"Left out: {reason}", file=sys.stderr)
    rows = [row for row in range(len(features)) if row not in damaged]
    return [features[row] for row in rows], source.labels[rows], rows


def open_source(options, split, list_file, cache):
    """Opens the videos of a split."""
    if options.dataset == "moving_digits":
        clips = MOVING_DIGITS_CLIPS["train" if split == "train" else "val"]
        return ClipArray(*moving_digits(split, clips, options.seed))
    if options.dataset == "shards":
        return VideoShards(pathlib.Path(options.data) / split)
    if options.dataset == "clip_folder":
        named = {"list_file": list_file, "classes": options.classes}
        named["random_split"] = options.random_split
        split = None if list_file and not options.random_split else split
    else:
        named = {"fold": options.fold}
    videos, class_names = datasets.read_videos(options.dataset, options.data, split, **named)
    if options.modality == "rgb":
        return VideoFiles(videos, class_names, options.rate)
    # Flow is computed once and kept.
    what = [options.rate, options.frame_size, [video.video_id for video in videos]]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    folder = pathlib.Path(cache) / f"flow-{digest}"
    return prepare(videos, class_names, folder, options.rate, options.frame_size, "flow")


def open_rgb_source(options, split, list_file, source):
    """Opens the videos of a source as RGB frames; None where there is only their flow."""
    if source.modality == "rgb":
        return source
    if options.dataset == "shards":
        return None
    settings = argparse.Namespace(**{**vars(options), "modality": "rgb"})
    return open_source(settings, split, list_file, cache=None)


def skipped_line(source):
    """Says in one line how many videos were left out."""
    path, reason = next(iter(source.skipped.items()))
    return f"{len(source.skipped)} videos were left out, the first one {path}: {reason}"


def cut(encoder, layer):
    """Ends an encoder at one of its layers, which it shares; None for the encoder as it is."""
    if layer is None:
        return encoder
    return keras.Model(encoder.input, encoder.get_layer(layer).output, name=encoder.name)


def compile_recognizer(model, options, rate, batches, name):
    """Compiles for cross-entropy at every frame that is there."""
    if options.paper:
        single, flow = name == "single_frame", options.modality == "flow"
        drop = {(True, False): 3_000, (False, False): 10_000}.get((single, flow), 20_000)
        schedule = keras.optimizers.schedules.ExponentialDecay(rate, drop, 0.1, staircase=True)
        clipnorm = None if single else 15.0 if flow else 5.0
        optimizer = CaffeSGD(
            schedule,
            decay=0.005,
            factors={"logits": 10},
            momentum=0.9,
            global_clipnorm=clipnorm,
            gradient_accumulation_steps=options.accumulate,
        )
    else:
        optimizer = cosine_adam(rate, batches, options.accumulate)
    model.compile(optimizer, StepCrossEntropy(), jit_compile=training.jit_compile())


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--dataset", required=True, choices=DATASETS)
    data.add_argument("--data", metavar="DIR", help="where the data set lies")
    data.add_argument("--list", metavar="FILE", help="of clip_folder: lines of `path label`")
    data.add_argument("--classes", metavar="FILE", help="of clip_folder: names, one a line")
    data.add_argument("--random-split", type=float, metavar="SHARE", help="of clip_folder")
    data.add_argument("--cache", help="folder of encoded frames; default: beside the run")

    p = commands.add_parser("train", parents=[data], help="train baseline and LRCN")
    p.set_defaults(command=train)
    p.add_argument("--run", required=True, help="folder of this run; the same again goes on")
    p.add_argument("--val-list", metavar="FILE", help="of clip_folder: the held-out videos")
    p.add_argument("--scope", metavar="SENTENCE", help=SCOPE_HELP)
    p.add_argument("--fold", type=int, default=1, choices=[1, 2, 3], help="of ucf101, hmdb51")
    p.add_argument("--modality", default="rgb", choices=["rgb", "flow"])
    p.add_argument("--rate", type=float, help="frames per second; default: the video's own")
    p.add_argument(
        "--frame-size", type=training.frame_size, default=FRAME_SIZE, metavar="HEIGHTxWIDTH"
    )
    p.add_argument(
        "--paper", action="store_true", help="the paper's numbers, where no others are given"
    )
    p.add_argument("--encoder", default="efficientnet_lite0", help="name, or a file.keras")
    p.add_argument("--feature-layer", help="what the LSTM reads, such as fc6; default: the last")
    p.add_argument("--clip-length", type=int, default=CLIP_LENGTH)
    p.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="half of the clips; not where left and right are different activities",
    )
    p.add_argument("--lstm-units", type=int, default=256)
    p.add_argument("--input-dropout", type=float, default=0.0, help="before the LSTM")
    p.add_argument("--dropout", type=float, default=0.5, help="behind it")
    p.add_argument("--batch-size", type=int, default=24, help="clips a batch; authors' code")
    p.add_argument("--clips-a-video", type=int, default=4, help="that an epoch draws")
    p.add_argument(
        "--frames-a-clip", type=int, default=4, help="that the baseline draws for each of them"
    )
    p.add_argument("--single-epochs", type=int, default=10, help="baseline, frozen CNN")
    p.add_argument("--single-fine-tune-epochs", type=int, default=0, help="baseline, whole")
    p.add_argument("--epochs", type=int, default=20, help="LRCN, frozen CNN")
    p.add_argument("--fine-tune-epochs", type=int, default=0, help="LRCN, whole network")
    p.add_argument("--learning-rate", type=float, default=1e-3, help="with a frozen CNN")
    p.add_argument("--fine-tune-rate", type=float, default=1e-4)
    p.add_argument("--patience", type=int, help="stop a stage after so many epochs without gain")
    p.add_argument("--seed", type=int, default=1)
    training.add_arguments(p)
    p.add_argument("--checkpoint-seconds", type=float, default=120)
    p.add_argument("--data-service", metavar="grpc://HOST:PORT", help="decodes for fine-tuning")

    p = commands.add_parser(
        "statistics", parents=[data], help="add statistics of the training videos to a preset"
    )
    p.set_defaults(command=statistics)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    p.add_argument("--val-list", metavar="FILE", help="of clip_folder: the held-out videos")
    p.add_argument("--scope", metavar="SENTENCE", help=SCOPE_HELP)
    p.add_argument("--fold", type=int, default=1, choices=[1, 2, 3], help="of ucf101, hmdb51")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", required=True, metavar="FOLDER", help="preset to write")

    p = commands.add_parser("evaluate", parents=[data], help="classify a split and score it")
    p.set_defaults(command=evaluate)
    p.add_argument("--model", required=True, nargs="+", help="run, or preset; one for each fold")
    p.add_argument("--fold", type=int, nargs="+", default=[1], choices=[1, 2, 3])
    p.add_argument("--split", default="val", choices=["train", "val", "test"])
    p.add_argument("--crops", type=int, default=1, choices=[1, 10])
    p.add_argument("--compare", metavar="SCORES", help="of another run: what changed, by class")
    p.add_argument("--out", required=True, metavar="metrics.json")

    p = commands.add_parser("fuse", help="average the scores of several models")
    p.set_defaults(command=fusion)
    p.add_argument("--scores", required=True, nargs="+", metavar="scores.npz")
    p.add_argument("--weights", required=True, nargs="+", type=float)
    p.add_argument("--compare", metavar="SCORES", help="of another run: what changed, by class")
    p.add_argument("--out", required=True, metavar="metrics.json")

    p = commands.add_parser("export", help="write a SavedModel for a model server")
    p.set_defaults(command=export)
    p.add_argument("--model", required=True, help="run, preset's folder or preset's name")
    p.add_argument("--saved-models", required=True, metavar="DIR", help="of all served models")
    p.add_argument("--name", help="what clients ask for; default: lrcn_activity_recognizer")

    options = parser.parse_args(arguments)
    defaults = {}
    if getattr(options, "paper", False):
        defaults = {**PAPER, **(PAPER_FLOW if options.modality == "flow" else {})}
    elif options.command is train and options.dataset == "moving_digits":
        defaults = MOVING_DIGITS
    if defaults:
        commands.choices["train"].set_defaults(**defaults)
        options = parser.parse_args(arguments)  # what was given explicitly counts more
    files = options.command is train and options.dataset != "shards" and options.modality == "rgb"
    if files and options.data_service:
        commands.choices["train"].error(
            "--data-service goes with --dataset shards or --modality flow: it reads prepared "
            "videos, not video files"
        )
    return options


if __name__ == "__main__":
    main()
