"""Looks at every picture and caption before anything is trained, and lists what is wrong."""

import random
from typing import NamedTuple

import tqdm

from zoo.data.images.decode import explain, read_images
from zoo.text.vocabulary import has_word
from zoo.visualization.gallery import Picture, write_gallery


class Problem(NamedTuple):
    """What is wrong with a picture or its captions, in plain words.

    Attributes:
        path: The picture.
        problem: A sentence without full stop, such as `"missing: there is no such file"`.
    """

    path: str
    problem: str


def audit(examples):
    """Finds the pictures and captions that training would stumble over.

    Every picture is decoded as training does it; on a terminal a bar shows the time left.

    Args:
        examples: List of `zoo.data.datasets.CaptionedImage`.

    Returns:
        List of `Problem` in the order of the examples: pictures that are missing or cannot be
        read, pictures without captions, captions without a word (no letter and no digit), and
        pictures with an id that an earlier one has. An empty list means that all is well.
    """
    problems = []
    first_paths = {}
    unreadable = _unreadable([example.path for example in examples])
    for index, example in enumerate(examples):
        found = [unreadable[index]] if index in unreadable else []
        if not example.captions:
            found.append("it has no captions")
        for number, caption in enumerate(example.captions, start=1):
            if not has_word(caption):
                found.append(f"caption {number} has no word: {caption!r}")
        if example.image_id in first_paths:
            first = first_paths[example.image_id]
            found.append(f"its image id {example.image_id!r} is also that of {first}")
        first_paths.setdefault(example.image_id, example.path)
        problems += [Problem(example.path, problem) for problem in found]
    return problems


def sheet(examples, out_html, count=24, seed=0):
    """Writes an HTML page with some of the pictures and their captions, to look at.

    Args:
        examples: List of `zoo.data.datasets.CaptionedImage`.
        out_html: Path of the page.
        count: Pictures on the page, fewer if there are fewer.
        seed: Chooses the pictures: the same ones for the same seed.
    """
    chosen = random.Random(seed).sample(examples, min(count, len(examples)))
    pictures = [
        Picture(example.path, example.captions or ["(no captions)"], str(example.image_id))
        for example in chosen
    ]
    intro = f"{len(pictures)} of {len(examples)} pictures, chosen by chance."
    write_gallery(out_html, "Pictures and their captions", pictures, intro)


def _unreadable(paths):
    # Reading in bulk leaves out what cannot be read; asking for reasons one by one is much slower.
    indices = (int(index) for index, _ in read_images(paths, size=16))
    readable = set(tqdm.tqdm(indices, "audit", len(paths), unit=" pictures", disable=None))
    missing = (index for index in range(len(paths)) if index not in readable)
    return {index: explain(paths[index]) or "cannot be read" for index in missing}
