"""A captioner of the paper's size with random weights, the same for every framework."""

import numpy as np

VOCABULARY_SIZE, FEATURE_DIM, UNITS = 8801, 1000, 1000  # paper, COCO; fc8; authors' code
BATCH_SIZE, WORDS = 100, 20  # captions, words; authors' code


def draw_weights(vocabulary_size=VOCABULARY_SIZE, units=UNITS, feature_dim=FEATURE_DIM):
    """Draws all matrices: `(inputs, outputs)`, gates in the order i, f, g, o.

    Words differ clearly in probability, and the recurrent matrices are small enough that rounding
    errors die away: two frameworks have to write the same sentences.
    """
    rng = np.random.default_rng(1)

    def uniform(*shape, limit=0.08):
        return rng.uniform(-limit, limit, shape).astype("float32")

    weights = {
        "embedding": uniform(vocabulary_size, units, limit=1.0),
        "input1": uniform(units, 4 * units),
        "recurrent1": uniform(units, 4 * units, limit=0.03),
        "bias1": uniform(4 * units),
        "input2": uniform(units, 4 * units),
        "image": uniform(feature_dim, 4 * units),
        "recurrent2": uniform(units, 4 * units, limit=0.03),
        "bias2": uniform(4 * units),
        "logits": uniform(units, vocabulary_size, limit=0.4),
        "logits_bias": uniform(vocabulary_size),
    }
    # Unit 0 counts words, faster or slower by image: h = tanh(rate * words). It alone brings on
    # the end, after about ten words.
    gates = [0, units, 2 * units, 3 * units]  # of unit 0
    for name in ("input2", "recurrent2", "image"):
        weights[name][:, gates] = 0.0
    weights["image"][:, gates[2]] = rng.normal(size=feature_dim) * 0.02 / feature_dim**0.5
    weights["bias2"][gates] = 10.0, 10.0, 0.17, 10.0
    weights["logits"][0] = 0.0
    weights["logits"][0, 0], weights["logits_bias"][0] = 40.0, -28.0
    return weights


def draw_features(images, feature_dim=FEATURE_DIM):
    """float32 `(images, feature_dim)`."""
    return np.random.default_rng(2).normal(size=(images, feature_dim)).astype("float32")


def draw_captions(vocabulary_size=VOCABULARY_SIZE, captions=BATCH_SIZE, words=WORDS):
    """int32 `(captions, words)`, all of them words."""
    rng = np.random.default_rng(3)
    return rng.integers(2, vocabulary_size, (captions, words)).astype("int32")
