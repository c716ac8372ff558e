"""A split of a captioned data set, as a frozen encoder sees it."""

from zoo.data.captioned import Captioned, with_words
from zoo.data.images import explain
from zoo.data.records import encode_images


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


def _encode(examples, encoder, cache_dir, views):
    size = encoder.input_shape[1]
    return encode_images(encoder, [e.path for e in examples], size, cache_dir, views)
