"""The LRCN that describes a video in a sentence, from its frames or from semantic labels."""

import keras
import numpy as np

from zoo.decoding import BeamSearch
from zoo.files import write_json
from zoo.models.backbones import encoder_config, encoder_from_config
from zoo.models.batched import CompiledFunctions
from zoo.models.decoders.caption_decoder import CaptionDecoder
from zoo.models.decoders.sequence_decoder import SequenceDecoder
from zoo.models.generation import GenerationMixin, apply_decoding, describe_decoding
from zoo.models.layers.sequence_mask import LabelsInOrder, MeanOverFrames
from zoo.models.role_recognizer import SemanticRoleRecognizer, read_roles
from zoo.models.task import Task, check_count, compute_moments, dtype_scope
from zoo.models.video_input import encode_videos, video_inputs
from zoo.text.vocabulary import Vocabulary

VOCABULARY = "vocabulary.txt"
ROLES = "roles.json"

MAX_STEPS = 80  # frames and words together; S2VT's authors' code
# What of the video the LSTMs see; for labels, which output of the recogniser.
LABELS = {"frames": None, "labels_max": "most_likely", "label_probabilities": "probabilities"}
ARCHITECTURES = ("encoder_decoder", "decoder")


def lrcn_video_describer(
    source,
    vocabulary_size,
    visual="frames",
    architecture="encoder_decoder",
    embedding_dim=1000,
    lstm_units=1000,
    projection_dim=None,
    dropout=0.0,
    variant=None,
    dtype=None,
    name="lrcn_video_describer",
):
    """Builds the LRCN that describes a video in a sentence: two LSTMs that write words.

    | `visual` | `architecture` | |
    |---|---|---|
    | `"labels_max"` | `"encoder_decoder"` | the paper's (a): the LSTMs read the most likely label of each role, one after another, then write |
    | `"labels_max"` | `"decoder"` | the paper's (b): the most likely labels, zeros and ones, enter at every word |
    | `"label_probabilities"` | `"decoder"` | the paper's (c), its best: the labels' probabilities enter at every word |
    | `"frames"` | `"decoder"` | mean of the frames' features, which enters at every word: blind to order |
    | `"frames"` | `"encoder_decoder"` | S2VT: the LSTMs read frame after frame, then write |

    Args:
        source: For frames a `keras.Model` from frames, float32 RGB in 0..255 `(batch, height,
            width, 3)`, to features `(batch, features)`, see `zoo.models.backbones`; or an int, the
            length of feature vectors that are fed instead. For labels a
            `SemanticRoleRecognizer`, of which the describer keeps a frozen copy; or a list of ints,
            how many labels each role has, where labels are fed.
        vocabulary_size: Number of ids. Id 0 starts and ends a sentence.
        visual: What of the video the LSTMs see.
        architecture: How they see it.
        embedding_dim: Width of a word's vector.
        lstm_units: Width of both LSTMs.
        projection_dim: Width of a dense layer between what is seen and the LSTM; S2VT: 500. None
            for none.
        dropout: Share dropped while training, in [0, 1).
        variant: With `architecture="decoder"`, the stack of LSTMs, as in `lrcn_captioner`; None
            for `"2u"`, the paper's. A describer that starts from the weights of a captioner has
            the captioner's variant.
        dtype: Precision policy of the decoder, such as `"mixed_bfloat16"`. Defaults to
            `keras.config.dtype_policy()`. The CNN keeps its own.
        name: Name of the model.

    Returns:
        `LRCNVideoDescriber`, a functional `keras.Model` from `frames (batch, time, height, width,
        3)` (or `features (batch, time, features)`), `num_frames`, int32 `(batch,)`, and
        `token_ids`, int32 `(batch, words)`, to logits of the next word, float32 `(batch, words,
        vocabulary_size)`. Where labels are fed, from `labels`, float `(batch, labels of all
        roles)`, and `token_ids`.

    Raises:
        ValueError: If `source` does not fit `visual`, or there is no such model.

    Example:

    ```python
    describer = lrcn_video_describer(efficientnet_lite0(), vocabulary_size=8801)
    token_ids, log_probs, word_log_probs = describer.generate((frames, num_frames))
    ```

    Source:
        Donahue et al., 2015, section 6. https://arxiv.org/abs/1411.4389. S2VT: Venugopalan et
        al., 2015. https://arxiv.org/abs/1505.00487
    """  # noqa: E501 (a table)
    decoder_options = {} if variant is None else {"variant": variant}
    return LRCNVideoDescriber(
        source,
        vocabulary_size,
        visual=visual,
        architecture=architecture,
        embedding_dim=embedding_dim,
        lstm_units=lstm_units,
        projection_dim=projection_dim,
        dropout=dropout,
        dtype=dtype,
        name=name,
        **decoder_options,
    )


@keras.saving.register_keras_serializable(package="zoo")
class LRCNVideoDescriber(GenerationMixin, Task):
    """Describes videos in sentences; `lrcn_video_describer` documents the arguments.

    Attributes:
        frame_encoder: The CNN, or None where features or labels are fed.
        recognizer: `SemanticRoleRecognizer` that labels the videos, or None.
        decoder: `CaptionDecoder` or `SequenceDecoder`.
        num_labels: Labels of each role, or None where it sees frames.
        roles: Dict from a role's name to its labels, in order; or None.
        vocabulary, sampler, compiled_functions: See `GenerationMixin`.
    """

    task = "video_description"
    sees = ("a video", "videos")

    def __init__(
        self,
        source,
        vocabulary_size,
        visual="frames",
        architecture="encoder_decoder",
        dtype=None,
        name="lrcn_video_describer",
        **decoder_options,
    ):
        _check(visual, architecture, decoder_options.get("variant"))
        options = {"name": "decoder", **decoder_options}
        with dtype_scope(dtype):
            if architecture == "decoder":
                options.setdefault("variant", "2u")  # unfactored, as in the paper
                decoder = CaptionDecoder(vocabulary_size, **options)
            else:
                words_enter = "second" if visual == "frames" else "first"
                decoder = SequenceDecoder(vocabulary_size, words_enter, **options)
        recognizer = encoder = num_labels = feature_dim = None
        if visual == "frames":
            inputs, features, encoder = video_inputs(source)
            seen, feature_dim = [features, inputs["num_frames"]], features.shape[-1]
        elif isinstance(source, keras.Model):
            recognizer = _frozen_copy(source)
            num_labels = source.num_labels
            feature_dim = source.feature_dim
            inputs = {
                name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
                for name, tensor in recognizer.input.items()
            }
            seen = recognizer(inputs, training=False)[LABELS[visual]]
        else:
            num_labels = list(source)
            seen = keras.Input((sum(num_labels),), name="labels")
            inputs = {"labels": seen}
        arrange = {
            ("frames", "encoder_decoder"): lambda seen: seen,
            ("frames", "decoder"): MeanOverFrames(name="mean"),
            ("labels_max", "encoder_decoder"): num_labels and LabelsInOrder(num_labels),
        }.get((visual, architecture), lambda seen: seen)
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        logits = decoder([arrange(seen), token_ids])
        super().__init__({**inputs, "token_ids": token_ids}, logits, name=name)
        self.frame_encoder = recognizer.frame_encoder if recognizer else encoder
        self.recognizer, self.decoder, self._arrange = recognizer, decoder, arrange
        self.visual, self.architecture = visual, architecture
        self.num_labels, self.feature_dim = num_labels, feature_dim
        self.metadata = {}
        self.roles = getattr(recognizer, "roles", None)
        self.vocabulary = None
        self.sampler = BeamSearch()
        self._decoder_options = decoder_options
        self.compiled_functions = CompiledFunctions()

    def on_features(self):
        """Returns the same network from what no longer changes in training, to logits.

        Returns:
            `keras.Model` from `features (batch, time, features)`, `num_frames (batch,)` and
            `token_ids (batch, words)`; or, of a model that reads labels, from `labels (batch,
            labels of all roles)` and `token_ids`.
        """
        if self.visual == "frames":
            inputs, features, _ = video_inputs(self.feature_dim)
            seen = [features, inputs["num_frames"]]
        else:
            seen = keras.Input((sum(self.num_labels),), name="labels")
            inputs = {"labels": seen}
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        return keras.Model(
            {**inputs, "token_ids": token_ids},
            self.decoder([self._arrange(seen), token_ids]),
            name=f"{self.name}_on_features",
        )

    def on_caption_groups(self):
        """Returns the same network from frames, for several captions a video, read once.

        Only a model that sees frames, by a CNN of its own, has it.

        Returns:
            `keras.Model` from `frames`, `num_frames` and `token_ids (batch, captions, words)` to
            logits `(batch, captions, words, vocabulary_size)`.
        """
        inputs, features, _ = video_inputs(self.frame_encoder)
        token_ids = keras.Input((None, None), dtype="int32", name="token_ids")
        seen = self._arrange([features, inputs["num_frames"]])
        return keras.Model(
            {**inputs, "token_ids": token_ids},
            self.decoder([seen, token_ids]),
            name=f"{self.name}_on_caption_groups",
        )

    def adapt(self, features):
        """Computes the mean and the variance by which the model standardizes features.

        Args:
            features: float `(..., features)`, of the training frames; or an iterable of such
                arrays, one for each video.
        """
        mean, variance = compute_moments(features)
        self.decoder.standardize.moving_mean.assign(mean)
        self.decoder.standardize.moving_variance.assign(variance + 1e-6)

    def encode(self, videos, batch_size=8):
        """Brings videos into the form in which the decoder reads them, NumPy.

        Args:
            videos: float RGB in 0..255 `(batch, time, height, width, 3)`, or features `(batch,
                time, features)`; or a pair of these and the number of each video's frames. To a
                model that reads labels also labels, float `(batch, labels of all roles)`.
            batch_size: Videos at a time.

        Returns:
            What `decoder.start` takes.

        Raises:
            ValueError: If the shape is another.
        """
        shape = getattr(videos, "shape", None)  # of an array, None of a pair
        if self.num_labels and shape and shape[1:] == (sum(self.num_labels),):
            seen = np.asarray(videos, "float32")
        elif self.feature_dim is None:
            raise ValueError(
                f"This model is fed labels (batch, {sum(self.num_labels)}), not videos. "
                f"Received: {f'shape {shape}' if shape else 'videos with their numbers of frames'}"
            )
        elif self.recognizer is None:
            seen = self.encode_frames(videos, batch_size)
        else:
            seen = self.read_labels(videos, batch_size)
        return self.compiled_functions.get("arrange", self._arrange, []).run(seen, batch_size)

    def read(self, features, num_frames):
        """What the decoder's `start` takes of videos; a pure function of tensors.

        Args:
            features: float `(batch, time, features)`.
            num_frames: int32 `(batch,)`.
        """
        if self.recognizer is None:
            return self._arrange([features, num_frames])
        return self._arrange(self.recognizer.read(features, num_frames)[LABELS[self.visual]])

    def encode_frames(self, videos, batch_size=8):
        """Features `(batch, time, features)` and number of frames of videos, NumPy."""
        return list(
            encode_videos(
                videos, self.frame_encoder, self.feature_dim, self.compiled_functions, batch_size
            )
        )

    def read_labels(self, videos, batch_size=8):
        """What the recogniser says of videos, as this model reads it.

        Args:
            videos: As for `encode`.
            batch_size: Videos at a time.

        Returns:
            NumPy float32 `(batch, labels of all roles)`: zeros and ones, or probabilities.
        """
        labels, probabilities = self.recognizer.recognize(videos, batch_size)
        if self.visual == "label_probabilities":
            return probabilities
        return keras.ops.convert_to_numpy(self.recognizer.crf.one_hot(labels))

    def describe(self, video, seconds=None):
        """Describes a video file in sentences.

        Args:
            video: Path of a video file, or of a folder of frames.
            seconds: Length of the segment that a sentence describes. None describes a video of up
                to 20 seconds in one sentence, and each 10 seconds of a longer one.

        Returns:
            List of dicts of `start` and `end`, seconds, `sentence`, and `log_prob`, the
            log-probability of the sentence.

        Raises:
            ValueError: If the model is fed features or labels instead of frames.
            zoo.data.videos.reading.VideoError: If the video cannot be read.
        """
        if self.frame_encoder is None:
            raise ValueError("Expected a model that is fed frames: this one has no frame encoder.")
        from zoo.inference.describe_video import SegmentDescriber

        return list(SegmentDescriber(self).describe(video, seconds))

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
        if self.roles is not None:
            write_json(folder / ROLES, dict(self.roles))

    def read_assets(self, folder):
        path = folder / VOCABULARY
        if path.exists():
            self.vocabulary = Vocabulary.load(path)
            check_count(path, len(self.vocabulary), self.decoder.vocabulary_size)
        path = folder / ROLES
        if path.exists():
            self.roles = read_roles(path, self.num_labels)
            if self.recognizer is not None:
                self.recognizer.roles = self.roles

    def describe_settings(self):
        return describe_decoding(self)

    def apply_settings(self, metadata):
        apply_decoding(self, metadata)

    def get_config(self):
        if self.recognizer is not None:
            source = {"recognizer": self.recognizer.get_config()}  # not how it was trained
        elif self.num_labels is not None:
            source = self.num_labels
        else:
            source = encoder_config(self.frame_encoder, self.feature_dim)
        return {
            "source": source,
            "vocabulary_size": self.decoder.vocabulary_size,
            "visual": self.visual,
            "architecture": self.architecture,
            "name": self.name,
            **self._decoder_options,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        source = config["source"]
        if isinstance(source, dict) and "recognizer" in source:
            source = SemanticRoleRecognizer.from_config(source["recognizer"], custom_objects)
        elif not isinstance(source, list):
            source = encoder_from_config(source, custom_objects)
        return cls(**{**config, "source": source})


def _frozen_copy(recognizer):
    """Returns a recognizer of the same weights that is not trained."""
    copy = SemanticRoleRecognizer.from_config(recognizer.get_config())
    copy.set_weights(recognizer.get_weights())
    copy.roles = recognizer.roles
    copy.metadata = recognizer.metadata
    copy.trainable = False
    return copy


def _check(visual, architecture, variant):
    if visual not in LABELS or architecture not in ARCHITECTURES:
        raise ValueError(
            f"`visual` is one of {list(LABELS)} and `architecture` one of {ARCHITECTURES}. "
            f"Received: {visual!r} and {architecture!r}"
        )
    if (visual, architecture) == ("label_probabilities", "encoder_decoder"):
        raise ValueError(
            "The encoder-decoder reads one label a step, the most likely ones: "
            '`visual="labels_max"`. Probabilities enter at every word: `architecture="decoder"`.'
        )
    if variant is not None and architecture != "decoder":
        raise ValueError(
            'Expected `variant` with `architecture="decoder"` only: the encoder-decoder has one '
            f"stack of LSTMs. Received: variant={variant!r}"
        )
