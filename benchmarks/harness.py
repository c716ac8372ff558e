"""What the benchmarks share: two sides that take turns, each in a process of its own.

A side is a function of a module here or in `peers/`, named `"module:function"`. Called with the
benchmark's settings it gets ready, and returns a function without arguments: one turn. What the
first turn returns says whether both sides compute the same thing; the turns after it are timed.
"""

import importlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import resource
import statistics
import sys
import time

HERE = pathlib.Path(__file__).parent
OURS, PEER = "ours", "PyTorch"
LOSS_TOLERANCE = 1e-4  # relative
PIXEL_TOLERANCE = 1.0  # levels of 255, on average: decoders and resizing round differently
PACKAGES = ("tensorflow", "keras", "torch", "numpy")


class Side:
    """A side in its process.

    Args:
        function: `"module:function"`.
        settings: Dict of its arguments.
    """

    def __init__(self, function, settings):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, function, settings))
        self._process.start()
        other.close()
        self.function = function

    def turn(self):
        """Runs one turn: what it returned, and its seconds."""
        return self._ask("turn")

    def close(self):
        """Ends the process: the most memory that it had, in MB, and seconds until it was ready."""
        answer = self._ask("close")
        self._process.join()
        return answer

    def _ask(self, what):
        try:
            self._pipe.send(what)
            return self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise SystemExit(f"{self.function} failed: see above.") from None


def _work(pipe, function, settings):
    started = time.perf_counter()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path[:0] = [str(HERE), str(HERE / "peers")]
    module, name = function.split(":")
    turn = getattr(importlib.import_module(module), name)(**settings)
    ready = time.perf_counter() - started
    try:
        while pipe.recv() == "turn":
            start = time.perf_counter()
            result = turn()
            pipe.send((result, time.perf_counter() - start))
    except EOFError:  # the benchmark has ended
        return
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # of the children the largest one
    peak = max(resource.getrusage(who).ru_maxrss for who in whose) / 1024
    pipe.send((peak, ready))


def both(benchmark, function, **settings):
    """Gives `compare` the same function of a benchmark and of its peer, by their names."""
    return {
        OURS: (f"{benchmark}:{function}", settings),
        PEER: (f"torch_{benchmark}:{function}", settings),
    }


def compare(title, sides, same, goal, rounds=7, peer=PEER):
    """Times two sides in turns, and prints a row of a table.

    Args:
        title: What is timed.
        sides: Dict from `OURS` and the peer's name to a `Side`'s function and its settings.
        same: `same(ours, peers)` of what the first turns returned: a line that says how the two
            differ, or None.
        goal: Ratio to reach: the peer's seconds over ours.
        rounds: Turns of each side.
        peer: The peer's name.

    Returns:
        Dict for JSON: `title`, `goal`, `ratio`, and of each side `seconds` (a list) and `peak_mb`.

    Raises:
        SystemExit: If the sides do not compute the same thing.
    """
    running = {name: Side(*side) for name, side in sides.items()}
    first = {name: side.turn()[0] for name, side in running.items()}
    difference = same(first[OURS], first[peer])
    if difference:
        raise SystemExit(f"{title}: the two sides differ: {difference}")
    seconds = {name: [] for name in running}
    for turn in range(rounds):
        names = list(running) if turn % 2 else list(running)[::-1]
        for name in names:
            seconds[name].append(running[name].turn()[1])
    peaks = {name: side.close()[0] for name, side in running.items()}
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    figures = {
        "title": title,
        "goal": goal,
        "ratio": medians[peer] / medians[OURS],
        **{n: {"seconds": seconds[n], "peak_mb": peaks[n]} for n in running},
    }
    print_row(figures, peer)
    return figures


def print_head(peer=PEER):
    """Prints the head of the table that `compare` adds rows to."""
    print(f"\n| | ours s | {peer} s | ratio | goal | | peak MB: ours, {peer} |")
    print("|---|---|---|---|---|---|---|", flush=True)


def print_row(figures, peer=PEER):
    """Prints one comparison."""
    ours, theirs = figures[OURS], figures[peer]
    reached = "reached" if figures["ratio"] >= figures["goal"] else "missed"
    spread = [
        f"{statistics.median(side['seconds']):.3f} ({min(side['seconds']):.3f} to "
        f"{max(side['seconds']):.3f})"
        for side in (ours, theirs)
    ]
    print(
        f"| {figures['title']} | {' | '.join(spread)} | {figures['ratio']:.2f} | "
        f"{figures['goal']} | {reached} | {ours['peak_mb']:.0f}, {theirs['peak_mb']:.0f} |",
        flush=True,
    )


def finish(figures, path=None):
    """Says what the table was measured on; writes the figures for scripts if a path is given."""
    print(f"\n{machine()}")
    if path:
        pathlib.Path(path).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def machine():
    """One line: cores, processor, versions."""
    python = f"Python {platform.python_version()}"
    versions = [python, *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)]
    names = pathlib.Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    processor = next((x.split(": ")[1] for x in lines if x.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    return f"{cores} threads, {processor}, {', '.join(versions)}"


def same_losses(ours, peers):
    """Compares the losses of the first step."""
    if abs(ours - peers) > LOSS_TOLERANCE * abs(peers):
        return f"losses {ours} and {peers}"
    return None


def same_pixels(ours, peers):
    """Says how far apart two batches of pictures are on average, if that is too far."""
    difference = abs(ours - peers).mean()
    if ours.shape != peers.shape or difference > PIXEL_TOLERANCE:
        return f"{difference:.2f} levels on average, more than {PIXEL_TOLERANCE}"
    return None


def run_alone(turn, rounds=5):
    """What a peer does when it is run by itself: its seconds, one line a turn."""
    for _ in range(rounds + 1):
        start = time.perf_counter()
        turn()
        print(f"{time.perf_counter() - start:.3f} s", flush=True)
