"""The recognizer of semantic roles: who does what with what in a video, as labels."""

import json

import keras

from zoo.files import write_json
from zoo.models.backbones import encoder_config, encoder_from_config
from zoo.models.batched import CompiledFunctions
from zoo.models.layers.role_crf import RoleCRF
from zoo.models.layers.sequence_mask import FramesThere, MeanOverFrames
from zoo.models.task import Task, check_count, compute_moments, dtype_scope
from zoo.models.video_input import encode_videos, video_inputs

ROLES = "roles.json"


def semantic_role_recognizer(
    frame_encoder,
    num_labels,
    lstm_units=256,
    input_dropout=0.0,
    dropout=0.5,
    dtype=None,
    name="semantic_role_recognizer",
):
    """Builds the model that labels the semantic roles of a video: activity, object, tool, ...

    Every frame passes through the same `frame_encoder`; an LSTM reads the features in order, and
    the mean of its outputs and the last of them score the labels of every role. A conditional
    random field joins them: pairs of the first role, the activity, with every other one have
    learned scores, too.

    `fit` maximises the likelihood of the labels; `compile` needs no loss for it.

    Args:
        frame_encoder: `keras.Model` from frames, float32 RGB in 0..255 `(batch, height, width,
            3)`, to features `(batch, features)`; see `zoo.models.backbones`. Or an int: the
            length of feature vectors that are fed instead of frames.
        num_labels: List of ints, how many labels each role has, the activity first. Label 0 of a
            role is its `"none"`.
        lstm_units: Width of the LSTM.
        input_dropout: Share of features dropped before the LSTM while training, in [0, 1).
        dropout: Share of LSTM outputs dropped while training, in [0, 1).
        dtype: Precision policy of the layers after the CNN, such as `"mixed_bfloat16"`. Defaults
            to `keras.config.dtype_policy()`. The `frame_encoder` keeps its own.
        name: Name of the model.

    Returns:
        `SemanticRoleRecognizer`, a functional `keras.Model` from `frames (batch, time, height,
        width, 3)` (or `features (batch, time, features)`) and `num_frames`, int32 `(batch,)`, to
        a dict of three float32 tensors `(batch, sum(num_labels))`: `scores`, unary;
        `probabilities`, exact marginals; and `most_likely`, the best tuple in zeros and ones.

    Raises:
        ValueError: If `frame_encoder` gives more than one vector a frame.

    Example:

    ```python
    recognizer = semantic_role_recognizer(efficientnet_lite0(), num_labels=[3, 11, 5])
    recognizer.compile()
    recognizer.fit(batches)  # ({"frames", "num_frames"}, labels int32 (batch, roles))
    labels, probabilities = recognizer.recognize((frames, num_frames))
    ```

    Source:
        Donahue et al., 2015, section 6, describes videos by such labels.
        https://arxiv.org/abs/1411.4389
    """
    return SemanticRoleRecognizer(
        frame_encoder,
        num_labels,
        lstm_units=lstm_units,
        input_dropout=input_dropout,
        dropout=dropout,
        dtype=dtype,
        name=name,
    )


class CRFLoss(keras.losses.Loss):
    """Negative log-likelihood of a video's labels, all roles together.

    Args:
        crf: `RoleCRF`.

    Call arguments:
        y_true: int32 `(batch, roles)`.
        y_pred: Unary scores, float `(batch, labels of all roles)`.
    """

    def __init__(self, crf):
        super().__init__(name="tuple_cross_entropy")
        self.crf = crf

    def call(self, y_true, y_pred):
        return -self.crf.log_likelihood(y_pred, keras.ops.cast(y_true, "int32"))


class CRFModel(keras.Model):
    """A functional model whose outputs hold `scores` of a CRF, which `fit` makes likely.

    Args:
        inputs, outputs, name: As for `keras.Model`.
        crf: The `RoleCRF`, one of the model's layers.
    """

    def __init__(self, inputs, outputs, crf, name):
        super().__init__(inputs, outputs, name=name)
        self.crf = crf
        self._likelihood = CRFLoss(crf)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Loss of a batch, in place of the one that `compile` would be given."""
        return self._likelihood(y, y_pred["scores"], sample_weight)


@keras.saving.register_keras_serializable(package="zoo")
class SemanticRoleRecognizer(CRFModel, Task):
    """Labels semantic roles; `semantic_role_recognizer` documents the arguments.

    Attributes:
        frame_encoder: The CNN, or None where features are fed.
        num_labels: Labels of each role.
        roles: Dict from a role's name to the list of its labels, in order; or None. A model from
            `from_preset` has them.
    """

    task = "semantic_roles"

    def __init__(
        self,
        frame_encoder,
        num_labels,
        lstm_units,
        input_dropout,
        dropout,
        dtype=None,
        name="semantic_role_recognizer",
    ):
        with dtype_scope(dtype):
            # Frozen statistics, not learned: identity until `adapt` sets them.
            standardize = keras.layers.BatchNormalization(
                center=False, scale=False, epsilon=1e-7, trainable=False, name="standardize"
            )
            drop_features = keras.layers.Dropout(input_dropout, name="drop_features")
            # What cuDNN runs on a GPU could not be exported to a server without one.
            lstm = keras.layers.LSTM(
                lstm_units, return_sequences=True, return_state=True, use_cudnn=False, name="lstm"
            )
            mean = MeanOverFrames(name="mean")
            drop_outputs = keras.layers.Dropout(dropout, name="drop_outputs")
            unary = keras.layers.Dense(sum(num_labels), dtype="float32", name="scores")
            crf = RoleCRF(num_labels, name="crf")
            there = FramesThere(name="frames_there")

        def head(features, num_frames):
            # `training=False`, even where `trainable` was set for all layers.
            x = drop_features(standardize(features, training=False))
            outputs, last, _ = lstm(x, mask=there([features, num_frames]))
            # The last output knows the order; the mean reaches every frame without detour.
            x = keras.ops.concatenate([mean([outputs, num_frames]), last], axis=-1)
            scores = unary(drop_outputs(x))
            probabilities, most_likely = crf(scores)
            return {"scores": scores, "probabilities": probabilities, "most_likely": most_likely}

        inputs, features, encoder = video_inputs(frame_encoder)
        super().__init__(inputs, head(features, inputs["num_frames"]), crf, name)
        self.frame_encoder, self.feature_dim = encoder, features.shape[-1]
        self.metadata = {}
        self.num_labels = list(num_labels)
        self.roles = None
        self._standardize, self._head = standardize, head
        self._config = {
            "num_labels": list(num_labels),
            "lstm_units": lstm_units,
            "input_dropout": input_dropout,
            "dropout": dropout,
            "name": name,
        }
        self.compiled_functions = CompiledFunctions()

    def on_features(self):
        """Returns the same network from features instead of frames: same layers, same weights.

        Returns:
            `keras.Model` from `features (batch, time, features)` and `num_frames (batch,)`.
        """
        inputs, features, _ = video_inputs(self.feature_dim)
        outputs = self._head(features, inputs["num_frames"])
        return CRFModel(inputs, outputs, self.crf, f"{self.name}_on_features")

    def adapt(self, features):
        """Computes the mean and the variance by which the model standardizes features.

        Args:
            features: float `(..., features)`, of the training frames; or an iterable of such
                arrays, one for each video.
        """
        mean, variance = compute_moments(features)
        self._standardize.moving_mean.assign(mean)
        self._standardize.moving_variance.assign(variance + 1e-6)

    def read(self, features, num_frames):
        """Labels the roles of videos; a pure function of tensors.

        Args:
            features: float `(batch, time, features)`.
            num_frames: int32 `(batch,)`.

        Returns:
            The model's outputs, see `semantic_role_recognizer`.
        """
        return self._head(features, num_frames)

    def recognize(self, videos, batch_size=8):
        """Labels the roles of videos.

        Args:
            videos: float RGB in 0..255 `(batch, time, height, width, 3)`, or features `(batch,
                time, features)`; or a pair of these and the number of each video's frames.
            batch_size: Videos at a time.

        Returns:
            NumPy int32 `(batch, roles)`, the most likely tuple, and float32 `(batch,
            sum(num_labels))`, the marginal probabilities.

        Raises:
            ValueError: If the shape is another.
        """
        inputs = self.encode(videos, batch_size)

        def read(inputs):
            outputs = self.read(*inputs)
            return self.crf.most_likely(outputs["scores"]), outputs["probabilities"]

        return self.compiled_functions.get("recognize", read, [self]).run(inputs, batch_size)

    def encode(self, videos, batch_size=8):
        """Features and number of frames of videos, NumPy; features pass unchanged."""
        return encode_videos(
            videos, self.frame_encoder, self.feature_dim, self.compiled_functions, batch_size
        )

    def check_words(self):
        if self.roles is None:
            raise ValueError(
                "A preset needs the labels of the roles, and this model has no roles: set "
                "`model.roles`."
            )

    def write_assets(self, folder):
        if self.roles is not None:
            write_json(folder / ROLES, dict(self.roles))

    def read_assets(self, folder):
        path = folder / ROLES
        if path.exists():
            self.roles = read_roles(path, self.num_labels)

    def get_config(self):
        encoder = encoder_config(self.frame_encoder, self.feature_dim)
        return {"frame_encoder": encoder, **self._config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = encoder_from_config(config["frame_encoder"], custom_objects)
        return cls(**{**config, "frame_encoder": encoder})


def read_roles(path, num_labels):
    """Reads the labels of each role.

    Args:
        path: `pathlib.Path` of a JSON file.
        num_labels: List with the number of labels of each role.

    Returns:
        Dict from a role's name to its labels, in order.

    Raises:
        ValueError: If the numbers differ.
    """
    roles = json.loads(path.read_text(encoding="utf-8"))
    check_count(path, [len(labels) for labels in roles.values()], num_labels)
    return roles
