"""What an exported captioner answers for retrieval: features of images, scores of sentences."""

import math

import tensorflow as tf

from zoo.serving.signatures.captioner import CaptionerSignatures
from zoo.text.tokenization import HAS_WORD, tokenize_in_graph
from zoo.text.vocabulary import UNKNOWN


class RetrievalSignatures(CaptionerSignatures):
    """The functions of a captioner that ranks, and the weights that they use.

    Args:
        captioner: `zoo.LRCNCaptioner` with a vocabulary and `prior_features`.

    Raises:
        ValueError: If the model has no vocabulary, image encoder or `prior_features`.
    """

    served_as = "lrcn_retrieval"

    def __init__(self, captioner):
        super().__init__(captioner)
        if captioner.prior_features is None:
            raise ValueError(
                "Retrieval corrects scores by what sentences are common: it needs a model with "
                "`prior_features`, such as recipes/image_captioning.py leaves."
            )
        self.prior_features = tf.constant(captioner.prior_features)

    def signatures(self):
        """Dict from a signature's name to a function; batch first everywhere."""
        specs = [tf.TensorSpec([None], tf.string, name="sentence")]
        prior = tf.function(self.prior, input_signature=specs, autograph=False)
        ours = super().signatures()
        return {
            "serving_default": ours["score_features"],
            "features": ours["features"],
            "score_features": ours["score_features"],
            "prior": prior,
        }

    def prior(self, sentence):
        """What is known of each sentence `(B,)` without an image.

        `log_prior` float32 `(B,)` is the log of its mean probability over the preset's images,
        `num_known_words` int32 `(B,)` counts its words in the vocabulary, and `unknown_words`
        string `(B,)` holds the others, separated by spaces. Punctuation is neither.
        """
        images = tf.shape(self.prior_features)[0]

        def score(one):  # a sentence at a time: all at once would be gigabytes of logits
            log_prob = self.score_features(self.prior_features, tf.repeat(one, images))["log_prob"]
            return tf.reduce_logsumexp(log_prob) - math.log(self.prior_features.shape[0])

        tokens = tokenize_in_graph(sentence)  # (B, words), ragged
        words = tf.ragged.boolean_mask(tokens, tf.strings.regex_full_match(tokens, HAS_WORD))
        is_unknown = tf.equal(self.word_ids.lookup(words), UNKNOWN)
        unknown_words = tf.ragged.boolean_mask(words, is_unknown)
        return {
            "log_prior": tf.map_fn(score, sentence, fn_output_signature=tf.float32),
            "num_known_words": tf.reduce_sum(tf.cast(~is_unknown, tf.int32), axis=1),
            "unknown_words": tf.strings.reduce_join(unknown_words, axis=1, separator=" "),
        }
