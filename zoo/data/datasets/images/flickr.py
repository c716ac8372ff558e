"""Readers for Flickr8k and Flickr30k as their authors publish them."""

import os
import re

from zoo.data.datasets.example import (
    CaptionedImage,
    existing,
    inside,
    lines_of,
    not_empty,
    split_name,
)

IMAGE_FOLDERS = {  # under the names that the archives unpack to
    "flickr8k": ("Images", "Flicker8k_Dataset"),
    "flickr30k": ("flickr30k-images", "flickr30k_images"),
}
TOKEN_LINE = re.compile(r"(?P<name>.+)#\d+\t(?P<caption>.*)")
# Flickr30k's results.csv lacks the second bar in one line, `2199200615.jpg| 4   A dog runs ...`.
CSV_LINE = re.compile(r"(?P<name>[^|]+?) *\| *\d+(?: *\|| ) *(?P<caption>.*)")


def flickr8k(root, split):
    """Reads a split of Flickr8k.

    Args:
        root: Folder with `Flickr8k.token.txt`, the pictures in `Images/` or `Flicker8k_Dataset/`,
            and the list of the split: `Flickr_8k.trainImages.txt`, `Flickr_8k.devImages.txt` or
            `Flickr_8k.testImages.txt`.
        split: `"train"`, `"dev"` (or `"val"`) or `"test"`.

    Returns:
        List of `CaptionedImage` in the order of the split's list; `image_id` is the file's name.
        Captions of pictures in no list are passed over: the published file has some for a picture
        that does not exist (`2258277193_586949ec62.jpg.1`).

    Raises:
        FileNotFoundError: If the captions or the split's list are not there.
        ValueError: If a line is malformed, a listed picture has no caption, or a split is empty.

    Source:
        Hodosh, Young and Hockenmaier, 2013. https://doi.org/10.1613/jair.3994
    """
    name = {"train": "train", "val": "dev", "test": "test"}[split_name(split)]
    split_file = os.path.join(root, f"Flickr_8k.{name}Images.txt")
    existing(split_file, f'the list of pictures of the split "{split}" of Flickr8k')
    token_file = existing(os.path.join(root, "Flickr8k.token.txt"), "the captions of Flickr8k")
    captions = _read_captions(token_file, TOKEN_LINE, "name.jpg#number<TAB>caption")
    folder = image_folder(root, "flickr8k")
    return _listed_images(split_file, split, folder, captions, token_file)


def flickr30k(root, split):
    """Reads a split of Flickr30k.

    Flickr30k is published without splits. Lists of pictures are read where you have them, such
    as those of Flickr30k Entities; else use Karpathy's `dataset_flickr30k.json` (see `karpathy`).

    Args:
        root: Folder with `results_20130124.token` or `results.csv`, the pictures in
            `flickr30k-images/` or `flickr30k_images/`, and the lists `train.txt`, `val.txt` and
            `test.txt`: one picture a line, with or without `.jpg`.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.

    Returns:
        List of `CaptionedImage` in the order of the split's list; `image_id` is the file's name.

    Raises:
        FileNotFoundError: If the captions or the split's list are not there.
        ValueError: If a line is malformed, a listed picture has no caption, or a split is empty.

    Source:
        Young, Lai, Hodosh and Hockenmaier, 2014. https://aclanthology.org/Q14-1006
    """
    split_file = os.path.join(root, f"{split_name(split)}.txt")
    if not os.path.isfile(split_file):
        raise FileNotFoundError(
            f'Expected the list of Flickr30k\'s split "{split}", one picture a line, at '
            f"{split_file}, but there is no such file. Flickr30k is published without splits: "
            f"make the lists, or put Karpathy's dataset_flickr30k.json into {root} and read it as "
            f'the data set "karpathy".'
        )
    token_file = os.path.join(root, "results_20130124.token")
    csv_file = os.path.join(root, "results.csv")
    if os.path.isfile(csv_file) and not os.path.isfile(token_file):
        caption_file, pattern, expected = csv_file, CSV_LINE, "name.jpg| number| caption"
    else:
        caption_file, pattern, expected = token_file, TOKEN_LINE, "name.jpg#number<TAB>caption"
        existing(token_file, "the captions of Flickr30k (or results.csv beside it)")
    captions = _read_captions(caption_file, pattern, expected)
    folder = image_folder(root, "flickr30k")
    return _listed_images(split_file, split, folder, captions, caption_file, extension=".jpg")


def image_folder(root, dataset):
    """Returns the folder of the pictures under `root`, or the usual one where there is none."""
    folders = [os.path.join(root, name) for name in IMAGE_FOLDERS[dataset]]
    return next(filter(os.path.isdir, folders), folders[0])


def _read_captions(path, pattern, expected):
    captions = {}
    for number, line in lines_of(path):
        match = pattern.fullmatch(line)
        if match:
            captions.setdefault(match["name"], []).append(match["caption"].strip())
        elif number > 1 or pattern is not CSV_LINE:  # a csv begins with the names of its columns
            raise ValueError(f"{path}, line {number}: expected `{expected}`, got {line!r:.200}.")
    return captions


def _listed_images(split_file, split, folder, captions, caption_file, extension=""):
    examples = []
    for number, line in lines_of(split_file):
        name = line.strip()
        if not name.endswith(extension):
            name += extension
        path = inside(folder, name, f"{split_file}, line {number}")
        if name not in captions:
            raise ValueError(
                f"{split_file}, line {number}: expected a picture with captions in "
                f"{caption_file}, but that has none for {name!r}. Is the file complete?"
            )
        examples.append(CaptionedImage(name, path, captions[name]))
    return not_empty(examples, split_file, split)
