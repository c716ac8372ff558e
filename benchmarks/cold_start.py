"""Times the first training step from a cold process: import, build, trace, one step.

    python benchmarks/cold_start.py [--json FILE]        # or: make bench

The clip recogniser end to end, EfficientNet-Lite0 on 2 clips of 16 frames of 224 x 224: with
`zoo.models.layers.every_frame.EveryFrame`, which folds time into the batch, with
`keras.layers.TimeDistributed` in its place, and in PyTorch. Exit code 1 if ours takes more than
`LONGEST` seconds.
"""

import argparse
import pathlib
import subprocess
import sys
import time

from harness import finish

LONGEST = 20.0  # seconds
ROUNDS = 3
SIDES = ("EveryFrame", "TimeDistributed", "PyTorch")


def main(arguments=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", choices=SIDES, help="only take one step, in this process")
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    if options.side:
        return take_step(options.side)
    figures = {side: [] for side in SIDES}
    print("\n| | first training step, s: median (and range) | later steps, s |")
    print("|---|---|---|")
    for _ in range(ROUNDS):
        for side in SIDES:
            start = time.perf_counter()
            command = [sys.executable, __file__, "--side", side]
            run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            run.stdout.readline()
            first = time.perf_counter() - start
            later = float(run.stdout.readline())
            if run.wait():
                raise SystemExit(f"{side} failed: see above.")
            figures[side].append((first, later))
    for side, rounds in figures.items():
        first, later = (sorted(column) for column in zip(*rounds, strict=True))
        middle = len(first) // 2
        print(
            f"| {side} | {first[middle]:.1f} ({first[0]:.1f} to {first[-1]:.1f}) | "
            f"{later[middle]:.2f} |"
        )
    finish(figures, options.json)
    slowest = sorted(first for first, _ in figures[SIDES[0]])[ROUNDS // 2]
    sys.exit(f"{slowest:.1f} s, expected {LONGEST}" if slowest > LONGEST else 0)


def take_step(side):
    """Says when the first step is done, and how long the third one took."""
    sys.path.append(str(pathlib.Path(__file__).parent / "peers"))
    if side == "PyTorch":
        from torch_recognizer import training_step

        step = training_step(frozen=False)
    else:
        import keras

        from zoo.models import activity_recognizer

        if side == "TimeDistributed":
            activity_recognizer.EveryFrame = keras.layers.TimeDistributed
        from recognizer import training_step

        step = training_step(frozen=False)
    step()
    print("first", flush=True)
    step()
    start = time.perf_counter()
    step()
    print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
