"""What a split of captioned examples gives to training and scoring, be they images or videos."""

import hashlib
import json

import numpy as np

from zoo.data.datasets.described.described_video import place_of
from zoo.text.tokenization import encode_captions
from zoo.text.vocabulary import has_word


class Captioned:
    """Examples with captions; what is seen of each is the business of who builds on it.

    Attributes:
        examples: List of `CaptionedImage` or `DescribedVideo`, each with a caption or more.
        skipped: Dict from where an example left out is to the reason.
        unit: What they are, `"images"` or `"videos"`, for messages.
    """

    unit = "images"

    @property
    def paths(self):
        """Files of the examples."""
        return [example.path for example in self.examples]

    @property
    def captions(self):
        """All captions, example by example."""
        return [caption for example in self.examples for caption in example.captions]

    @property
    def references(self):
        """Dict from the id of an image or video to its captions."""
        return {example.image_id: example.captions for example in self.examples}

    def skipped_line(self):
        """Says in one line how many were left out, or None."""
        if not self.skipped:
            return None
        path, reason = next(iter(self.skipped.items()))
        return f"{len(self.skipped)} {self.unit} were left out, the first one {path}: {reason}"

    def digest(self):
        """Gives a hash of ids and captions, in their order."""
        named = [[example.image_id, example.captions] for example in self.examples]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def encode_captions(self, vocabulary, max_words):
        """Encodes all captions.

        Returns:
            int32 `(captions, max_words)`, and for each caption the index of its example, int64
            `(captions,)`.
        """
        counts = [len(example.captions) for example in self.examples]
        image_index = np.repeat(np.arange(len(counts)), counts)
        token_ids = encode_captions(self.captions, vocabulary, max_words)
        return token_ids, image_index

    def caption_weights(self, machine_weight):
        """Returns how much each caption counts in training.

        Args:
            machine_weight: Weight of a caption that a program wrote; one that people wrote counts
                1.

        Returns:
            float32 `(captions,)`, in the order of `captions`.
        """
        weights = []
        for example in self.examples:
            num_captions = len(example.captions)
            num_human = getattr(example, "num_human", None)
            num_human = num_captions if num_human is None else num_human
            weights += [1.0] * num_human + [machine_weight] * (num_captions - num_human)
        return np.array(weights, "float32")

    def group(self, rows):
        """Arranges one row per caption by example.

        Args:
            rows: Array `(captions, ...)`, in the order of `captions`.

        Returns:
            Array `(examples, captions, ...)`; where an example has fewer captions than another,
            rows of zeros.
        """
        counts = np.array([len(example.captions) for example in self.examples])
        grouped = np.zeros((len(counts), counts.max(), *rows.shape[1:]), rows.dtype)
        is_caption = np.arange(counts.max()) < counts[:, None]
        grouped[is_caption] = rows
        return grouped

    def group_captions(self, vocabulary, max_words):
        """Encodes all captions, example by example.

        Returns:
            int32 `(examples, captions, max_words)`; where one has fewer captions than another,
            rows of zeros.
        """
        return self.group(encode_captions(self.captions, vocabulary, max_words))


def _words_only(example):
    """Returns an example with only those captions that have a word."""
    kept = list(filter(has_word, example.captions))
    num_human = getattr(example, "num_human", None)
    if num_human is None:
        return example._replace(captions=kept)
    human = list(filter(has_word, example.captions[:num_human]))
    return example._replace(captions=kept, num_human=len(human))


def with_words(examples, unit):
    """Keeps the captions that have a word in them, and the examples that have such a caption.

    Args:
        examples: List of `CaptionedImage` or `DescribedVideo`.
        unit: What they are, for the message.

    Returns:
        List of examples, and a dict from where one left out is to the reason.

    Raises:
        ValueError: If two have the same id.
    """
    first_paths = {}
    for example in examples:
        if example.image_id in first_paths:
            raise ValueError(
                f"Two entries have the {unit} id {example.image_id!r}: "
                f"{first_paths[example.image_id]} and {example.path}. Every {unit} has one entry, "
                "with all its captions, and an id of its own."
            )
        first_paths[example.image_id] = example.path
    examples = [_words_only(example) for example in examples]
    skipped = {place_of(e): "no caption with a word" for e in examples if not e.captions}
    return [example for example in examples if example.captions], skipped
