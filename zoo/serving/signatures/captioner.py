"""What an exported captioner answers: from raw image bytes to sentences, in core TensorFlow ops.

A server merges requests of many clients into one batch, so every function here keeps its rows
apart: a bad image spoils its own row only.
"""

import types

import tensorflow as tf

from zoo.data.images.decode import OK, resize_image
from zoo.decoding import EOS, Decoded, whole_beam
from zoo.decoding.sampling import invert, write
from zoo.models.confidence import caption_quantities
from zoo.models.generation import MAX_WORDS
from zoo.serving.signatures.pictures import STATUS, a_picture, encode_pictures
from zoo.serving.signatures.sentences import best_sentences, sampler_of, sentences, spoken
from zoo.text.tokenization import tokenize_in_graph
from zoo.text.vocabulary import UNKNOWN


class CaptionerSignatures(tf.Module):
    """The functions of an exported captioner, and the weights that they use.

    Args:
        captioner: `zoo.LRCNCaptioner` with a vocabulary; its `metadata` may say how wide the
            beam is and how long sentences are preferred, see `zoo.decoding.BeamSearch`. If it has
            a `confidence`, captions are answered with theirs.

    Raises:
        ValueError: If the model has no vocabulary or no image encoder.
    """

    served_as = "lrcn_captioner"  # what clients ask for, unless it is given another name

    def __init__(self, captioner):
        super().__init__()
        if captioner.vocabulary is None or captioner.image_encoder is None:
            raise ValueError(
                "An export turns image bytes into words: it needs a model with an image encoder "
                "and a vocabulary, such as `zoo.from_preset` gives."
            )
        # In a namespace, where TensorFlow does not look: of Keras's layers it would save copies.
        self.parts = types.SimpleNamespace(
            encoder=captioner.image_encoder,
            decoder=captioner.decoder,
            vocabulary=captioner.vocabulary,
            constraints=captioner.constraints,
            confidence=captioner.confidence,
        )
        # What it finds from here: the variables that the functions use.
        self.weights = [variable.value for variable in captioner.variables]
        self.size = captioner.image_encoder.input_shape[1]
        self.feature_dim = captioner.feature_dim
        self.sampler = sampler_of(captioner)
        words = captioner.vocabulary.words
        self.words = spoken(words)
        self.word_ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(words), tf.range(len(words))), UNKNOWN
        )

    def signatures(self):
        """Dict from a signature's name to a concrete function; batch first everywhere."""
        image = tf.TensorSpec([None], tf.string, name="image_bytes")
        sentence = tf.TensorSpec([None], tf.string, name="sentence")
        features = tf.TensorSpec([None, self.feature_dim], tf.float32, name="features")
        seed = tf.TensorSpec([None], tf.int64, name="seed")
        temperature = tf.TensorSpec([None], tf.float32, name="temperature")
        top_p = tf.TensorSpec([None], tf.float32, name="top_p")
        wanted = {
            "serving_default": (self.caption, [image]),
            "sample": (self.sample, [image, seed, temperature, top_p]),
            "score": (self.score, [image, sentence]),
            "features": (self.encode, [image]),
            "score_features": (self.score_features, [features, sentence]),
        }
        return {
            name: tf.function(function, input_signature=specs, autograph=False)
            for name, (function, specs) in wanted.items()
        }

    def save_assets(self, folder):
        """Writes the vocabulary."""
        self.parts.vocabulary.save(folder / "vocabulary.txt")

    def warm_up(self, rows):
        """Dict from an input's name to an array of so many rows, for requests that warm up."""
        return {
            "image_bytes": tf.fill([rows], a_picture()),
            # Words that every vocabulary may lack: what counts is that the graph runs once.
            "sentence": tf.fill([rows], "a photograph"),
            "features": tf.zeros((rows, self.feature_dim)),
            "seed": tf.zeros(rows, tf.int64),
            "temperature": tf.ones(rows),
            "top_p": tf.ones(rows),
        }

    def caption(self, image_bytes):
        """`image_bytes` string `(B,)` to the best sentences, best first."""
        features, status = self._look(image_bytes)
        # A confidence depends on the whole beam, of which the first sentences are answered.
        n_best = self.sampler.n_best
        sampler = self.sampler if self.parts.confidence is None else whole_beam(self.sampler)
        beam = self.parts.decoder.search(features, sampler, MAX_WORDS, self.parts.constraints)
        good = status == OK
        return {
            **best_sentences(self.words, Decoded(*(tensor[:, :n_best] for tensor in beam)), good),
            **self._confidences(features, beam, n_best, good),
            "status": tf.gather(STATUS, status),
        }

    def sample(self, image_bytes, seed, temperature, top_p):
        """Draws one sentence a row, by the row's own seed and settings."""
        features, status = self._look(image_bytes)
        # One draw a row: what a row gets does not depend on its neighbours.
        uniforms = tf.map_fn(
            lambda s: tf.random.stateless_uniform([MAX_WORDS], tf.stack([s, 0])),
            seed,
            fn_output_signature=tf.TensorSpec([MAX_WORDS], tf.float32),
        )
        temperature = tf.clip_by_value(temperature, 1e-3, 1e3)[:, None]
        top_p = tf.clip_by_value(top_p, 1e-6, 1.0)[:, None]

        def choose(logits, position):
            return invert(logits, tf.gather(uniforms, position, axis=1), temperature, top_p=top_p)

        rows, state = tf.shape(image_bytes)[0], self.parts.decoder.start(features)
        decoded = write(
            self.parts.decoder.step, state, rows, MAX_WORDS, self.parts.constraints, choose
        )
        good = status == OK
        return {
            "caption": tf.where(good, sentences(self.words, decoded.token_ids), ""),
            "log_prob": tf.where(good, decoded.log_probs, 0.0),
            "status": tf.gather(STATUS, status),
        }

    def score(self, image_bytes, sentence):
        """Log-probability of a sentence, its end included, for each image."""
        features, status = self._look(image_bytes)
        log_prob = self.score_features(features, sentence)["log_prob"]
        return {
            "log_prob": tf.where(status == OK, log_prob, 0.0),
            "status": tf.gather(STATUS, status),
        }

    def encode(self, image_bytes):
        """Features of each image, zeros for a bad one."""
        features, status = self._look(image_bytes)
        return {"features": features, "status": tf.gather(STATUS, status)}

    def score_features(self, features, sentence):
        """Log-probability of a sentence, its end included, for each row of features."""
        token_ids = self.word_ids.lookup(tokenize_in_graph(sentence)).to_tensor(EOS)
        # At least one column: an empty sentence is its end alone.
        token_ids = tf.pad(token_ids, [[0, 0], [0, 1]])
        return {"log_prob": self.parts.decoder.log_probs(features, token_ids)[0]}

    def _confidences(self, features, beam, n_best, good):
        """Outputs that say how probable it is that each sentence is right; {} if not fitted.

        Args:
            features: float32 `(B, F)`.
            beam: `Decoded`, all sentences of the search.
            n_best: Number of sentences that are answered, n.
            good: bool `(B,)`, False for a row that could not be read.

        Returns:
            Dict of `confidence`, float32 `(B,)`, of the first sentence; `confidences`, float32
            `(B, n)`; and `unsure`, bool `(B, n)`, whether that is below the preset's threshold.
        """
        fitted = self.parts.confidence
        if fitted is None:
            return {}
        quantities = caption_quantities(self.parts.decoder, features, beam, n_best)
        confidences = tf.where(good[:, None], fitted(quantities), 0.0)
        unsure = tf.logical_and(good[:, None], confidences < fitted.threshold)
        return {"confidence": confidences[:, 0], "confidences": confidences, "unsure": unsure}

    def _look(self, image_bytes):
        """Features `(B, F)` and status int32 `(B,)`; zeros where there is no image."""
        return encode_pictures(
            self.parts.encoder, image_bytes, lambda image: resize_image(image, self.size)
        )
