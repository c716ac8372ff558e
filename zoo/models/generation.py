"""What a model does that writes sentences about what it sees: generate, score, caption."""

import keras
import numpy as np

from zoo.decoding import BeamSearch, Constraints, Decoded, Greedy, Sampling, draw_uniforms
from zoo.decoding.keras_hub import KerasHubSampling, is_keras_hub_sampler
from zoo.text.vocabulary import UNKNOWN

MAX_WORDS = 20  # words of a training sentence and of a generated one, its end included
STRATEGIES = {"greedy": Greedy(), "beam": BeamSearch(), "sample": Sampling()}


class WritesSentences:
    """Lets a model with an `encode` and a `decoder` write and score sentences.

    `encode(images, batch_size)` gives what the decoder's `start` takes, in NumPy arrays.

    Attributes:
        sees: What it sees, one and many, for messages.
        decoder: A `zoo.models.decoders.word_decoder.WordDecoder`.
        vocabulary: `zoo.text.vocabulary.Vocabulary` or None. A model from `from_preset` has one,
            and only with one does the model speak words instead of ids.
        sampler: What `caption` decodes with: `BeamSearch()`, or the preset's choice.
        constraints: `Constraints` that `caption` keeps: no `<unk>`, and the preset's others.
        compiled_functions: `CompiledFunctions` of this model, for functions that work on it.
    """

    sees = ("an image", "images")
    constraints = Constraints(forbidden_ids=(UNKNOWN,))

    def generate(
        self, images, sampler="greedy", max_words=MAX_WORDS, constraints=None, seed=0, batch_size=32
    ):
        """Writes sentences, as ids.

        Args:
            images: Images (or videos) or features, as for `encode`.
            sampler: `"greedy"`, `"beam"`, `"sample"`, one of `zoo.decoding`'s samplers, such as
                `BeamSearch(5, n_best=3)`, or a `keras_hub.samplers.Sampler`.
            max_words: Longest sentence, its end included.
            constraints: `zoo.decoding.Constraints` or None.
            seed: For `Sampling`: a non-negative int, or one an image.
            batch_size: Images at a time.

        Returns:
            `zoo.decoding.Decoded` of NumPy arrays, best sentence first: `token_ids`, int32
            `(batch, n, max_words)`; `log_probs`, float32 `(batch, n)`; and `word_log_probs`,
            float32 `(batch, n, max_words)`.

        Raises:
            ValueError: If the sampler is unknown or the constraints cannot be kept.
        """
        seen = self.encode(images, batch_size)
        rows = _rows(seen)
        eager = is_keras_hub_sampler(sampler)
        sampler = _as_sampler(sampler)
        constraints = constraints or Constraints()
        constraints.check(self.decoder.vocabulary_size, max_words)

        def search(inputs):
            seen, uniforms = inputs
            return self.decoder.search(seen, sampler, max_words, constraints, uniforms)

        inputs = [seen]
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
        """Says how likely the model finds given sentences.

        Args:
            images: Images (or videos) or features, as for `encode`, one for each sentence.
            sentences: Token ids, int `(batch, words)`, padded with 0; with a vocabulary, also a
                list of strings.
            end: Whether the sentence's end counts as a word. The authors' retrieval leaves it
                out.
            batch_size: Pairs at a time.

        Returns:
            NumPy `log_probs (batch,)` and `word_log_probs (batch, words + 1)`, zero after the
            end.
        """
        token_ids = sentences
        if len(sentences) and isinstance(sentences[0], str):
            token_ids = self._encode_sentences(sentences)
        token_ids = np.asarray(token_ids, "int32")
        seen = self.encode(images, batch_size)
        if token_ids.ndim != 2 or len(token_ids) != _rows(seen):
            raise ValueError(
                f"`score` takes one sentence {self.sees[0]}: ids of shape (batch, words). "
                f"Received: {_rows(seen)} {self.sees[1]} and ids of shape {token_ids.shape}"
            )
        key = ("score", end)
        score = self.compiled_functions.get(
            key, lambda x: self.decoder.log_probs(*x, end), [self.decoder]
        )
        return score.run([seen, token_ids], batch_size)

    def caption(self, images, sampler=None, constraints=None, **options):
        """Describes images in words.

        Args:
            images, sampler, constraints, **options: As for `decode_captions`.

        Returns:
            List of sentences, the best one for each image.

        Raises:
            ValueError: If the model has no vocabulary.
        """
        vocabulary = self._need_vocabulary()
        decoded = self.decode_captions(images, sampler, constraints, **options)
        return [vocabulary.decode(ids[0]) for ids in decoded.token_ids]

    def decode_captions(self, images, sampler=None, constraints=None, **options):
        """Writes sentences, as ids, with the settings that `caption` uses.

        Args:
            images: Images (or videos) or features, as for `encode`.
            sampler: As for `generate`; by default the model's own.
            constraints: `Constraints`; by default the model's own, which forbid `<unk>`.
            **options: More of `generate`'s.

        Returns:
            `zoo.decoding.Decoded`, as `generate` returns it.
        """
        constraints = self.constraints if constraints is None else constraints
        sampler = self.sampler if sampler is None else sampler
        return self.generate(images, sampler, constraints=constraints, **options)

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


def _rows(seen):
    return len(keras.tree.flatten(seen)[0])


def _as_sampler(sampler):
    if isinstance(sampler, str):
        if sampler not in STRATEGIES:
            raise ValueError(f"`sampler` is one of {list(STRATEGIES)}. Received: {sampler!r}")
        return STRATEGIES[sampler]
    if is_keras_hub_sampler(sampler):
        return KerasHubSampling(sampler)
    if not callable(sampler):
        raise ValueError(
            f"`sampler` is one of {list(STRATEGIES)}, a sampler of `zoo.decoding` or of KerasHub. "
            f"Received: {sampler!r}"
        )
    return sampler
