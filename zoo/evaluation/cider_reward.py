"""CIDEr-D of sampled captions, fast enough to be a reward in training."""

import collections
import math

import numpy as np

from zoo.evaluation.captions import plain_words
from zoo.text.vocabulary import has_word

MAX_ORDER = 4  # n-grams of 1 to 4 words
LENGTH_SIGMA = 6.0  # words; how soon another length than the reference's costs


class CiderReward:
    """Scores captions against the references of their images, with CIDEr-D.

    The references' n-grams are weighed once, when it is made, by the number of given images
    that have them; an image takes some 30 KB, a caption then 0.05 ms. The scores are those of
    `per_caption_cider`, and so of pycocoevalcap, for the same images.

    A caption that breaks off ("a man riding a") loses little by it. To reward an end, append a
    word of your own, such as `" endofcaption"`, to references and captions alike.

    >>> cider = CiderReward([["A dog runs.", "A brown dog."], ["Two men on a bench."]])
    >>> cider.reward([1, 1, 0], ["two men on a bench", "", "two men on a bench"])
    array([10.,  0.,  0.], dtype=float32)

    Args:
        references: List of lists of strings: the captions of each image, at least two images.

    Raises:
        ValueError: If there are fewer than two images (every word would be in all of them, and
            weigh nothing), or an image has no caption with a word.

    Source:
        Vedantam et al., 2015. https://arxiv.org/abs/1411.5726
        Rennie et al., 2017, for its use as a reward. https://arxiv.org/abs/1612.00563
    """

    def __init__(self, references):
        if isinstance(references, dict) or len(references) < 2:
            raise ValueError(
                "Expected a list with the captions of at least two images. "
                f"Received a {type(references).__name__} of {len(references)}."
            )
        for index, captions in enumerate(references):
            if isinstance(captions, str) or not any(map(has_word, captions)):
                raise ValueError(
                    f"Expected a list of captions for image {index}, at least one with a word. "
                    f"Received {captions!r}."
                )
        references = [list(filter(has_word, captions)) for captions in references]
        frequency = collections.Counter()
        for captions in references:
            frequency.update({n for text in captions for counts in _ngrams(text) for n in counts})
        self._top_weight = math.log(len(references))  # of an n-gram seen in one image, or in none
        # Most n-grams are seen in one image: left out, for memory's sake.
        self._weights = {
            ngram: self._top_weight - math.log(count)
            for ngram, count in frequency.items()
            if count > 1
        }
        equal_tuples = {}  # most n-grams occur once, in one caption: one tuple serves them all
        self._images = [self._weigh(captions, equal_tuples) for captions in references]

    def reward(self, image_indices, captions):
        """Gives each caption's CIDEr-D against the references of its image.

        Args:
            image_indices: Place of each caption's image in `references`, ints, `(captions,)`.
            captions: List of strings, `(captions,)`.

        Returns:
            float32 `(captions,)`, each from 0 to 10.

        Raises:
            ValueError: If the two differ in length, or there is no such image.
        """
        image_indices = np.asarray(image_indices, "int64").reshape(-1).tolist()
        if len(image_indices) != len(captions):
            raise ValueError(
                "Expected one image index for each caption. "
                f"Received {len(image_indices)} indices and {len(captions)} captions."
            )
        if image_indices and not 0 <= min(image_indices) <= max(image_indices) < len(self._images):
            raise ValueError(
                f"Expected image indices from 0 to {len(self._images) - 1}. "
                f"Received {min(image_indices)} to {max(image_indices)}."
            )
        scores = [
            self._score(self._images[index], _ngrams(caption))
            for index, caption in zip(image_indices, captions, strict=True)
        ]
        return np.array(scores, "float32")

    def _weigh(self, captions, equal_tuples):
        """Gives where each n-gram occurs, `{ngram: ((caption, count), ...)}`, norms, lengths."""
        captions = [_ngrams(caption) for caption in captions]
        places = collections.defaultdict(tuple)
        for number, orders in enumerate(captions):
            for counts in orders:
                for ngram, count in counts.items():
                    places[ngram] += ((number, count),)
        places = {ngram: equal_tuples.setdefault(where, where) for ngram, where in places.items()}
        norms = [[self._dots(counts, {}, 0)[0] for counts in orders] for orders in captions]
        return places, norms, [_num_bigrams(orders) for orders in captions]

    def _dots(self, counts, places, num_references):
        """Gives the norm of an n-gram vector and its clipped products with the references'."""
        weight, top = self._weights.get, self._top_weight
        square, dots = 0.0, [0.0] * num_references
        for ngram, count in counts.items():
            weight_squared = weight(ngram, top) ** 2
            square += count * count * weight_squared
            for number, reference_count in places.get(ngram, ()):
                clipped = count if count < reference_count else reference_count
                dots[number] += clipped * reference_count * weight_squared
        return math.sqrt(square), dots

    def _score(self, image, caption_orders):
        places, norms, lengths = image
        cosines = [0.0] * len(norms)  # one for each reference, summed over the orders
        for order, counts in enumerate(caption_orders):
            norm, dots = self._dots(counts, places, len(norms))
            for number, dot in enumerate(dots):
                if dot:
                    cosines[number] += dot / (norm * norms[number][order])
        length = _num_bigrams(caption_orders)
        total = sum(
            cosine * math.exp(-((length - reference_length) ** 2) / (2 * LENGTH_SIGMA**2))
            for cosine, reference_length in zip(cosines, lengths, strict=True)
        )
        return 10 * total / (MAX_ORDER * len(norms))


def _ngrams(caption):
    """Counts the n-grams of a caption: a dict for each order, 1 to 4."""
    words = plain_words(caption).split()
    return [
        collections.Counter(zip(*(words[start:] for start in range(order)), strict=False))
        for order in range(1, MAX_ORDER + 1)
    ]


def _num_bigrams(orders):
    return sum(orders[1].values())  # pycocoevalcap's length of a caption
