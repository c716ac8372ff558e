"""Readers: the pictures and captions of a data set, from the files its authors publish."""

from zoo.data.datasets.coco import coco, karpathy, karpathy_folder
from zoo.data.datasets.example import CaptionedImage
from zoo.data.datasets.flickr import flickr8k, flickr30k
from zoo.data.datasets.own import own

__all__ = ["CaptionedImage", "coco", "flickr30k", "flickr8k", "karpathy", "own", "read"]

READERS = {
    "flickr8k": flickr8k,
    "flickr30k": flickr30k,
    "coco2014": lambda root, split: coco(root, split, 2014),
    "coco2017": lambda root, split: coco(root, split, 2017),
    "karpathy": karpathy_folder,
    "own": own,
}


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
