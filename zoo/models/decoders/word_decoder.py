"""What every decoder of words is made of, and what it does with whole sentences."""

import keras
from keras import ops

from zoo.models.layers.recurrent_cells import CELLS


class WordDecoder(keras.layers.Layer):
    """Embedding, stacked word LSTMs, logits of the next word; not yet in which order.

    A decoder built on it says what it makes of what is seen (`start`), how it writes one word
    (`step`), and how it reads a whole sentence of training (`call`) with the same weights.

    Args:
        vocabulary_size: Number of ids; id 0 starts and ends a sentence.
        num_layers: Recurrent layers.
        visual_layer: The one of them that sees what is described, from 0.
        unit: `"lstm"`, or `"rnn"` for the plain unit of the paper's ablation.
        embedding_dim: Width of a word's vector.
        lstm_units: Width of every recurrent layer.
        projection_dim: If given, features pass through a dense layer of this width with ReLU
            before they enter. The paper has none: None.
        dropout: Share dropped while training from the projected features, the words' vectors
            and every recurrent layer's output, in [0, 1).
        initializer: Initializer of every matrix. The authors': uniform in -0.08..0.08.
        forget_bias: First bias of an LSTM's forget gates. The authors': 0.
    """

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        visual_layer,
        unit,
        embedding_dim,
        lstm_units,
        projection_dim,
        dropout,
        initializer,
        forget_bias=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if vocabulary_size < 2:
            raise ValueError(
                "`vocabulary_size` counts the end of a sentence and the unknown word, so it is at "
                f"least 2. Received: {vocabulary_size}"
            )
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.lstm_units = lstm_units
        self.projection_dim = projection_dim
        self.dropout = dropout
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomUniform(-0.08, 0.08)
        )
        self.image_layer = visual_layer

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
            self.rnns.append(
                keras.layers.RNN(
                    cell, return_sequences=True, return_state=True, name=f"{unit}{n + 1}"
                )
            )
            self.input_shares.append(
                dense(
                    cell.gate_units,
                    f"{unit}{n + 1}_input",
                    bias_initializer=_first_bias(forget_bias) if forget_bias else "zeros",
                )
            )
        self.image_share = dense(
            self.rnns[0].cell.gate_units, f"{unit}{visual_layer + 1}_image", use_bias=False
        )
        self.drop_features = keras.layers.Dropout(dropout, name="drop_features")
        self.drop_words = keras.layers.Dropout(dropout, name="drop_words")
        self.drop_outputs = [
            keras.layers.Dropout(dropout, name=f"drop_{n + 1}") for n in range(num_layers)
        ]
        self.logits = dense(vocabulary_size, "logits")

    def _fresh_initializer(self):
        return self.initializer.clone()

    def _build_layers(self, features_shape, input_widths):
        """Builds all layers: features of this shape, and inputs of each recurrent layer."""
        self.standardize.build(features_shape)
        width = features_shape[-1]
        if self.projection is not None:
            self.projection.build((None, width))
            width = self.projection_dim
        self.image_share.build((None, width))
        self.embedding.build((None, None))
        for rnn, share, width in zip(self.rnns, self.input_shares, input_widths, strict=True):
            share.build((None, None, width))
            rnn.build((None, None, rnn.cell.gate_units))
        self.logits.build((None, None, self.lstm_units))

    def _visual_share(self, features, training=False):
        x = self.standardize(features, training=False)  # even where `trainable` was set for all
        if self.projection is not None:
            x = self.drop_features(self.projection(x), training=training)
        return self.image_share(x)

    def search(self, visual, sampler, max_words, constraints=None, uniforms=None):
        """Writes sentences; a pure function of tensors.

        Args:
            visual: What `start` takes, `batch` rows.
            sampler: One of `zoo.decoding`'s samplers.
            max_words: Longest sentence, its end included.
            constraints: `zoo.decoding.Constraints` or None.
            uniforms: float32 `(batch, num_samples, max_words)` in [0, 1), for `Sampling` only.

        Returns:
            `zoo.decoding.Decoded` of tensors.
        """
        batch_size = ops.shape(keras.tree.flatten(visual)[0])[0]
        state = self.start(visual)
        return sampler(self.step, state, batch_size, max_words, constraints, uniforms)

    def log_probs(self, visual, token_ids, end=True):
        """Log-probabilities of given sentences; a pure function of tensors.

        Args:
            visual: What `start` takes, `batch` rows.
            token_ids: int32 `(batch, words)`, padded with 0.
            end: Whether the sentence's end counts as a word.

        Returns:
            float32 `(batch,)` and, word by word, `(batch, words + 1)`, zero after the end.
        """
        nothing = ops.zeros_like(token_ids[:, :1])
        before = ops.concatenate([nothing, token_ids], axis=1)  # (batch, words + 1)
        after = ops.concatenate([token_ids, nothing], axis=1)
        log_probs = ops.log_softmax(self([visual, before]))
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


def _first_bias(forget_bias):
    def initialize(shape, dtype=None):
        input_gate, forget_gate, cell, output_gate = ops.split(ops.zeros(shape, dtype), 4)
        return ops.concatenate([input_gate, forget_gate + forget_bias, cell, output_gate])

    return initialize
