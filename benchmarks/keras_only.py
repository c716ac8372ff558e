"""Times training and captioning with Keras and one backend alone, for a machine with a GPU.

    KERAS_BACKEND=jax python benchmarks/keras_only.py        # or torch, or tensorflow

It needs neither TensorFlow nor data: `pip install keras jax` (or torch), and this repository.
Sizes are the paper's: LRCN-2f with 8801 words and 1000 units, 100 captions of 20 words; beam 5;
the recogniser with `--encoder` on clips of 16 frames of 224 x 224, random weights. Each line is
the median of `ROUNDS` calls after the first, whose time (with what it compiles) stands beside it.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parents[1]))

import keras
import numpy as np
import random_captioner as words
import random_recognizer as clips

from zoo import lrcn_activity_recognizer, lrcn_captioner
from zoo.models.backbones import caffenet, efficientnet_lite0, vgg16

ROUNDS = 10
ENCODERS = {"caffenet": caffenet, "efficientnet_lite0": efficientnet_lite0, "vgg16": vgg16}


def main(arguments=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", choices=ENCODERS, default="efficientnet_lite0")
    parser.add_argument("--clips", type=int, default=clips.CLIPS, help="clips a batch")
    parser.add_argument("--precision", default="float32", help="or mixed_bfloat16")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    keras.config.set_dtype_policy(options.precision)
    tasks = {
        "captioner, training step, captions/s": (words.BATCH_SIZE, captioner_step),
        "captioner, beam 5, 1 image, images/s": (1, lambda: beam_search(1)),
        "captioner, beam 5, 32 images, images/s": (32, lambda: beam_search(32)),
    }
    frames = options.clips * clips.CLIP_LENGTH
    for name, frozen in (("frozen CNN", True), ("end to end", False)):
        task = recognizer_step(options, frozen)
        tasks[f"recogniser, {name}, training step, frames/s"] = frames, task
    print("| | per second | ms | first call, s |")
    print("|---|---|---|---|")
    figures = {}
    for name, (count, prepare) in tasks.items():
        turn, seconds = prepare(), []
        for _ in range(options.rounds + 1):
            start = time.perf_counter()
            turn()
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds[1:])
        figures[name] = {"seconds": seconds, "per_second": count / median}
        print(f"| {name} | {count / median:.1f} | {1000 * median:.1f} | {seconds[0]:.1f} |")
    line = f"{device()}, {options.precision}, {options.encoder}, {options.clips} clips a batch, "
    line += f"Python {platform.python_version()}, Keras {keras.__version__}"
    print(f"\n{line}")
    if options.json:
        text = json.dumps({"machine": line, "figures": figures}, indent=1)
        pathlib.Path(options.json).write_text(text, encoding="utf-8")


def captioner_step():
    """A training step of the captioner from features."""
    token_ids = words.draw_captions()
    inputs = {
        "features": words.draw_features(len(token_ids)),
        "token_ids": np.pad(token_ids[:, :-1], ((0, 0), (1, 0))),
    }
    captioner = lrcn_captioner(words.FEATURE_DIM, words.VOCABULARY_SIZE)
    return training_step(captioner, inputs, token_ids)


def beam_search(images):
    """Sentences for features."""
    captioner = lrcn_captioner(words.FEATURE_DIM, words.VOCABULARY_SIZE)
    features = words.draw_features(images)
    return lambda: captioner.generate(features, "beam")


def recognizer_step(options, frozen):
    """What gets a training step of the recogniser ready."""

    def prepare():
        encoder = ENCODERS[options.encoder](weights=None)
        encoder.trainable = not frozen
        recognizer = lrcn_activity_recognizer(encoder, clips.CLASSES, clips.CLIP_LENGTH)
        size = encoder.input_shape[1]
        rng = np.random.default_rng(1)
        shape = (options.clips, clips.CLIP_LENGTH, size, size, 3)
        labels = np.repeat(rng.integers(0, clips.CLASSES, (options.clips, 1)), shape[1], 1)
        frames = rng.integers(0, 256, shape).astype("float32")
        return training_step(recognizer, frames, labels)

    return prepare


def training_step(model, inputs, targets):
    """SGD with momentum and clipping."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=10.0)
    on_cpu = keras.backend.backend() == "tensorflow" and "GPU" not in device()
    model.compile(optimizer, loss, jit_compile=False if on_cpu else "auto")
    return lambda: float(model.train_on_batch(inputs, targets))


def device():
    """The device's name, as the backend says it."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return f"{jax.devices()[0].device_kind} (JAX {jax.__version__}), {os.cpu_count()} cores"
    if backend == "torch":
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return f"{name} (PyTorch {torch.__version__}), {os.cpu_count()} cores"
    import tensorflow as tf

    names = [device.name for device in tf.config.list_physical_devices("GPU")] or ["CPU"]
    return f"{names[0]} (TensorFlow {tf.__version__}), {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
