"""Clips and the weights of a recogniser's head, the same for every framework."""

import numpy as np

CLIPS, CLIP_LENGTH, SIZE = 2, 16, 224  # clips a batch; frames; pixels
FEATURE_DIM, UNITS, CLASSES = 1280, 256, 101  # of EfficientNet-Lite0; paper, section 4; UCF101


def draw_head():
    """Draws the matrices of LSTM and classifier: `(inputs, outputs)`, gates i, f, g, o."""
    rng = np.random.default_rng(1)
    shapes = {
        "kernel": (FEATURE_DIM, 4 * UNITS),
        "recurrent": (UNITS, 4 * UNITS),
        "bias": (4 * UNITS,),
        "logits": (UNITS, CLASSES),
        "logits_bias": (CLASSES,),
    }
    return {name: rng.uniform(-0.05, 0.05, s).astype("float32") for name, s in shapes.items()}


def draw_clips():
    """float32 RGB in 0..255 `(CLIPS, CLIP_LENGTH, SIZE, SIZE, 3)`, and int32 `(CLIPS,)`."""
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (CLIPS, CLIP_LENGTH, SIZE, SIZE, 3)).astype("float32")
    return frames, rng.integers(0, CLASSES, CLIPS).astype("int32")
