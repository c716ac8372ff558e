"""Readers for COCO's captions, and for the splits that Karpathy made of COCO and Flickr."""

import os
import pathlib

from zoo.data.datasets.example import (
    CaptionedImage,
    existing,
    field,
    inside,
    not_empty,
    parsed_json,
    split_name,
)
from zoo.data.datasets.images.flickr import IMAGE_FOLDERS, image_folder


def coco(root, split, year):
    """Reads a split of COCO's captions.

    Args:
        root: Folder with `annotations/captions_train2014.json` and the pictures in `train2014/`,
            or the same for `val` and 2017.
        split: `"train"` or `"val"` (or `"dev"`). COCO keeps its test captions to itself.
        year: 2014 or 2017.

    Returns:
        List of `CaptionedImage` in the order of the file; `image_id` is COCO's number. A picture
        without an annotation has no captions.

    Raises:
        FileNotFoundError: If the annotations are not there.
        ValueError: If they are not in COCO's form, or the split is empty or `"test"`.

    Source:
        Chen et al., 2015. https://arxiv.org/abs/1504.00325
    """
    split = split_name(split)
    if year not in (2014, 2017):
        raise ValueError(f"COCO's captions are of the year 2014 or 2017, got {year!r}.")
    if split == "test":
        raise ValueError(
            'COCO publishes captions for "train" and "val", none for "test". Use "val", or '
            "Karpathy's dataset_coco.json, whose test pictures are COCO's val2014 (data set "
            '"karpathy").'
        )
    path = os.path.join(root, "annotations", f"captions_{split}{year}.json")
    contents = parsed_json(existing(path, f"COCO's captions of {year} for {split!r}"))
    folder = os.path.join(root, f"{split}{year}")
    captions = {}
    for number, annotation in enumerate(field(contents, "annotations", list, path)):
        where = f"{path}, annotations[{number}]"
        sentences = captions.setdefault(field(annotation, "image_id", int, where), [])
        sentences.append(field(annotation, "caption", str, where).strip())
    examples = []
    for number, image in enumerate(field(contents, "images", list, path)):
        where = f"{path}, images[{number}]"
        image_id = field(image, "id", int, where)
        picture = inside(folder, field(image, "file_name", str, where), where)
        examples.append(CaptionedImage(image_id, picture, captions.get(image_id, [])))
    return not_empty(examples, path, split)


def karpathy(json_path, images_root, split):
    """Reads a split of Karpathy's `dataset_coco.json`, `dataset_flickr8k.json` or the like.

    Args:
        json_path: The JSON file.
        images_root: Folder in which the file's names are looked up: for COCO the one with
            `train2014/` and `val2014/`, else the folder of the pictures themselves.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`. `"train"` includes the pictures marked
            `"restval"`, as in the published results.

    Returns:
        List of `CaptionedImage` in the order of the file; `image_id` is COCO's number, or the
        name of the file for pictures that are not COCO's.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it is not in Karpathy's form, or the split is empty.

    Source:
        Karpathy and Fei-Fei, 2015. https://cs.stanford.edu/people/karpathy/deepimagesent
    """
    split = split_name(split)
    contents = parsed_json(existing(json_path, "Karpathy's splits and captions"))
    examples = []
    for number, image in enumerate(field(contents, "images", list, json_path)):
        where = f"{json_path}, images[{number}]"
        mark = field(image, "split", str, where)
        if mark != split and (mark, split) != ("restval", "train"):
            continue
        name = field(image, "filename", str, where)
        image_id = field(image, "cocoid", int, where) if "cocoid" in image else name
        if "filepath" in image:
            name = f"{field(image, 'filepath', str, where)}/{name}"
        sentences = field(image, "sentences", list, where)
        captions = [field(sentence, "raw", str, where).strip() for sentence in sentences]
        examples.append(CaptionedImage(image_id, inside(images_root, name, where), captions))
    return not_empty(examples, json_path, split)


def karpathy_folder(root, split):
    """Reads Karpathy's split from a data set's own folder with one `dataset_*.json` put into it.

    Args:
        root: Folder with the JSON and the pictures as their data set has them: `train2014/` and
            `val2014/`, `Images/`, `flickr30k-images/`, or beside the JSON. Or that JSON itself,
            where the folder holds several.
        split: As for `karpathy`.

    Raises:
        ValueError: If the folder holds no such file, or several.
    """
    root = pathlib.Path(root)
    files = [root] if root.is_file() else sorted(root.glob("dataset_*.json"))
    if len(files) != 1:
        raise ValueError(
            f"Expected one of Karpathy's files in {root}, such as dataset_coco.json, with the "
            f"pictures beside it; found {', '.join(file.name for file in files) or 'none'}. Name "
            f"the folder that holds one, or the file itself."
        )
    json_path = files[0]
    images_root = json_path.parent
    dataset = json_path.stem.removeprefix("dataset_")
    if dataset in IMAGE_FOLDERS and os.path.isdir(image_folder(images_root, dataset)):
        images_root = image_folder(images_root, dataset)
    return karpathy(json_path, images_root, split)
