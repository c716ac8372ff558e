"""The LRCN that describes an image in a sentence: a CNN, and LSTMs over words."""

from typing import NamedTuple

import keras
import numpy as np

from zoo.decoding import BeamSearch, Decoded, whole_beam
from zoo.models.backbones import check_image_encoder, encoder_config, encoder_from_config
from zoo.models.batched import CompiledFunctions
from zoo.models.confidence import CaptionConfidence, caption_quantities
from zoo.models.decoders.caption_decoder import CaptionDecoder
from zoo.models.generation import GenerationMixin, apply_decoding, as_sampler, describe_decoding
from zoo.models.image_input import is_single, load_images
from zoo.models.layers.fused_convolution import fuse_batch_normalization
from zoo.models.task import Task, check_count, compute_moments, dtype_scope
from zoo.text.vocabulary import Vocabulary

VOCABULARY = "vocabulary.txt"
PRIOR_FEATURES = "prior_features.npy"


def lrcn_captioner(
    image_encoder,
    vocabulary_size,
    variant="2f",
    unit="lstm",
    embedding_dim=1000,
    lstm_units=1000,
    projection_dim=None,
    dropout=0.0,
    dtype=None,
    name="lrcn_captioner",
):
    """Builds the LRCN that describes an image in a sentence.

    The `image_encoder` turns the image into one vector. Stacked LSTMs read the words so far and,
    in one of their layers, that vector; at every word they say which one comes next.

    Args:
        image_encoder: `keras.Model` from images, float32 RGB in 0..255 `(batch, height, width,
            3)`, to features `(batch, features)`; see `zoo.models.backbones`. Or an int: the
            length of feature vectors that are fed instead of images.
        vocabulary_size: Number of ids, 8801 in the paper. Id 0 starts and ends a sentence.
        variant: `"2f"`, the paper's best: two LSTMs, and the image enters the second only.
            `"1u"`, `"2u"`: one or two, and the image enters the first. `"4f"`: four, and the
            image enters the second.
        unit: `"lstm"`, or `"rnn"` for the plain unit of the paper's ablation.
        embedding_dim: Width of a word's vector.
        lstm_units: Width of every LSTM.
        projection_dim: Width of a dense layer between image and LSTM; None, as in the paper,
            for none.
        dropout: Share dropped while training, in [0, 1).
        dtype: Precision policy of the decoder, such as `"mixed_bfloat16"`. Defaults to
            `keras.config.dtype_policy()`. The `image_encoder` keeps its own.
        name: Name of the model.

    Returns:
        `LRCNCaptioner`, a functional `keras.Model` from `image` (or `features`) and `token_ids`,
        int32 `(batch, words)`, to logits of the next word, float32 `(batch, words,
        vocabulary_size)`.

    Raises:
        ValueError: If `image_encoder` gives more than one vector an image, or `variant` or
            `unit` is unknown.

    Example:

    ```python
    captioner = lrcn_captioner(efficientnet_lite0(), vocabulary_size=2548, lstm_units=512)
    captioner.compile()
    captioner.fit(dataset)
    token_ids, log_probs, word_log_probs = captioner.generate(images)
    ```

    Source:
        Donahue et al., 2015, section 5. https://arxiv.org/abs/1411.4389
    """
    return LRCNCaptioner(
        image_encoder,
        vocabulary_size,
        variant=variant,
        unit=unit,
        embedding_dim=embedding_dim,
        lstm_units=lstm_units,
        projection_dim=projection_dim,
        dropout=dropout,
        dtype=dtype,
        name=name,
    )


class Candidate(NamedTuple):
    """One of the sentences that a captioner writes about an image.

    Attributes:
        text: The sentence.
        log_prob: Its log-probability, that of its end included.
        word_log_probs: List of floats, one for each word and one for the end.
        confidence: Probability, 0 to 1, that the sentence is right; see `CaptionConfidence`. None
            if the model has no fitted confidence.
        unsure: Whether the confidence is below the model's threshold; None without a confidence.
    """

    text: str
    log_prob: float
    word_log_probs: list[float]
    confidence: float | None
    unsure: bool | None


@keras.saving.register_keras_serializable(package="zoo")
class LRCNCaptioner(GenerationMixin, Task):
    """Describes images in sentences; `lrcn_captioner` documents the arguments.

    Attributes:
        image_encoder: The CNN, or None where features are fed.
        decoder: `CaptionDecoder`.
        vocabulary: `zoo.text.vocabulary.Vocabulary` or None. It is needed for words; without one
            the model works with ids.
        sampler: What `generate` and `caption` decode with: `BeamSearch()`, or the sampler of the
            preset.
        prior_features: float32 `(images, features)` of other images, by which retrieval
            estimates how common a sentence is; or None.
        confidence: `zoo.models.confidence.CaptionConfidence`, or None. It belongs to the weights:
            set it to None when you train them further.
        compiled_functions: `CompiledFunctions` of this model.
    """

    task = "image_captioning"

    def __init__(
        self, image_encoder, vocabulary_size, dtype=None, name="lrcn_captioner", **decoder_options
    ):
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        if isinstance(image_encoder, int):
            image = keras.Input((image_encoder,), name="features")
            features, encoder = image, None
        else:
            check_image_encoder(image_encoder)
            encoder = fuse_batch_normalization(image_encoder)
            image = keras.Input(encoder.input_shape[1:], name="image")
            features = encoder(image)
        with dtype_scope(dtype):
            decoder = CaptionDecoder(vocabulary_size, name="decoder", **decoder_options)
            logits = decoder([features, token_ids])
        super().__init__(
            inputs={image.name: image, "token_ids": token_ids}, outputs=logits, name=name
        )
        self.image_encoder = encoder
        self.decoder = decoder
        self.feature_dim = features.shape[-1]
        self.metadata = {}
        self.vocabulary = None
        self.sampler = BeamSearch()
        self.prior_features = None
        self.confidence = None
        self._decoder_options = decoder_options
        self.compiled_functions = CompiledFunctions()

    def on_features(self):
        """Returns the same network from `features` instead of images: same layers, same weights.

        Returns:
            `keras.Model` from `features (batch, features)` and `token_ids (batch, words)` to
            logits `(batch, words, vocabulary_size)`.
        """
        features = keras.Input((self.feature_dim,), name="features")
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        return keras.Model(
            {"features": features, "token_ids": token_ids},
            self.decoder([features, token_ids]),
            name=f"{self.name}_on_features",
        )

    def on_caption_groups(self):
        """Returns the same network for several captions an image, which the CNN sees once.

        Returns:
            `keras.Model` from `image` and `token_ids (batch, captions, words)` to logits
            `(batch, captions, words, vocabulary_size)`.
        """
        image = keras.Input(self.image_encoder.input_shape[1:], name="image")
        token_ids = keras.Input((None, None), dtype="int32", name="token_ids")
        return keras.Model(
            {"image": image, "token_ids": token_ids},
            self.decoder([self.image_encoder(image), token_ids]),
            name=f"{self.name}_on_caption_groups",
        )

    def adapt(self, features):
        """Computes the mean and the variance by which the decoder standardizes features.

        Args:
            features: float `(images, features)`, of the training images.
        """
        mean, variance = compute_moments(features)
        self.decoder.standardize.moving_mean.assign(mean)
        self.decoder.standardize.moving_variance.assign(variance + 1e-6)

    def encode(self, images, batch_size=32):
        """Computes the features of images. Features are returned unchanged.

        Args:
            images: One image or a list: a path, a `PIL.Image.Image`, or an array with values in
                0..255, of any size; or a batch of arrays; see
                `zoo.models.image_input.load_images`. Or features `(batch, features)`.
            batch_size: Number of images that are processed together.

        Returns:
            NumPy float32 `(batch, features)`.

        Raises:
            ValueError: If an image cannot be read, or its shape or its values are out of range.
        """
        if self._is_features(images):
            return np.asarray(images, "float32")
        if self.image_encoder is None:
            received = getattr(images, "shape", type(images).__name__)
            raise ValueError(
                f"Expected features (batch, {self.feature_dim}), at least one, batch first: this "
                f"model has no image encoder. Received: {received}"
            )
        images = load_images(images, self.image_encoder.input_shape[1:3])
        return self.compiled_functions.get("encode", self.image_encoder, [self.image_encoder]).run(
            images, batch_size
        )

    def is_single(self, images):
        """Returns whether `images` is one image, and not several."""
        return not self._is_features(images) and is_single(images)

    def _is_features(self, images):
        shape = getattr(images, "shape", ())
        return len(shape) == 2 and shape[0] > 0 and shape[1] == self.feature_dim

    def caption_candidates(
        self, images, sampler=None, constraints=None, n_best=None, batch_size=32, **options
    ):
        """Describes images in words, with all sentences that the sampler returns.

        Args:
            images: Images or features, as for `encode`.
            sampler: As for `caption`.
            constraints: As for `caption`.
            n_best: Number of sentences for each image. Defaults to that of the sampler.
            batch_size: Images at a time.
            **options: Further arguments of `generate`.

        Returns:
            List with, for each image, a list of `Candidate`, best first. Each has a confidence of
            its own, which does not depend on the number of candidates. It is fitted to sentences
            of a beam search; for sentences drawn by `Sampling` it is too low.

        Raises:
            ValueError: If the model has no vocabulary.
        """
        vocabulary = self._need_vocabulary()
        features = self.encode(images, batch_size)

        # A confidence depends on the whole beam, of which the first sentences are returned.
        sampler = as_sampler(self.sampler if sampler is None else sampler, n_best)
        searched = sampler if self.confidence is None else whole_beam(sampler)
        beam = self.generate(
            features, searched, constraints=constraints, batch_size=batch_size, **options
        )
        n_best = sampler.n_best if isinstance(sampler, BeamSearch) else beam.log_probs.shape[1]
        decoded = Decoded(*(array[:, :n_best] for array in beam))

        # Confidence of each sentence, (images, n), and whether it is below the threshold
        confidences = np.full(decoded.log_probs.shape, None)
        unsure = confidences
        if self.confidence is not None:
            quantities = self.caption_quantities(features, beam, batch_size, n_best)
            confidences = keras.ops.convert_to_numpy(self.confidence(quantities))
            unsure = confidences < self.confidence.threshold
        confidences = confidences.tolist()
        unsure = unsure.tolist()

        lengths = np.count_nonzero(decoded.token_ids, axis=-1) + 1  # the end included
        return [
            [
                Candidate(
                    text=vocabulary.decode(decoded.token_ids[row, rank]),
                    log_prob=float(decoded.log_probs[row, rank]),
                    word_log_probs=decoded.word_log_probs[row, rank, : lengths[row, rank]].tolist(),
                    confidence=confidences[row][rank],
                    unsure=unsure[row][rank],
                )
                for rank in range(decoded.log_probs.shape[1])
            ]
            for row in range(len(features))
        ]

    def caption_quantities(self, images, beam, batch_size=32, n_best=None):
        """Computes what the confidence of captions is computed from.

        Args:
            images: Images or features, as for `encode`.
            beam: `zoo.decoding.Decoded` of these images, from a sampler of `whole_beam`.
            batch_size: Images at a time.
            n_best: Number of sentences whose quantities are returned; all by default.

        Returns:
            Dict from each name of `zoo.models.confidence.QUANTITIES` to NumPy float32
            `(batch, n_best)`.
        """
        compiled = self.compiled_functions.get(
            ("caption_quantities", n_best),
            lambda inputs: caption_quantities(
                self.decoder, inputs[0], Decoded(*inputs[1:]), n_best
            ),
            [self.decoder],
        )
        return compiled.run([self.encode(images, batch_size), *beam], batch_size)

    def make_loss(self):
        """Returns the cross-entropy of the next word, averaged over the words."""
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )

    def check_words(self):
        self._need_vocabulary()

    def write_assets(self, folder):
        if self.vocabulary is not None:
            self.vocabulary.save(folder / VOCABULARY)
        if self.prior_features is not None:
            np.save(folder / PRIOR_FEATURES, self.prior_features.astype("float16"))

    def read_assets(self, folder):
        path = folder / VOCABULARY
        if path.exists():
            self.vocabulary = Vocabulary.load(path)
            check_count(path, len(self.vocabulary), self.decoder.vocabulary_size)
        path = folder / PRIOR_FEATURES
        if path.exists():
            features = np.load(path, allow_pickle=False)
            if features.ndim != 2 or features.shape[1] != self.feature_dim:
                raise ValueError(
                    f"{path} has features of shape {features.shape}, for a model that takes "
                    f"{self.feature_dim} an image."
                )
            self.prior_features = features.astype("float32")

    def describe_settings(self):
        settings = describe_decoding(self)
        settings["confidence"] = None
        if self.confidence is not None:
            settings["confidence"] = self.confidence.get_config()
        return settings

    def apply_settings(self, metadata):
        apply_decoding(self, metadata)
        if metadata.get("confidence") is not None:
            try:
                self.confidence = CaptionConfidence.from_config(metadata["confidence"])
            except (TypeError, ValueError) as error:
                raise ValueError(f"confidence: {error}") from None

    def get_config(self):
        return {
            "image_encoder": encoder_config(self.image_encoder, self.feature_dim),
            "vocabulary_size": self.decoder.vocabulary_size,
            "name": self.name,
            **self._decoder_options,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = encoder_from_config(config["image_encoder"], custom_objects)
        return cls(**{**config, "image_encoder": encoder})
