"""Arguments that several commands take."""

import argparse

CAPTIONER = (
    "lrcn_captioner_efficientnet_lite2_flickr8k_coco"  # the model that describes photographs
)

# The one that names activities: it tells fights from none, nothing else.
RECOGNIZER = "lrcn_activity_efficientnet_lite0_fights"


def positive(text):
    """Reads a whole number, 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return number


def frame_size(text):
    """Reads `240x320`: height and width in pixels."""
    try:
        height, width = map(positive, text.split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, got {text}") from None
    return height, width


def shard(text):
    """Reads `3/16`, the third part of sixteen: gives `(2, 16)`, counted from 0."""
    try:
        number, parts = map(int, text.split("/"))
    except ValueError:
        number = parts = 0
    if not 1 <= number <= parts:
        raise argparse.ArgumentTypeError(f"expected I/N, such as 1/16 to 16/16, got {text}")
    return number - 1, parts


def add_shard(p, help):
    """Adds `--shard`."""
    p.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help=help)


def add_videos(p):
    """Adds what names a split of a data set."""
    p.add_argument("--data", required=True, metavar="DIR", help="where the data set lies")
    p.add_argument("--split", help="train, val or test; not with --list")
    p.add_argument("--fold", type=positive, help="of hmdb51 and ucf101, 1 to 3")
    p.add_argument("--list", metavar="FILE", help="of clip_folder: lines of `path label`")
    p.add_argument("--classes", metavar="FILE", help="of clip_folder: names, one a line")
    p.add_argument("--random-split", type=float, metavar="SHARE", help="of clip_folder")


def read_videos(options):
    """Reads the labelled videos that `add_videos` names, and their classes."""
    from zoo.data import datasets

    named = {
        "list_file": options.list,
        "classes": options.classes,
        "random_split": options.random_split,
        "fold": options.fold,
    }
    named = {name: value for name, value in named.items() if value is not None}
    return datasets.read_videos(options.dataset, options.data, options.split, **named)
