"""Times the captioner of the paper's size beside PyTorch: a training step, and a beam search.

    python benchmarks/captioner.py [--json FILE]        # or: make bench

LRCN-2f, 8801 words, 1000 units, random weights that both sides share. Training: 100 captions of
20 words, none of it padding, SGD with momentum and clipping; checked are the first step's loss.
Beam search: 5 beams, from features, up to 20 words, and both sides stop early; checked are the
words.
"""

import argparse

import numpy as np
import random_captioner as sizes
from harness import both, compare, finish, print_head, same_losses


def main(arguments=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    print_head()
    rows = [
        compare(
            f"training step, {sizes.BATCH_SIZE} captions of {sizes.WORDS} words",
            both("captioner", "training_step"),
            same_losses,
            goal=1.15,
        )
    ]
    for images in (1, 32):
        rows.append(
            compare(
                f"beam 5 from features, {images} images",
                both("captioner", "beam_search", images=images),
                same_words,
                goal=1.3,
                rounds=15,
            )
        )
    finish(rows, options.json)


def same_words(ours, peers):
    """Compares sentences."""
    if not np.array_equal(ours, peers):
        return f"{(ours != peers).any(1).sum()} of {len(ours)} sentences"
    return None


def build():
    """Our captioner with the shared weights."""
    import zoo

    captioner = zoo.lrcn_captioner(sizes.FEATURE_DIM, sizes.VOCABULARY_SIZE)
    decoder, weights = captioner.decoder, sizes.draw_weights()
    decoder.embedding.set_weights([weights["embedding"]])
    decoder.logits.set_weights([weights["logits"], weights["logits_bias"]])
    decoder.image_share.set_weights([weights["image"]])
    for n, (rnn, share) in enumerate(zip(decoder.rnns, decoder.input_shares, strict=True), 1):
        rnn.set_weights([weights[f"recurrent{n}"]])
        share.set_weights([weights[f"input{n}"], weights[f"bias{n}"]])
    return captioner


def training_step():
    """Gets a training step ready, as the recipe trains."""
    from zoo.training.whole_batch import SGD, StepCrossEntropy

    captioner, token_ids = build(), sizes.draw_captions()
    optimizer = SGD(0.01, momentum=0.9, global_clipnorm=10.0)
    captioner.compile(optimizer, StepCrossEntropy(), jit_compile=False)
    before = np.pad(token_ids[:, :-1], ((0, 0), (1, 0)))
    inputs = {"features": sizes.draw_features(len(token_ids)), "token_ids": before}

    def step():
        captioner.reset_metrics()
        return float(captioner.train_on_batch(inputs, token_ids))

    return step


def beam_search(images):
    """Gets a beam search ready."""
    captioner, features = build(), sizes.draw_features(images)
    return lambda: captioner.generate(features, "beam").token_ids[:, 0]


if __name__ == "__main__":
    main()
