"""The encoder-decoder: two LSTMs read what is seen, step by step, and then write words."""

import keras
from keras import ops

from zoo.models.decoders.word_decoder import WordDecoder
from zoo.models.layers.sequence_mask import frames_there

# Into which of the two LSTMs the words go: the paper's unfactored stack takes them where it takes
# what is seen; S2VT's reads frames below and words above.
WORDS_ENTER = {"first": 0, "second": 1}


@keras.saving.register_keras_serializable(package="zoo")
class SequenceDecoder(WordDecoder):
    """Reads vectors in their order, then writes words, with one and the same two LSTMs.

    While it reads, the words' input is zeros; while it writes, the vectors' input is. What was
    read is in the state alone.

    Args:
        vocabulary_size: Number of ids; id 0 starts and ends a sentence.
        words_enter: `"first"`: vectors and words enter the first LSTM, as in the paper's
            encoder-decoder on labels. `"second"`: vectors enter the first LSTM, words the second,
            beside the first one's output and a flag that is 1 while it writes, as in S2VT.
        embedding_dim, lstm_units, projection_dim, dropout, initializer: As for `CaptionDecoder`.
        forget_bias: First bias of the forget gates. 1, Keras's own, lets what was seen first
            reach the last words from the start of training; the authors' is 0.

    Call arguments:
        inputs: `[[sequence, num_steps], token_ids]`: float `(batch, time, features)`; int32
            `(batch,)`, how many of its vectors count; and int32 `(batch, words)`, the words
            *before* each position: 0 first. Or int32 `(batch, captions, words)`: several captions
            of a video, which is then read once for all of them.

    Returns:
        Logits of the next word, float32 `(batch, words, vocabulary_size)` or `(batch, captions,
        words, vocabulary_size)`.

    Source:
        Donahue et al., 2015, section 6 (CVPR version, figure 5).
        https://arxiv.org/abs/1411.4389. S2VT: Venugopalan et al., 2015.
        https://arxiv.org/abs/1505.00487
    """

    def __init__(
        self,
        vocabulary_size,
        words_enter="second",
        embedding_dim=1000,
        lstm_units=1000,
        projection_dim=None,
        dropout=0.0,
        initializer=None,
        forget_bias=1.0,
        **kwargs,
    ):
        if words_enter not in WORDS_ENTER:
            raise ValueError(
                f"`words_enter` is one of {list(WORDS_ENTER)}. Received: {words_enter!r}"
            )
        super().__init__(
            vocabulary_size,
            2,  # recurrent layers
            0,  # the one that sees the vectors
            "lstm",
            embedding_dim,
            lstm_units,
            projection_dim,
            dropout,
            initializer,
            forget_bias,
            **kwargs,
        )
        self.forget_bias = forget_bias
        self.words_enter = words_enter
        self.word_layer = WORDS_ENTER[words_enter]

    def build(self, input_shape):
        (sequence_shape, _), _ = input_shape
        first = self.embedding_dim if self.word_layer == 0 else 1
        second = self.lstm_units
        if self.word_layer == 1:
            second += self.embedding_dim + 1  # and the flag
        self._build_layers(sequence_shape, [first, second])

    def call(self, inputs, training=False):
        visual, token_ids = inputs
        states = self._read(visual, training)
        shape = ops.shape(token_ids)
        if len(shape) == 3:
            states = [[ops.repeat(s, shape[1], axis=0) for s in pair] for pair in states]
            token_ids = ops.reshape(token_ids, (-1, shape[2]))
        words = self.drop_words(self.embedding(token_ids), training=training)
        x = None
        for n, rnn in enumerate(self.rnns):
            gates = self.input_shares[n](self._input(n, x, words, flag=1.0))
            x, *_ = rnn(gates, initial_state=states[n], training=training)
            x = self.drop_outputs[n](x, training=training)
        logits = ops.cast(self.logits(x), "float32")
        return ops.reshape(logits, (-1, *shape[1:], self.vocabulary_size))

    def start(self, visual):
        """Reads the vectors, once for all words.

        Args:
            visual: `[sequence, num_steps]`, float `(batch, time, features)` and int32 `(batch,)`.

        Returns:
            The state before the first word: a flat list of tensors, `batch` rows each.
        """
        return [tensor for state in self._read(visual) for tensor in state]

    def step(self, token_ids, state):
        """Reads one word.

        Args:
            token_ids: int32 `(rows,)`, the last word of each row; 0 at first.
            state: From `start`, or the last `step`.

        Returns:
            Logits of the next word, float32 `(rows, vocabulary_size)`, and the new state.
        """
        words = self.embedding(token_ids)
        x, new_state = None, []
        for n, rnn in enumerate(self.rnns):
            gates = self.input_shares[n](self._input(n, x, words, flag=1.0))
            x, new = rnn.cell(gates, state[2 * n : 2 * n + 2])
            new_state += new
        return ops.cast(self.logits(x), "float32"), new_state

    def _read(self, visual, training=False):
        """The states of both LSTMs behind the last vector that counts, a list of lists."""
        sequence, num_steps = visual
        share = self._visual_share(sequence, training)  # (batch, time, gate_units)
        mask = frames_there(sequence, num_steps)
        nothing = ops.zeros((*ops.shape(share)[:2], self.embedding_dim), share.dtype)
        x, states = None, []
        for n, rnn in enumerate(self.rnns):
            gates = self.input_shares[n](self._input(n, x, nothing, flag=0.0))
            if n == 0:
                gates = gates + share
            x, *state = rnn(gates, mask=mask, training=training)
            x = self.drop_outputs[n](x, training=training)
            states.append(state)
        return states

    def _input(self, layer, below, words, flag):
        """What enters a layer: the output of the layer below, and the words where they belong."""
        parts = [] if below is None else [below]
        one = ops.ones_like(words[..., :1])
        if layer == self.word_layer:
            parts.append(words)
            if layer == 1:
                parts.append(flag * one)
        # S2VT's first LSTM has nothing but the vectors: a constant carries its bias.
        return ops.concatenate(parts or [0.0 * one], axis=-1)

    def get_config(self):
        own = {"words_enter": self.words_enter, "forget_bias": self.forget_bias}
        return {**super().get_config(), **own}
