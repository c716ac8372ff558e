"""The word LSTMs, as layers: a whole sentence at once, or one word at a time."""

import keras
from keras import ops

from zoo.models.decoders.word_decoder import WordDecoder
from zoo.models.layers.recurrent_cells import CELLS

# How many recurrent layers a variant stacks, and which of them sees the image (paper, figure 4;
# 4f: CVPR version, section 4.2).
VARIANTS = {"1u": (1, 0), "2u": (2, 0), "2f": (2, 1), "4f": (4, 1)}


@keras.saving.register_keras_serializable(package="zoo")
class CaptionDecoder(WordDecoder):
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
        if variant not in VARIANTS or unit not in CELLS:
            raise ValueError(
                f"`variant` is one of {list(VARIANTS)} and `unit` one of {list(CELLS)}. "
                f"Received: variant={variant!r}, unit={unit!r}"
            )
        num_layers, image_layer = VARIANTS[variant]
        super().__init__(
            vocabulary_size,
            num_layers,
            image_layer,
            unit,
            embedding_dim,
            lstm_units,
            projection_dim,
            dropout,
            initializer,
            **kwargs,
        )
        self.variant = variant
        self.unit = unit

    def build(self, input_shape):
        above = [self.lstm_units] * (len(self.rnns) - 1)
        self._build_layers(input_shape[0], [self.embedding_dim, *above])

    def call(self, inputs, training=False):
        features, token_ids = inputs
        image_share = self._visual_share(features, training)
        shape = ops.shape(token_ids)
        if len(shape) == 3:
            image_share = ops.repeat(image_share, shape[1], axis=0)
            token_ids = ops.reshape(token_ids, (-1, shape[2]))
        x = self.drop_words(self.embedding(token_ids), training=training)
        for n, rnn in enumerate(self.rnns):
            gates = self.input_shares[n](x)  # (batch, words, gate_units)
            if n == self.image_layer:
                gates = gates + image_share[:, None]
            x, *_ = rnn(gates, training=training)
            x = self.drop_outputs[n](x, training=training)
        logits = ops.cast(self.logits(x), "float32")
        return ops.reshape(logits, (-1, *shape[1:], self.vocabulary_size))

    def start(self, features):
        """Reads the image, once for all words.

        Args:
            features: float `(batch, features)`.

        Returns:
            The state before the first word: a flat list of tensors, `batch` rows each.
        """
        state = [self._visual_share(features)]
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

    def get_config(self):
        return {**super().get_config(), "variant": self.variant, "unit": self.unit}
