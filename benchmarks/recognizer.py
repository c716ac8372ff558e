"""Times a training step of the clip recogniser beside PyTorch: frozen CNN, and end to end.

    python benchmarks/recognizer.py [--json FILE]        # or: make bench

EfficientNet-Lite0 with its ImageNet weights on 2 clips of 16 frames of 224 x 224, an LSTM of 256
units, 101 classes; SGD with momentum. The CNN's batch statistics stand still, as in the recipe.
Checked are the losses of the first step.
"""

import argparse

import numpy as np
import random_recognizer as sizes
from harness import both, compare, finish, print_head, same_losses


def main(arguments=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    print_head()
    rows = []
    for frozen, title, goal in ((True, "frozen CNN", 1.1), (False, "end to end", 0.95)):
        rows.append(
            compare(
                f"training step, {title}",
                both("recognizer", "training_step", frozen=frozen),
                same_losses,
                goal,
            )
        )
    finish(rows, options.json)


def training_step(frozen):
    """Gets a training step ready, as the recipe trains."""
    import zoo
    from zoo import training
    from zoo.models.backbones import efficientnet_lite0
    from zoo.training.whole_batch import SGD, StepCrossEntropy

    encoder = efficientnet_lite0()
    encoder.trainable = not frozen
    training.freeze_batch_statistics(encoder)
    recognizer = zoo.lrcn_activity_recognizer(
        encoder, sizes.CLASSES, sizes.CLIP_LENGTH, sizes.UNITS, dropout=0.0
    )
    weights = sizes.draw_head()
    head = [weights[name] for name in ("kernel", "recurrent", "bias")]
    recognizer.get_layer("lstm").set_weights(head)
    recognizer.get_layer("logits").set_weights([weights["logits"], weights["logits_bias"]])
    optimizer = SGD(0.001, momentum=0.9)
    recognizer.compile(optimizer, StepCrossEntropy(), jit_compile=False)
    frames, labels = sizes.draw_clips()
    labels = np.repeat(labels[:, None], sizes.CLIP_LENGTH, 1)

    def step():
        recognizer.reset_metrics()
        return float(recognizer.train_on_batch(frames, labels))

    return step


if __name__ == "__main__":
    main()
