"""A split of one or more captioned data sets, with the features of a frozen encoder."""

import numpy as np

from zoo.data.features.captioned import Captioned, with_words
from zoo.data.features.image_features import encode_images
from zoo.data.images.decode import explain


class Photographs(Captioned):
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
        examples, self.skipped = with_words(examples, "image")
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

    def seen(self, rows=slice(None)):
        """What a captioner takes: the features of the images as they are, `(images, features)`."""
        return self.features[rows, 0]

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


class JoinedPhotographs(Captioned):
    """The photographs of several data sets as one.

    With one data set the ids of the images stay as they are. With several each id becomes
    `"label/id"`, since two data sets may use the same ids.

    Args:
        parts: Dict from the label of a data set to its `Photographs`.

    Attributes:
        parts: The same dict.
        examples: The examples of all parts, one part after the other.
        features: float32 `(images, views, features)`, in the same order.
        skipped: Dict from the path of an image left out to the reason.
    """

    def __init__(self, parts):
        self.parts = parts
        self.examples = []
        self.skipped = {}
        for label, photos in parts.items():
            prefix = f"{label}/" if len(parts) > 1 else None
            for example in photos.examples:
                image_id = example.image_id if prefix is None else f"{prefix}{example.image_id}"
                self.examples.append(example._replace(image_id=image_id))
            self.skipped |= photos.skipped
        self._join_features()

    def encode_again(self, encoder, cache_dir, views=("full",)):
        """Replaces the features by those of another, or a changed, encoder.

        Raises:
            ValueError: If an image that could be read before cannot be read any more.
        """
        for photos in self.parts.values():
            photos.encode_again(encoder, cache_dir, views)
        self._join_features()

    def _join_features(self):
        self.features = np.concatenate([photos.features for photos in self.parts.values()])


def _encode(examples, encoder, cache_dir, views):
    size = encoder.input_shape[1]
    return encode_images(encoder, [e.path for e in examples], size, cache_dir, views)
