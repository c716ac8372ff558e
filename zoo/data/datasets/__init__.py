"""Readers: the pictures or videos of a data set, from the files its authors publish."""

from typing import NamedTuple

from zoo.data.datasets.activities.clip_folder import clip_folder
from zoo.data.datasets.activities.hmdb51 import hmdb51
from zoo.data.datasets.activities.labeled_video import LabelledVideo
from zoo.data.datasets.activities.ucf101 import ucf101
from zoo.data.datasets.described.described_video import DescribedVideo, label_ids, roles_of
from zoo.data.datasets.described.msrvtt import msrvtt
from zoo.data.datasets.described.msvd import msvd
from zoo.data.datasets.described.tacos import label_probabilities, tacos
from zoo.data.datasets.example import CaptionedImage, EmptySplitError
from zoo.data.datasets.images.coco import coco, karpathy, karpathy_folder
from zoo.data.datasets.images.flickr import flickr8k, flickr30k
from zoo.data.datasets.images.sentences import sentences
from zoo.data.datasets.own import own, own_videos
from zoo.data.datasets.synthetic.moving_digits import moving_digits

__all__ = [
    "CaptionedImage",
    "DataSource",
    "DescribedVideo",
    "EmptySplitError",
    "LabelledVideo",
    "clip_folder",
    "coco",
    "flickr30k",
    "flickr8k",
    "hmdb51",
    "karpathy",
    "label_ids",
    "label_probabilities",
    "moving_digits",
    "msrvtt",
    "msvd",
    "own",
    "own_videos",
    "parse_source",
    "read",
    "read_described",
    "read_sources",
    "read_videos",
    "roles_of",
    "sentences",
    "tacos",
    "ucf101",
]

READERS = {
    "flickr8k": flickr8k,
    "flickr30k": flickr30k,
    "coco2014": lambda root, split: coco(root, split, 2014),
    "coco2017": lambda root, split: coco(root, split, 2017),
    "karpathy": karpathy_folder,
    "own": own,
}
VIDEO_READERS = {"clip_folder": clip_folder, "hmdb51": hmdb51, "ucf101": ucf101}
DESCRIBED_READERS = {"msrvtt": msrvtt, "msvd": msvd, "own": own_videos, "tacos": tacos}


class DataSource(NamedTuple):
    """A data set of photographs on disk.

    Attributes:
        reader: A key of `READERS`, such as `"flickr8k"`.
        path: Folder or file of the data set, as the reader expects it.
    """

    reader: str
    path: str


def parse_source(text):
    """Reads `NAME=PATH`, the form in which the recipes and commands take a data set.

    >>> parse_source("own=photos/captions.json")
    DataSource(reader='own', path='photos/captions.json')

    Args:
        text: String.

    Returns:
        `DataSource`.

    Raises:
        ValueError: If the text has another form, or names an unknown reader.
    """
    reader, equals, path = text.partition("=")
    if reader not in READERS or not equals or not path:
        raise ValueError(
            f"Expected a data set as NAME=PATH, where NAME is one of {', '.join(READERS)}. "
            f"Received: {text!r}. For your own photographs: own=captions.json"
        )
    return DataSource(reader, path)


def read_sources(sources, split, max_images=None):
    """Reads a split of several data sets.

    Args:
        sources: List of `DataSource`.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.
        max_images: Only the first `max_images` images of each data set; None for all.

    Returns:
        Dict from a label to a list of `CaptionedImage`. The label is the reader's name; a second
        data set of the same reader is `"own_2"`.

    Raises:
        FileNotFoundError, ValueError: See `read`.
    """
    splits = {}
    for source in sources:
        label = source.reader
        number = 1
        while label in splits:
            number += 1
            label = f"{source.reader}_{number}"
        splits[label] = read(source.reader, source.path, split)[:max_images]
    return splits


def read(name, root, split):
    """Reads a split of a data set that is called by its name.

    Args:
        name: `"flickr8k"`, `"flickr30k"`, `"coco2014"`, `"coco2017"`, `"karpathy"` or `"own"`.
        root: Folder of the data set, as its reader describes it. For `"karpathy"` the folder that
            holds one `dataset_*.json` and the pictures; for `"own"` the JSON file.
        split: `"train"`, `"val"` or `"test"`; `"dev"` is another word for `"val"`.

    Returns:
        List of `CaptionedImage`.

    Raises:
        FileNotFoundError: If a file of the data set is not where it should be.
        ValueError: If the name is none of these, a file is malformed, or the split is empty.
    """
    if name not in READERS:
        raise ValueError(f"A data set is called one of {', '.join(READERS)}; got {name!r}.")
    return READERS[name](root, split)


def read_videos(name, root, split=None, **options):
    """Reads a split of a data set of videos that is called by its name.

    Args:
        name: `"clip_folder"`, `"hmdb51"` or `"ucf101"`.
        root: Folder of the data set, as its reader describes it.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`; of a `"clip_folder"` also None.
        **options: What else the reader takes, such as `fold=1` or `list_file="train.txt"`.

    Returns:
        List of `LabelledVideo`, and the names of the classes, index = label.

    Raises:
        FileNotFoundError: If a file of the data set is not where it should be.
        ValueError: If the name is none of these, a file is malformed, or the split is empty.
    """
    if name not in VIDEO_READERS:
        raise ValueError(
            f"A data set of videos is called one of {', '.join(VIDEO_READERS)}; got {name!r}."
        )
    return VIDEO_READERS[name](root, split, **options)


def read_described(name, root, split):
    """Reads a split of a data set of videos with sentences that is called by its name.

    Args:
        name: `"msrvtt"`, `"msvd"`, `"own"` or `"tacos"`.
        root: Folder of the data set, as its reader describes it; for `"own"` the JSON file.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.

    Returns:
        List of `DescribedVideo`.

    Raises:
        FileNotFoundError: If a file of the data set is not where it should be.
        ValueError: If the name is none of these, a file is malformed, or the split is empty.
    """
    if name not in DESCRIBED_READERS:
        raise ValueError(
            "A data set of videos with sentences is called one of "
            f"{', '.join(DESCRIBED_READERS)}; got {name!r}."
        )
    return DESCRIBED_READERS[name](root, split)
