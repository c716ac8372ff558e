"""Generation of sentences: the methods that captioners and describers share."""

import dataclasses

import keras
import numpy as np

from zoo.decoding import (
    BeamSearch,
    Constraints,
    Decoded,
    Greedy,
    Sampling,
    draw_uniforms,
    read_decoding,
    write_decoding,
)
from zoo.decoding.keras_hub import KerasHubSampling, is_keras_hub_sampler
from zoo.text.vocabulary import UNKNOWN

MAX_WORDS = 20  # words of a training sentence and of a generated one, its end included
STRATEGIES = {"greedy": Greedy(), "beam": BeamSearch(), "sample": Sampling()}


class GenerationMixin:
    """Adds `generate`, `caption` and `score` to a model with an `encode` and a `decoder`.

    `encode(images, batch_size)` returns what the decoder's `start` takes, in NumPy arrays.

    Attributes:
        sees: What the model takes, one and many, for messages.
        decoder: A `zoo.models.decoders.word_decoder.WordDecoder`.
        vocabulary: `zoo.text.vocabulary.Vocabulary` or None. It is needed for words; without one
            the model works with ids.
        sampler: The sampler that `generate` and `caption` use by default.
        constraints: The `Constraints` that they use by default. They forbid `<unk>`.
        compiled_functions: `CompiledFunctions` of this model.
    """

    sees = ("an image", "images")
    constraints = Constraints(forbidden_ids=(UNKNOWN,))

    def generate(
        self,
        images,
        sampler=None,
        max_words=MAX_WORDS,
        constraints=None,
        seed=0,
        n_best=None,
        batch_size=32,
    ):
        """Generates sentences, as ids.

        Args:
            images: Images (or videos) or features, as for `encode`.
            sampler: `"greedy"`, `"beam"`, `"sample"`, a sampler of `zoo.decoding`, such as
                `BeamSearch(5, n_best=3)`, or a `keras_hub.samplers.Sampler`. Defaults to the
                sampler of the model.
            max_words: Longest sentence, its end included.
            constraints: `zoo.decoding.Constraints`. Defaults to those of the model;
                `Constraints()` has none.
            seed: For `Sampling`: a non-negative int, or one for each image.
            n_best: Number of sentences for each image. Defaults to that of the sampler.
            batch_size: Number of images that are processed together.

        Returns:
            `zoo.decoding.Decoded` of NumPy arrays, best sentence first: `token_ids`, int32
            `(batch, n_best, max_words)`; `log_probs`, float32 `(batch, n_best)`; and
            `word_log_probs`, float32 `(batch, n_best, max_words)`.

        Raises:
            ValueError: If the sampler is unknown or the constraints cannot be kept.
        """
        features = self.encode(images, batch_size)
        rows = _rows(features)
        sampler = self.sampler if sampler is None else sampler
        sampler = as_sampler(sampler, n_best)
        eager = isinstance(sampler, KerasHubSampling)
        constraints = self.constraints if constraints is None else constraints
        constraints.check(self.decoder.vocabulary_size, max_words)

        def search(inputs):
            features, uniforms = inputs
            return self.decoder.search(features, sampler, max_words, constraints, uniforms)

        inputs = [features]
        if isinstance(sampler, Sampling):
            seeds = np.broadcast_to(seed, rows)
            inputs.append(draw_uniforms(seeds, sampler.num_samples, max_words))
        else:
            inputs.append(np.zeros((rows, 1, 1), "float32"))
        compiled = self.compiled_functions.get(
            (sampler, max_words, constraints), search, [self.decoder], eager
        )
        return Decoded(*compiled.run(inputs, batch_size))

    def score(self, images, sentences, end=True, batch_size=32):
        """Computes the log-probabilities of given sentences.

        Args:
            images: Images (or videos) or features, as for `encode`, one for each sentence; or one
                image for all sentences.
            sentences: Token ids, int `(batch, words)`, padded with 0; with a vocabulary, also a
                string or a list of strings.
            end: Whether the sentence's end counts as a word. The authors' retrieval leaves it
                out.
            batch_size: Number of pairs that are processed together.

        Returns:
            NumPy `log_probs (batch,)` and `word_log_probs (batch, words + 1)`, zero after the
            end. For one image and one string, a float and `(words + 1,)`.

        Raises:
            ValueError: If the numbers of images and sentences differ.
        """
        is_string = isinstance(sentences, str)
        if is_string:
            sentences = [sentences]
        token_ids = sentences
        if len(sentences) and isinstance(sentences[0], str):
            token_ids = self._encode_sentences(sentences)
        token_ids = np.asarray(token_ids, "int32")
        is_one = self.is_single(images)
        features = self.encode(images, batch_size)
        if is_one and token_ids.ndim == 2:
            features = keras.tree.map_structure(
                lambda x: np.repeat(x, len(token_ids), axis=0), features
            )
        if token_ids.ndim != 2 or len(token_ids) != _rows(features):
            raise ValueError(
                f"`score` takes one sentence {self.sees[0]}: ids of shape (batch, words). "
                f"Received: {_rows(features)} {self.sees[1]} and ids of shape {token_ids.shape}"
            )
        score = self.compiled_functions.get(
            ("score", end), lambda x: self.decoder.log_probs(*x, end), [self.decoder]
        )
        log_probs, word_log_probs = score.run([features, token_ids], batch_size)
        if is_one and is_string:
            return float(log_probs[0]), word_log_probs[0]
        return log_probs, word_log_probs

    def caption(self, images, sampler=None, constraints=None, n_best=None, **options):
        """Describes images in words.

        Args:
            images: Images (or videos) or features, as for `encode`.
            sampler, constraints: As for `generate`.
            n_best: Number of sentences for each image; None returns the best one only.
            **options: Further arguments of `generate`.

        Returns:
            For one image a string; for several a list of strings. With `n_best`, each string is a
            list of strings instead, best first.

        Raises:
            ValueError: If the model has no vocabulary.
        """
        vocabulary = self._need_vocabulary()
        decoded = self.generate(images, sampler, constraints=constraints, n_best=n_best, **options)
        if n_best is None:
            captions = [vocabulary.decode(ids[0]) for ids in decoded.token_ids]
        else:
            captions = [[vocabulary.decode(ids) for ids in row] for row in decoded.token_ids]
        return captions[0] if self.is_single(images) else captions

    def is_single(self, images):
        """Returns whether `images` is one image, and not several. Of videos, always False."""
        return False

    def _encode_sentences(self, sentences):
        encoded = [self._need_vocabulary().encode(sentence) for sentence in sentences]
        token_ids = np.zeros((len(encoded), max(map(len, encoded), default=1) or 1), "int32")
        for row, ids in zip(token_ids, encoded, strict=True):
            row[: len(ids)] = ids
        return token_ids

    def _need_vocabulary(self):
        if self.vocabulary is None:
            raise ValueError(
                "This model speaks ids, not words: it has no vocabulary. Take one from "
                "`zoo.from_preset(name_or_folder)`, or set `model.vocabulary`."
            )
        return self.vocabulary


def describe_decoding(model):
    """Returns the sampler and the constraints of a model as metadata, `{"decoding": {...}}`."""
    settings = write_decoding(model.sampler, model.constraints)
    return {} if settings is None else {"decoding": settings}


def apply_decoding(model, metadata):
    """Sets the sampler and the constraints that the metadata of a model describe."""
    settings = metadata.get("decoding", {})
    try:
        model.sampler, model.constraints = read_decoding(settings, (UNKNOWN,))
    except (TypeError, ValueError) as error:
        raise ValueError(f"decoding: {error}") from None


def _rows(features):
    return len(keras.tree.flatten(features)[0])


def as_sampler(sampler, n_best=None):
    """Returns a sampler of `zoo.decoding`, of the given number of sentences, for any sampler."""
    if isinstance(sampler, str):
        if sampler not in STRATEGIES:
            raise ValueError(f"`sampler` is one of {list(STRATEGIES)}. Received: {sampler!r}")
        sampler = STRATEGIES[sampler]
    if is_keras_hub_sampler(sampler):
        sampler = KerasHubSampling(sampler)
    if not callable(sampler):
        raise ValueError(
            f"`sampler` is one of {list(STRATEGIES)}, a sampler of `zoo.decoding` or of KerasHub. "
            f"Received: {sampler!r}"
        )
    if n_best is None:
        return sampler
    if isinstance(sampler, BeamSearch):
        beam_size = max(sampler.beam_size, n_best)
        return dataclasses.replace(sampler, beam_size=beam_size, n_best=n_best)
    if isinstance(sampler, Sampling):
        num_samples = max(sampler.num_samples, n_best)
        return dataclasses.replace(sampler, num_samples=num_samples, n_best=n_best)
    raise ValueError(
        "Expected a `BeamSearch` or `Sampling` together with `n_best`. "
        f"Received: sampler={sampler!r}"
    )
