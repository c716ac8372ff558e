"""`lrcn features`: encodes a data set before training, on as many machines as there are."""

import functools
import os
import sys

from zoo.cli.arguments import add_shard, add_videos, frame_size, read_videos

RATE_OF_DESCRIBED = 3.0  # frames per second, as the recipe's


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser(
        "features",
        help="run a frozen CNN over photographs or videos, once, before training",
        description="Fills the cache in which the recipes look for features, the folder that they "
        "get as --cache. The recipe's own settings find them: give the same ones.",
    )
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("cache", metavar="CACHE", help="folder of the cache")
    p.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help="any that a recipe reads; shards of `lrcn prepare`; own (pictures), own_videos",
    )
    add_videos(p)
    encoder = p.add_mutually_exclusive_group()
    encoder.add_argument("--encoder", help="efficientnet_lite0 (default), vgg16, or a file.keras")
    encoder.add_argument("--model", metavar="PRESET", help="encoder and frames of a trained model")
    p.add_argument("--precision", help="of the recipe; default: float32")
    p.add_argument("--rate", type=float, help="frames per second; default: as the recipe")
    p.add_argument("--frame-size", type=frame_size, metavar="HEIGHTxWIDTH")
    p.add_argument(
        "--no-mirror",
        dest="mirror",
        action="store_false",
        help="leave out the mirrored views, which only training on photographs or activities needs",
    )
    add_shard(p, "encode the I-th of N parts; processes and machines share CACHE; default: all")


def _check(parser, options):
    if options.model and (options.rate or options.frame_size or options.precision):
        parser.error("--rate, --frame-size and --precision go with --encoder: a model has its own")


def run(options):
    """Encodes a part of a split, as the recipe will."""
    from zoo.data import datasets

    if options.dataset in datasets.READERS:
        done, skipped = encode_photographs(options)
    else:
        done, skipped = encode_videos(options)
    for place, reason in skipped.items():
        print(f"left out: {place}: {reason}", file=sys.stderr)
    number, parts = options.shard
    print(f"Part {number + 1} of {parts}: the features of {done} are in {options.cache}; ", end="")
    print(f"{len(skipped)} left out.")
    return 0


def encode_photographs(options):
    """Encodes whole shards of the cache, which are of pictures that follow each other."""
    from zoo.data import datasets
    from zoo.data.features.captioned import with_words
    from zoo.data.features.image_features import SHARD, encode_images
    from zoo.data.images.decode import explain
    from zoo.data.sources.parts import part_of

    examples, _ = with_words(datasets.read(options.dataset, options.data, options.split), "image")
    paths = list(dict.fromkeys(os.path.abspath(example.path) for example in examples))
    paths = part_of(paths, options.shard, run=SHARD)
    encoder, _ = _encoder(options, "fc8")
    views = ("full", "mirror") if options.mirror else ("full",)
    _, readable = encode_images(encoder, paths, encoder.input_shape[1], options.cache, views)
    bad = [path for path, good in zip(paths, readable, strict=True) if not good]
    return f"{len(paths) - len(bad)} pictures", {
        path: explain(path) or "cannot be read" for path in bad
    }


def encode_videos(options):
    """Encodes videos, each of which has its own files in the cache."""
    from zoo.data.features.frame_features import encode_videos

    encoder, frames = _encoder(options, "fc7")
    source, views = _open(options, frames)
    if source is None:
        return "0 videos", {}
    _, damaged = encode_videos(encoder, source, frames["size"], options.cache, views)
    skipped = source.skipped | {source.video_ids[row]: why for row, why in damaged.items()}
    return f"{len(source.num_frames) - len(damaged)} videos", skipped


def _open(options, frames):
    """Gives the videos of this part, None where there are none, and the views of a frame."""
    import numpy as np

    from zoo.data import datasets
    from zoo.data.features.captioned import with_words
    from zoo.data.sources.files import VideoFiles
    from zoo.data.sources.parts import part_of
    from zoo.data.sources.shards import VideoShards

    name = options.dataset.removesuffix("_videos")
    views = ("center", "mirror_center") if options.mirror else ("center",)
    if name == "shards":
        source = VideoShards(os.path.join(options.data, options.split or ""))
        rows = part_of(range(len(source)), options.shard)
        return source.subset(np.array(rows, int)) if rows else None, views
    if frames["modality"] == "flow":
        raise ValueError(
            "Flow is computed once and kept: `lrcn prepare --modality flow`, and then here "
            "--dataset shards."
        )
    if name in datasets.DESCRIBED_READERS:
        videos = datasets.read_described(name, options.data, options.split)
        videos, views = with_words(videos, "video")[0], ("center",)  # left and right are words
        rate = frames["rate"] or RATE_OF_DESCRIBED
    else:
        videos, rate = read_videos(options)[0], frames["rate"]
    videos = part_of(videos, options.shard)
    return VideoFiles(videos, rate=rate) if videos else None, views


def _encoder(options, vgg16_layer):
    """Gives the encoder, and how it wants the frames of a video."""
    import keras

    from zoo import training
    from zoo.data.videos.clips import FRAME_SIZE
    from zoo.models.backbones import efficientnet_lite0, vgg16
    from zoo.presets import from_run

    if options.model:
        model = from_run(options.model)
        frames = {"modality": "rgb", "rate": None, "size": FRAME_SIZE}
        encoder = getattr(model, "frame_encoder", None) or getattr(model, "image_encoder", None)
        if encoder is None:
            raise ValueError(f"{options.model} sees no pictures: it is fed labels.")
        return encoder, frames | model.metadata.get("frames", {})
    encoders = {
        "efficientnet_lite0": efficientnet_lite0,
        "vgg16": functools.partial(vgg16, vgg16_layer, weights="imagenet"),
    }
    keras.config.set_dtype_policy(options.precision or "float32")
    encoder = training.load_encoder(options.encoder or "efficientnet_lite0", encoders)
    size = options.frame_size or FRAME_SIZE
    return encoder, {"modality": "rgb", "rate": options.rate, "size": size}
