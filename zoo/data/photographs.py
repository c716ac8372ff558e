"""A split of a captioned data set, as a frozen encoder sees it."""

import hashlib
import json

import numpy as np

from zoo.data.captions import encode_captions
from zoo.data.images import explain
from zoo.data.records import encode_images
from zoo.vocabulary import has_word


class Photographs:
    """The readable images of a split that have captions with words, and the features of each.

    Args:
        examples: List of `zoo.data.datasets.CaptionedImage`.
        encoder: `keras.Model` from images to features, see `encode_images`.
        cache_dir: Folder in which features are kept.
        views: Views of each image, see `encode_images`.

    Attributes:
        examples: Those of the `examples` that are used, with those captions that have a word.
        features: float32 `(images, views, features)`.
        skipped: Dict from the path of an image left out to the reason.

    Raises:
        ValueError: If no image is left, or two have the same id.
    """

    def __init__(self, examples, encoder, cache_dir, views=("full",)):
        _check_ids(examples)
        examples = [e._replace(captions=list(filter(has_word, e.captions))) for e in examples]
        self.skipped = {e.path: "no caption with a word" for e in examples if not e.captions}
        examples = [example for example in examples if example.captions]
        self.features, readable = _encode(examples, encoder, cache_dir, views)
        unreadable = [e.path for e, good in zip(examples, readable, strict=True) if not good]
        self.skipped |= {path: explain(path) for path in unreadable}
        self.features = self.features[readable]
        self.examples = [e for e, good in zip(examples, readable, strict=True) if good]
        if not self.examples:
            path, reason = next(iter(self.skipped.items()), ("", "the split is empty"))
            raise ValueError(
                f"None of the {len(self.skipped)} images can be used. The first one: {path}: "
                f"{reason}. `lrcn audit` lists them all."
            )

    @property
    def paths(self):
        """Files of the images."""
        return [example.path for example in self.examples]

    @property
    def captions(self):
        """All captions, image by image."""
        return [caption for example in self.examples for caption in example.captions]

    @property
    def references(self):
        """Dict from image id to the image's captions."""
        return {example.image_id: example.captions for example in self.examples}

    def skipped_line(self):
        """Says in one line how many images were left out, or None."""
        if not self.skipped:
            return None
        path, reason = next(iter(self.skipped.items()))
        return f"{len(self.skipped)} images were left out, the first one {path}: {reason}"

    def digest(self):
        """Gives a hash of the images' ids and captions, in their order."""
        named = [[example.image_id, example.captions] for example in self.examples]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def encode_captions(self, vocabulary, max_words):
        """Encodes all captions.

        Returns:
            int32 `(captions, max_words)`, and for each caption the index of its image, int64
            `(captions,)`.
        """
        counts = [len(example.captions) for example in self.examples]
        image_index = np.repeat(np.arange(len(counts)), counts)
        token_ids = encode_captions(self.captions, vocabulary, max_words)
        return token_ids, image_index

    def group_captions(self, vocabulary, max_words):
        """Encodes all captions, image by image.

        Returns:
            int32 `(images, captions, max_words)`; where an image has fewer captions than another,
            rows of zeros.
        """
        counts = np.array([len(example.captions) for example in self.examples])
        grouped = np.zeros((len(counts), counts.max(), max_words), "int32")
        is_caption = np.arange(counts.max()) < counts[:, None]
        grouped[is_caption] = encode_captions(self.captions, vocabulary, max_words)
        return grouped

    def encode_again(self, encoder, cache_dir, views=("full",)):
        """Replaces the features by those of another, or a changed, encoder.

        Raises:
            ValueError: If an image that could be read before cannot be read any more.
        """
        self.features, readable = _encode(self.examples, encoder, cache_dir, views)
        lost = [path for path, good in zip(self.paths, readable, strict=True) if not good]
        if lost:
            raise ValueError(
                f"{len(lost)} images could be read before and cannot be now, the first one "
                f"{lost[0]}: {explain(lost[0])}. Bring them back, and give the command again."
            )


def _check_ids(examples):
    first_paths = {}
    for example in examples:
        if example.image_id in first_paths:
            raise ValueError(
                f"Two entries have the image id {example.image_id!r}: "
                f"{first_paths[example.image_id]} and {example.path}. Every image has one entry, "
                "with all its captions, and an id of its own."
            )
        first_paths[example.image_id] = example.path


def _encode(examples, encoder, cache_dir, views):
    size = encoder.input_shape[1]
    return encode_images(encoder, [e.path for e in examples], size, cache_dir, views)
