"""The LRCN that names the activity in a video: a CNN on every frame, an LSTM over time."""

import os

import keras
import numpy as np
from keras import ops

from zoo.models.backbones import check_image_encoder, encoder_config, encoder_from_config
from zoo.models.batched import CompiledFunctions
from zoo.models.feature_statistics import FeatureStatistics
from zoo.models.layers.every_frame import EveryFrame
from zoo.models.layers.fused_convolution import fuse_batch_normalization
from zoo.models.task import Task, check_count, compute_moments, dtype_scope, load_word_lines

CLASSES = "classes.txt"
STATISTICS = "feature_statistics.npz"


def lrcn_activity_recognizer(
    frame_encoder,
    num_classes,
    clip_length=16,
    lstm_units=256,
    input_dropout=0.0,
    dropout=0.5,
    initializer=None,
    dtype=None,
    name="lrcn_activity_recognizer",
):
    """Builds the LRCN that names the activity in a clip.

    Every frame passes through the same `frame_encoder`; an LSTM reads the features in order and
    votes for a class at each frame. The label of a clip is the class with the highest mean
    probability over its frames.

    Args:
        frame_encoder: `keras.Model` from frames, float32 RGB in 0..255 `(batch, height, width,
            3)`, to features `(batch, features)`; see `zoo.models.backbones`. Which layer feeds the
            LSTM is its choice: `caffenet_hybrid("fc6")` for the paper's LRCN-fc6,
            `caffenet_hybrid("fc7")` for LRCN-fc7. Or an int: the length of feature vectors that
            are fed instead of frames.
        num_classes: Number of activities, 101 for UCF101.
        clip_length: Frames in a clip, taken one after another; None for any number.
        lstm_units: Width of the LSTM; paper: 256 for RGB, 1024 for optical flow.
        input_dropout: Share of features dropped before the LSTM while training, in [0, 1); paper:
            0.9 where the whole network is trained.
        dropout: Share of LSTM outputs dropped while training, in [0, 1); paper: 0.5.
        initializer: Initializer of the LSTM's matrices, whose biases are then all 0; authors':
            uniform in -0.01..0.01. None for Keras's own, with a forget bias of 1.
        dtype: Precision policy of the layers after the CNN, such as `"mixed_bfloat16"`. Defaults
            to `keras.config.dtype_policy()`. The `frame_encoder` keeps its own.
        name: Name of the model.

    Returns:
        `LRCNActivityRecognizer`, a functional `keras.Model` from `frames`, float32 RGB in 0..255,
        `(batch, clip_length, height, width, 3)`, to logits, float32 `(batch, clip_length,
        num_classes)`.

    Raises:
        ValueError: If `frame_encoder` gives more than one vector per frame.

    Example:

    ```python
    recognizer = lrcn_activity_recognizer(efficientnet_lite0(), num_classes=101)
    recognizer.compile()
    recognizer.fit(dataset)  # (clips, labels of all their frames)
    ```

    Source:
        Donahue et al., 2015, section 4. https://arxiv.org/abs/1411.4389
    """
    return LRCNActivityRecognizer(
        frame_encoder,
        num_classes,
        clip_length=clip_length,
        lstm_units=lstm_units,
        input_dropout=input_dropout,
        dropout=dropout,
        initializer=initializer,
        dtype=dtype,
        name=name,
    )


def single_frame_recognizer(
    frame_encoder,
    num_classes,
    dropout=0.5,
    clip_length=None,
    dtype=None,
    name="single_frame_recognizer",
):
    """Builds the paper's baseline: a class for each frame by itself, without an LSTM.

    It takes clips as the LRCN does, so that both train and are scored by the same code; clips of
    one frame are what the paper trains it on. An `lrcn_activity_recognizer` on the same
    `frame_encoder` starts from the weights that it has learned here.

    Args:
        frame_encoder: As for `lrcn_activity_recognizer`; the paper's is `caffenet_hybrid("fc7")`.
        num_classes: Number of activities.
        dropout: Share of features dropped while training, in [0, 1); paper: 0.5.
        clip_length: Frames in a clip; None for any number.
        dtype: As for `lrcn_activity_recognizer`.
        name: Name of the model.

    Returns:
        `LRCNActivityRecognizer`, from `frames` `(batch, clip_length, height, width, 3)` to logits,
        float32 `(batch, clip_length, num_classes)`.

    Raises:
        ValueError: If `frame_encoder` gives more than one vector per frame.

    Source:
        Donahue et al., 2015, section 4. https://arxiv.org/abs/1411.4389
    """
    return LRCNActivityRecognizer(
        frame_encoder,
        num_classes,
        clip_length=clip_length,
        lstm_units=0,
        dropout=dropout,
        dtype=dtype,
        name=name,
    )


@keras.saving.register_keras_serializable(package="zoo")
class LRCNActivityRecognizer(Task):
    """Recognizes activities; `lrcn_activity_recognizer` documents the arguments.

    Attributes:
        frame_encoder: The CNN, or None where features are fed.
        lstm: The LSTM, or None.
        class_names: List of the activities' names, or None. A model from `from_preset` has them.
        feature_statistics: `zoo.models.feature_statistics.FeatureStatistics` of the training
            videos, or None.
    """

    task = "activity_recognition"

    def __init__(
        self,
        frame_encoder,
        num_classes,
        clip_length,
        lstm_units,
        dropout,
        name,
        input_dropout=0.0,
        initializer=None,
        dtype=None,
    ):
        initializer = keras.initializers.get(initializer)
        with dtype_scope(dtype):
            # Frozen statistics, not learned: identity until `adapt` sets them.
            standardize = keras.layers.BatchNormalization(
                center=False, scale=False, epsilon=1e-7, trainable=False, name="standardize"
            )
            drop_features = keras.layers.Dropout(input_dropout, name="drop_features")
            lstm = None
            if lstm_units:
                # What cuDNN runs on a GPU could not be exported to a server without one; and Keras
                # hands it bfloat16, which JAX's call of it does not know.
                own = {"use_cudnn": False}
                if initializer is not None:
                    own |= {
                        "kernel_initializer": initializer.clone(),
                        "recurrent_initializer": initializer.clone(),
                        "unit_forget_bias": False,
                    }
                lstm = keras.layers.LSTM(lstm_units, return_sequences=True, name="lstm", **own)
            drop_outputs = keras.layers.Dropout(dropout, name="drop_outputs")
            classifier = keras.layers.Dense(num_classes, dtype="float32", name="logits")

        def head(features):
            # `training=False`, even where `trainable` was set for all layers.
            x = drop_features(standardize(features, training=False))
            return classifier(drop_outputs(x if lstm is None else lstm(x)))

        if isinstance(frame_encoder, int):
            frames = features = keras.Input((clip_length, frame_encoder), name="features")
            encoder = None
        else:
            check_image_encoder(frame_encoder)
            encoder = fuse_batch_normalization(frame_encoder)
            frames = keras.Input((clip_length, *encoder.input_shape[1:]), name="frames")
            features = EveryFrame(encoder, name="every_frame")(frames)
        super().__init__(frames, head(features), name=name)
        self.supports_masking = True  # `model(frames, mask=...)`, see `EveryFrame`
        self.frame_encoder, self.lstm = encoder, lstm
        self._standardize, self._classifier, self._head = standardize, classifier, head
        self.feature_dim, self.num_classes = features.shape[-1], num_classes
        self.clip_length = clip_length
        self.metadata = {}
        self.class_names = None
        self.feature_statistics = None
        self._config = {
            "num_classes": num_classes,
            "clip_length": clip_length,
            "lstm_units": lstm_units,
            "input_dropout": input_dropout,
            "dropout": dropout,
            "initializer": keras.initializers.serialize(initializer) if initializer else None,
            "name": name,
        }
        self._compiled = CompiledFunctions()

    def on_features(self):
        """Returns the same network from features instead of frames: same layers, same weights.

        Returns:
            `keras.Model` from `features (batch, time, features)` to logits `(batch, time,
            num_classes)`, for any number of frames.
        """
        features = keras.Input((None, self.feature_dim), name="features")
        return keras.Model(features, self._head(features), name=f"{self.name}_on_features")

    def adapt(self, features):
        """Computes the mean and the variance by which the model standardizes features.

        Args:
            features: float `(..., features)`, of the training frames; or an iterable of such
                arrays, one for each video.
        """
        mean, variance = compute_moments(features)
        self._standardize.moving_mean.assign(mean)
        self._standardize.moving_variance.assign(variance + 1e-6)

    def start(self, batch_size):
        """The state before the first frame; a pure function of tensors.

        Args:
            batch_size: Number of videos.

        Returns:
            List of two zero tensors `(batch_size, lstm_units)`, or an empty list without an LSTM.
        """
        return [] if self.lstm is None else self.lstm.cell.get_initial_state(batch_size)

    def read(self, features, state):
        """Reads one frame of each video; a pure function of tensors.

        Args:
            features: float `(batch, features)`.
            state: From `start`, or the last `read`.

        Returns:
            Logits, float32 `(batch, num_classes)`, and the new state.
        """
        x = self._standardize(features[:, None], training=False)[:, 0]
        if self.lstm is not None:
            x, state = self.lstm.cell(x, state)
        return self._classifier(x), list(state)

    def step(self, frame, state=None):
        """Reads the next frame of a video, however long it is, in constant memory.

        Args:
            frame: float RGB in 0..255 `(batch, height, width, 3)`, or features `(batch,
                features)`; one frame of each video.
            state: What the last `step` gave; None at the first frame.

        Returns:
            Probabilities, NumPy float32 `(batch, num_classes)`, and the state, a list of arrays.

        Raises:
            ValueError: If the frame's shape is another.
        """
        frame = np.asarray(frame, "float32")
        encoder = self._encoder_for(frame.shape[1:])
        if state is None:
            width = 0 if self.lstm is None else self.lstm.units
            state = [np.zeros((len(frame), width), "float32") for _ in range(2 * bool(width))]

        def forward(inputs):
            features = inputs[0] if encoder is None else encoder(inputs[0], training=False)
            logits, new = self.read(features, list(inputs[1:]))
            return [ops.softmax(logits), *new]

        compiled = self._compiled.get(("step", encoder is None), forward, [self])
        probabilities, *state = compiled.once([frame, *state])
        return probabilities, state

    def classify(self, frames, batch_size=8):
        """Computes the probability of each activity.

        Args:
            frames: Path of a video file, or of a folder of frames. Or clips: float RGB in 0..255
                `(batch, time, height, width, 3)`, or features `(batch, time, features)`. Frames
                after the end of a clip change nothing before them.
            batch_size: Number of clips that are processed together.

        Returns:
            Of a path, `zoo.inference.classify_video.VideoClassification`: labels and
            probabilities of the video and of its parts over time. Of clips, NumPy float32 `(batch,
            time, num_classes)`; its mean over time is the answer for a clip.

        Raises:
            ValueError: If the shape is another.
            zoo.data.videos.reading.VideoError: If the video cannot be read.

        Example:

        ```python
        recognizer = zoo.from_preset("lrcn_activity_moving_digits")
        for name, probability in recognizer.classify("video.mp4").top(3):
            print(name, probability)
        ```
        """
        if isinstance(frames, (str, os.PathLike)):
            from zoo.inference.classify_video import classify_video

            return classify_video(self, frames)
        frames = np.asarray(frames, "float32")
        encoder = self._encoder_for(frames.shape[2:])

        def forward(x):
            x = x if encoder is None else EveryFrame(encoder)(x, training=False)
            return ops.softmax(self._head(x))

        compiled = self._compiled.get(("classify", encoder is None), forward, [self])
        return compiled.run(frames, batch_size)

    def encode_frames(self, frames, batch_size=32):
        """Computes the features of frames.

        Args:
            frames: float RGB in 0..255 `(frames, height, width, 3)`, or features `(frames,
                features)`, which are returned as they are.
            batch_size: Frames at a time.

        Returns:
            NumPy float32 `(frames, features)`.

        Raises:
            ValueError: If the shape is another.
        """
        frames = np.asarray(frames, "float32")
        encoder = self._encoder_for(frames.shape[1:])
        if encoder is None:  # they are features already
            return frames

        def forward(x):
            return encoder(x, training=False)

        return self._compiled.get("encode_frames", forward, [self]).run(frames, batch_size)

    def compare_with_training(self, frames):
        """Compares a video with the videos that the model was trained on.

        Args:
            frames: float RGB in 0..255 `(frames, height, width, 3)`, spread over the video; or
                their features `(frames, features)`. RGB also for a model of optical flow.

        Returns:
            `zoo.models.feature_statistics.TrainingDistance`, or None where the model has no
            `feature_statistics`.
        """
        if self.feature_statistics is None:
            return None
        return self.feature_statistics.compare(self.encode_frames(frames))

    def _encoder_for(self, shape):
        """The CNN for frames, None for features; `shape` is that of one of them."""
        if shape == (self.feature_dim,):
            return None
        if self.frame_encoder is None or shape != self.frame_encoder.input_shape[1:]:
            expected = f"features ({self.feature_dim},)"
            if self.frame_encoder is not None:
                expected = f"frames {self.frame_encoder.input_shape[1:]} or {expected}"
            raise ValueError(f"Expected {expected}, batch first. Received: each of shape {shape}")
        return self.frame_encoder

    def make_loss(self):
        """Returns the cross-entropy of the class at each frame."""
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )

    def check_words(self):
        if self.class_names is None:
            raise ValueError(
                "A preset needs the names of the classes, and this model has no class_names: set "
                "`model.class_names`."
            )

    def write_assets(self, folder):
        if self.class_names is not None:
            lines = "".join(f"{name}\n" for name in self.class_names)
            (folder / CLASSES).write_text(lines, encoding="utf-8")
        if self.feature_statistics is not None:
            self.feature_statistics.save(folder / STATISTICS)

    def read_assets(self, folder):
        path = folder / CLASSES
        if path.exists():
            self.class_names = load_word_lines(path)
            check_count(path, len(self.class_names), self.num_classes)
        path = folder / STATISTICS
        if path.exists():
            statistics = FeatureStatistics.load(path)
            if statistics.feature_dim != self.feature_dim:
                raise ValueError(
                    f"{path} has statistics of {statistics.feature_dim} features, for a model of "
                    f"{self.feature_dim}. One of the files belongs to another preset."
                )
            self.feature_statistics = statistics

    def get_config(self):
        encoder = encoder_config(self.frame_encoder, self.feature_dim)
        return {"frame_encoder": encoder, **self._config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = encoder_from_config(config["frame_encoder"], custom_objects)
        return cls(**{**config, "frame_encoder": encoder})
