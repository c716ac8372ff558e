"""The word LSTMs, as layers: a whole sentence at once, or one word at a time."""

import keras
from keras import ops

from zoo.models.cells import CELLS

# How many recurrent layers a variant stacks, and which of them sees the image (paper, figure 4;
# 4f: CVPR version, section 4.2).
VARIANTS = {"1u": (1, 0), "2u": (2, 0), "2f": (2, 1), "4f": (4, 1)}


@keras.saving.register_keras_serializable(package="zoo")
class CaptionDecoder(keras.layers.Layer):
    """Writes words about an image: embedding, stacked word LSTMs, logits of the next word.

    The sentence of training (`call`) and the single word of decoding (`start`, then `step`) run
    the same weights.

    Args:
        vocabulary_size: Number of ids; id 0 starts and ends a sentence.
        variant: `"1u"`, `"2u"`, `"2f"` or `"4f"`: number of recurrent layers, and whether the
            image enters the first (unfactored) or the second (factored) of them.
        unit: `"lstm"`, or `"rnn"` for the plain unit of the paper's ablation.
        embedding_dim: Width of a word's vector.
        lstm_units: Width of every recurrent layer.
        projection_dim: If given, the image's features pass through a dense layer of this width
            with ReLU before they enter. The paper has none: None.
        dropout: Share dropped while training from the projected features, the words' vectors
            and every recurrent layer's output, in [0, 1).
        initializer: Initializer of every matrix. The authors': uniform in -0.08..0.08.

    Call arguments:
        inputs: `[features, token_ids]`: float `(batch, features)` and int32 `(batch, words)`,
            the words *before* each position: 0 first. Or int32 `(batch, captions, words)`:
            several captions of an image, which then enters once for all of them.

    Returns:
        Logits of the next word, float32 `(batch, words, vocabulary_size)` or `(batch, captions,
        words, vocabulary_size)`.

    Source:
        Donahue et al., 2015, figure 4 and section 5. https://arxiv.org/abs/1411.4389
    """

    def __init__(
        self,
        vocabulary_size,
        variant="2f",
        unit="lstm",
        embedding_dim=1000,
        lstm_units=1000,
        projection_dim=None,
        dropout=0.0,
        initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if variant not in VARIANTS or unit not in CELLS:
            raise ValueError(
                f"`variant` is one of {list(VARIANTS)} and `unit` one of {list(CELLS)}. "
                f"Received: variant={variant!r}, unit={unit!r}"
            )
        if vocabulary_size < 2:
            raise ValueError(
                "`vocabulary_size` counts the end of a sentence and the unknown word, so it is at "
                f"least 2. Received: {vocabulary_size}"
            )
        self.vocabulary_size = vocabulary_size
        self.variant = variant
        self.unit = unit
        self.embedding_dim = embedding_dim
        self.lstm_units = lstm_units
        self.projection_dim = projection_dim
        self.dropout = dropout
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomUniform(-0.08, 0.08)
        )
        num_layers, self.image_layer = VARIANTS[variant]

        def dense(units, name, **options):
            # One seed in two layers would draw the same numbers: each gets its own copy.
            return keras.layers.Dense(
                units, kernel_initializer=self._fresh_initializer(), name=name, **options
            )

        # Frozen statistics, not learned: identity until `adapt` sets them.
        self.standardize = keras.layers.BatchNormalization(
            center=False, scale=False, epsilon=1e-7, trainable=False, name="standardize"
        )
        self.projection = None
        if projection_dim:
            self.projection = dense(projection_dim, "projection", activation="relu")
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_dim,
            embeddings_initializer=self._fresh_initializer(),
            name="embedding",
        )
        self.rnns, self.input_shares = [], []
        for n in range(num_layers):
            cell = CELLS[unit](lstm_units, self._fresh_initializer(), name=f"{unit}{n + 1}_cell")
            self.rnns.append(keras.layers.RNN(cell, return_sequences=True, name=f"{unit}{n + 1}"))
            self.input_shares.append(dense(cell.gate_units, f"{unit}{n + 1}_input"))
        self.image_share = dense(
            self.rnns[0].cell.gate_units, f"{unit}{self.image_layer + 1}_image", use_bias=False
        )
        self.drop_features = keras.layers.Dropout(dropout, name="drop_features")
        self.drop_words = keras.layers.Dropout(dropout, name="drop_words")
        self.drop_outputs = [
            keras.layers.Dropout(dropout, name=f"drop_{n + 1}") for n in range(num_layers)
        ]
        self.logits = dense(vocabulary_size, "logits")

    def _fresh_initializer(self):
        return self.initializer.clone()

    def build(self, input_shape):
        features_shape, _ = input_shape
        self.standardize.build(features_shape)
        width = features_shape[-1]
        if self.projection is not None:
            self.projection.build((None, width))
            width = self.projection_dim
        self.image_share.build((None, width))
        self.embedding.build((None, None))
        width = self.embedding_dim
        for rnn, share in zip(self.rnns, self.input_shares, strict=True):
            share.build((None, None, width))
            rnn.build((None, None, rnn.cell.gate_units))
            width = self.lstm_units
        self.logits.build((None, None, width))

    def call(self, inputs, training=False):
        features, token_ids = inputs
        image_share = self._image_share(features, training)
        shape = ops.shape(token_ids)
        if len(shape) == 3:
            image_share = ops.repeat(image_share, shape[1], axis=0)
            token_ids = ops.reshape(token_ids, (-1, shape[2]))
        x = self.drop_words(self.embedding(token_ids), training=training)
        for n, rnn in enumerate(self.rnns):
            gates = self.input_shares[n](x)  # (batch, words, gate_units)
            if n == self.image_layer:
                gates = gates + image_share[:, None]
            x = self.drop_outputs[n](rnn(gates), training=training)
        logits = ops.cast(self.logits(x), "float32")
        return ops.reshape(logits, (-1, *shape[1:], self.vocabulary_size))

    def _image_share(self, features, training=False):
        x = self.standardize(features, training=False)  # even where `trainable` was set for all
        if self.projection is not None:
            x = self.drop_features(self.projection(x), training=training)
        return self.image_share(x)

    def start(self, features):
        """Reads the image, once for all words.

        Args:
            features: float `(batch, features)`.

        Returns:
            The state before the first word: a flat list of tensors, `batch` rows each.
        """
        state = [self._image_share(features)]
        for rnn in self.rnns:
            state += rnn.cell.get_initial_state(ops.shape(features)[0])
        return state

    def step(self, token_ids, state):
        """Reads one word.

        Args:
            token_ids: int32 `(rows,)`, the last word of each row; 0 at first.
            state: From `start`, or the last `step`.

        Returns:
            Logits of the next word, float32 `(rows, vocabulary_size)`, and the new state.
        """
        image_share, *states = state
        x = self.embedding(token_ids)
        new_state = [image_share]
        for n, rnn in enumerate(self.rnns):
            gates = self.input_shares[n](x)
            if n == self.image_layer:
                gates = gates + image_share
            size = len(rnn.cell.state_size)
            x, new = rnn.cell(gates, states[n * size : (n + 1) * size])
            new_state += new
        return ops.cast(self.logits(x), "float32"), new_state

    def search(self, features, sampler, max_words, constraints=None, uniforms=None):
        """Writes sentences; a pure function of tensors.

        Args:
            features: float `(batch, features)`.
            sampler: One of `zoo.decoding`'s samplers.
            max_words: Longest sentence, its end included.
            constraints: `zoo.decoding.Constraints` or None.
            uniforms: float32 `(batch, num_samples, max_words)` in [0, 1), for `Sampling` only.

        Returns:
            `zoo.decoding.Decoded` of tensors.
        """
        batch_size = ops.shape(features)[0]
        state = self.start(features)
        return sampler(self.step, state, batch_size, max_words, constraints, uniforms)

    def log_probs(self, features, token_ids, end=True):
        """Log-probabilities of given sentences; a pure function of tensors.

        Args:
            features: float `(batch, features)`.
            token_ids: int32 `(batch, words)`, padded with 0.
            end: Whether the sentence's end counts as a word.

        Returns:
            float32 `(batch,)` and, word by word, `(batch, words + 1)`, zero after the end.
        """
        nothing = ops.zeros_like(token_ids[:, :1])
        before = ops.concatenate([nothing, token_ids], axis=1)  # (batch, words + 1)
        after = ops.concatenate([token_ids, nothing], axis=1)
        log_probs = ops.log_softmax(self([features, before]))
        log_probs = ops.take_along_axis(log_probs, after[..., None], axis=-1)[..., 0]
        counts = ops.cumprod(ops.cast(after != 0, "float32"), axis=1)  # 1 up to the last word
        if end:
            counts = ops.concatenate([ops.ones_like(counts[:, :1]), counts[:, :-1]], axis=1)
        log_probs = log_probs * counts
        return ops.sum(log_probs, -1), log_probs

    def compute_output_spec(self, inputs, training=False):
        shape = (*inputs[1].shape, self.vocabulary_size)
        return keras.KerasTensor(shape, "float32")  # under every precision policy

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "variant": self.variant,
            "unit": self.unit,
            "embedding_dim": self.embedding_dim,
            "lstm_units": self.lstm_units,
            "projection_dim": self.projection_dim,
            "dropout": self.dropout,
            "initializer": keras.initializers.serialize(self.initializer),
        }

    @classmethod
    def from_config(cls, config):
        config = {**config, "initializer": keras.initializers.deserialize(config["initializer"])}
        return cls(**config)
