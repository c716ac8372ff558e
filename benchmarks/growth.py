"""How cost grows: with words, frames, beams, images to search, and workers; and start-up times.

    python benchmarks/growth.py [--table NAME ...] [--json FILE]        # or: make bench

Each figure is the median of `ROUNDS`; what runs as a command is timed as a whole process.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import random_captioner as sizes
from harness import finish

ROUNDS = 5
LRCN = pathlib.Path(sys.executable).with_name("lrcn")
CAPTIONER = "lrcn_captioner_efficientnet_lite0_flickr8k"
RECOGNIZER = "lrcn_activity_efficientnet_lite0_fights"
VOCABULARIES = (2000, 8801, 20_000, 50_000)
BEAMS = (1, 2, 5, 10, 20)
FRAMES = (100, 1000, 5000)
IMAGES = (100, 1000, 10_000)
START_UP = (  # arguments of `lrcn`
    ["--help"],
    ["presets"],
    ["caption", "PHOTOGRAPH"],
    ["classify", "VIDEO"],
)


def main(arguments=None):
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--worker", metavar="CONFIG", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    if options.worker:
        return train_as_worker()
    figures = {}
    for name in options.table:
        title, head, rows = TABLES[name]
        print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
        figures[name] = []
        for row in rows():
            figures[name].append(row)
            print(f"| {' | '.join(map(str, row))} |", flush=True)
    finish(figures, options.json)


def words():
    """A row for each size of the vocabulary: the paper's captioner, from features."""
    import zoo
    from zoo.training.whole_batch import SGD, StepCrossEntropy

    for size in VOCABULARIES:
        captioner = zoo.lrcn_captioner(sizes.FEATURE_DIM, size)
        token_ids, features = sizes.draw_captions(size), sizes.draw_features(sizes.BATCH_SIZE)
        optimizer = SGD(0.01, momentum=0.9, global_clipnorm=10.0)
        captioner.compile(optimizer, StepCrossEntropy(), jit_compile=False)
        before = np.pad(token_ids[:, :-1], ((0, 0), (1, 0)))
        inputs = {"features": features, "token_ids": before}
        step = median(lambda c=captioner, i=inputs, t=token_ids: c.train_on_batch(i, t))
        one = median(lambda c=captioner, f=features: c.generate(f[:1], "beam"))
        million = captioner.count_params() / 1e6
        yield f"{size:,}", f"{million:.1f}", f"{step:.2f}", f"{1000 * one:.0f}"


def beams():
    """A row for each width of the beam: the shipped captioner, from features."""
    from zoo.decoding import BeamSearch
    from zoo.presets import from_preset

    captioner = from_preset(CAPTIONER)
    features = captioner.prior_features[:32]
    for beam_size in BEAMS:
        one, many = (
            median(lambda f=f, b=beam_size: captioner.generate(f, BeamSearch(b)))
            for f in (features[:1], features)
        )
        yield beam_size, f"{1000 * one:.0f}", f"{1000 * many / len(features):.1f}"


def frames():
    """A row for each length of a video: `lrcn classify`."""
    with tempfile.TemporaryDirectory() as folder:
        for count in FRAMES:
            path = make_video(folder, count)
            seconds, peak = run(["classify", "--model", RECOGNIZER, path])
            yield f"{count:,}", f"{seconds:.1f}", f"{peak:.0f}"


def images():
    """A row for each number of photographs: ranking them for one sentence, features given."""
    from zoo.models.pair_scores import score_pairs
    from zoo.presets import from_preset

    captioner = from_preset(CAPTIONER)
    rng = np.random.default_rng(1)
    for count in IMAGES:
        features = rng.permuted(np.resize(captioner.prior_features, (count, 1280)), axis=0)
        seconds = median(lambda f=features: score_pairs(captioner, f, ["a dog runs in the snow"]))
        yield f"{count:,}", f"{1000 * seconds:.0f}"


def workers():
    """A row for 1 and 2 worker processes of one thread each, on the same global batch."""
    for count in (1, 2):
        ports = [free_port() for _ in range(count)]
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        started = []
        for index in range(count):
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            one_thread = {
                "TF_CONFIG": json.dumps(config),
                "OMP_NUM_THREADS": "1",
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
            }
            command = [sys.executable, __file__, "--worker", "yes"]
            environment = {**os.environ, **one_thread}
            started.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            )
        said = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            raise SystemExit("a worker failed: see above")
        seconds = float(said[0].split()[-1])
        yield count, f"{seconds:.2f}", f"{64 / seconds:.0f}"


def train_as_worker():
    """Trains the shipped captioner's size on features; the chief prints the seconds of a step."""
    from zoo import training

    strategy = training.distribution("multiworker")
    import keras

    import zoo
    from zoo.data.batches.captions import feature_batches
    from zoo.training.whole_batch import Adam, StepCrossEntropy
    from zoo.training.workers import distribute, is_chief, mend_fit

    class Clock(keras.callbacks.Callback):
        """Notes when each batch ends."""

        times = []

        def on_train_batch_end(self, batch, logs=None):
            self.times.append(time.perf_counter())

    with strategy.scope():
        captioner = zoo.lrcn_captioner(
            1280, 2548, embedding_dim=256, lstm_units=512, projection_dim=512
        )
        captioner.compile(Adam(1e-3, global_clipnorm=5.0), StepCrossEntropy(), jit_compile=False)
    mend_fit(captioner)
    features = np.zeros((64, 1, 1280), "float32") + sizes.draw_features(64, 1280)[:, None]
    token_ids = sizes.draw_captions(2548, 64 * 20, 12)

    def batches(epoch, first_batch, **share):
        where = np.arange(len(token_ids)) % 64
        return feature_batches(features, where, token_ids, 64, 1, epoch, first_batch, **share)

    data, steps = distribute(strategy, batches, 0, 0)
    captioner.fit(data, steps_per_epoch=steps, shuffle=False, callbacks=[Clock()], verbose=0)
    if is_chief(strategy):
        print(statistics.median(np.diff(Clock.times[3:])))


def start_up():
    """A row for each command: from Return to the prompt."""
    ask = "from zoo.data.images.sample_pictures import sample_pictures; print(sample_pictures()[0])"
    photograph = subprocess.check_output([sys.executable, "-c", ask], text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(folder, 50)
        given = {"PHOTOGRAPH": photograph, "VIDEO": video}
        for arguments in START_UP:
            command = [given.get(argument, argument) for argument in arguments]
            rounds = [run(command) for _ in range(ROUNDS)]
            seconds, peak = (statistics.median(column) for column in zip(*rounds, strict=True))
            yield f"`lrcn {' '.join(arguments)}`", f"{seconds:.2f}", f"{peak:.0f}"


def run(arguments):
    """Runs `lrcn`; its seconds, and the most memory that it had, in MB."""
    start = time.perf_counter()
    command = [str(LRCN), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def median(turn):
    """Median of the seconds of `ROUNDS` turns after the first."""
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        turn()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def make_video(folder, count):
    """Writes a video of so many frames."""
    import cv2

    path = os.path.join(folder, f"{count}.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
    rng = np.random.default_rng(count)
    picture = cv2.resize(rng.integers(0, 256, (20, 30, 3)).astype("uint8"), (960, 720))
    for n in range(count):
        x, y = n * 3 % 640, n * 2 % 480
        writer.write(picture[y : y + 240, x : x + 320])
    writer.release()
    return path


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


TABLES = {  # name -> title, columns, rows
    # What is a command comes first: a process counts the memory of the one that started it.
    "start_up": ("Start-up of commands", ("command", "seconds", "peak MB"), start_up),
    "frames": (
        "Frames in a video (`lrcn classify`, 320 x 240)",
        ("frames", "seconds", "peak MB"),
        frames,
    ),
    "workers": (
        "Worker processes on one machine, a thread each (64 captions a step, shipped size)",
        ("workers", "step, s", "captions/s"),
        workers,
    ),
    "words": (
        "Words in the vocabulary (LRCN-2f of 1000 units; 100 captions of 20 words a step)",
        ("words", "million weights", "training step, s", "beam 5, one image, ms"),
        words,
    ),
    "beams": (
        "Width of the beam (the shipped captioner, from features)",
        ("beam", "one image, ms", "in a batch of 32, ms an image"),
        beams,
    ),
    "images": (
        "Photographs to rank for a sentence (features given)",
        ("photographs", "ms"),
        images,
    ),
}


if __name__ == "__main__":
    main()
