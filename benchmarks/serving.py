"""Puts the server under load, with and without batching, and says whether it held.

    python benchmarks/serving.py        # or: make bench

32 clients send 2,000 requests of one picture each, 2 % of them bad, to `lrcn serve`, a process of
its own on loopback; half-way a new version of the model appears in its folder. Every answer is
compared with what the library says of the same picture. Exit code 1 if an answer is wrong or
lost, if the new version does not take over, or if the server's memory is not flat: half-way and
at the end, at most `GROWTH` above what it was after a quarter of the requests.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
from serving_clients import NAME, PAUSE_SECONDS, Answer, ask_all, difference, make_cases
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
from tqdm import tqdm

from zoo.presets import from_preset
from zoo.serving.export import export
from zoo.serving.local_server.process import serving

MODEL = "lrcn_captioner_efficientnet_lite0_flickr8k"
BATCHING = pathlib.Path(__file__).parents[1] / "saved_models" / "batching_parameters.txt"
GROWTH = 0.05  # of memory: 60 MB, what 1,500 requests would leave of 40 KB each
MARKS = ("ready", "1/4", "1/2", "end", "peak")  # when memory is noted; of the requests
PACKAGES = ("tensorflow", "keras", "grpcio", "protobuf", "numpy")


@dataclasses.dataclass
class Run:
    """How a server held: rates and times, what went wrong, and its memory in MB by `MARKS`."""

    batching: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    wrong: list
    lost: list
    by_new_version: int
    took_over: bool
    megabytes: dict

    def problems(self):
        """List of lines; none if the server held."""
        found = [f"wrong: {line}" for line in self.wrong] + [f"lost: {line}" for line in self.lost]
        if not self.took_over:
            found.append("the new version did not take over")
        limit = self.megabytes["1/4"] * (1 + GROWTH)
        if max(self.megabytes["1/2"], self.megabytes["end"]) > limit:
            found.append(f"memory is not flat: {self.megabytes} MB")
        return [f"batching {self.batching}: {line}" for line in found]


def main(arguments=None):
    """Runs the load without and with batching, and prints a table."""
    parser = argparse.ArgumentParser(description="Puts the server under load.")
    parser.add_argument("--model", default=MODEL, metavar="PRESET", help="name or folder")
    parser.add_argument("--requests", type=int, default=2000, metavar="N")
    parser.add_argument("--clients", type=int, default=32, metavar="N")
    parser.add_argument("--bad", type=float, default=0.02, metavar="SHARE", help="of the requests")
    parser.add_argument("--seconds", type=float, default=600, help="limit for each of the two runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    captioner = from_preset(options.model)
    cases = make_cases(captioner, options.requests, options.bad)
    with tempfile.TemporaryDirectory() as saved_models:
        export(captioner, saved_models, NAME)
        runs = [
            load_run(saved_models, cases, options.clients, options.seconds, batch)
            for batch in (None, BATCHING)
        ]
    print_table(runs)
    if options.json:
        figures = json.dumps([dataclasses.asdict(run) for run in runs], indent=1)
        pathlib.Path(options.json).write_text(figures, encoding="utf-8")
    sys.exit("\n".join(line for run in runs for line in run.problems()) or 0)


def load_run(saved_models, cases, clients, seconds, batch=None):
    """Sends all cases to a server of its own.

    Args:
        saved_models: Folder; it gets a new version half-way.
        cases: List of `Case`.
        clients: How many send at the same time.
        seconds: After so many, what has no answer is lost.
        batch: File of batching parameters, or None.

    Returns:
        `Run`.
    """
    batching, options = ("on", ["--batch", str(batch)]) if batch else ("off", [])
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(saved_models, f"{folder}/server.log", *options) as (server, address),
        tqdm(total=len(cases), unit=" requests", desc=f"batching {batching}") as bar,
    ):
        megabytes = {"ready": resident(server)}
        start, old = time.monotonic(), max(version_states(address))
        deadline = start + seconds

        def watch(answers):
            now, answered = resident(server), sum(answer is not None for answer in answers)
            bar.update(answered - bar.n)
            if answered >= len(cases) / 4:
                megabytes.setdefault("1/4", now)
            if answered >= len(cases) / 2 and "1/2" not in megabytes:
                megabytes["1/2"] = now
                add_version(saved_models)

        answers = ask_all(address, cases, clients, deadline, watch)
        took = time.monotonic() - start
        wanted = {old: "END", old + 1: "AVAILABLE"}
        while not (took_over := version_states(address) == wanted) and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        # It may have come after the last request: it is asked as well, out of the time that counts.
        more = cases[: 2 * clients]
        answers_after = ask_all(address, more, clients, deadline)
        megabytes |= {"end": resident(server), "peak": resident(server, "VmHWM")}
    pairs = list(zip([*cases, *more], [*answers, *answers_after], strict=True))
    given = [(case, answer) for case, answer in pairs if isinstance(answer, Answer)]
    times = [1000 * answer.seconds for answer in answers if isinstance(answer, Answer)]
    return Run(
        batching,
        len(times) / took,
        *(np.percentile(times, (50, 99)).tolist() if times else (np.nan, np.nan)),
        [line for line in (difference(*pair) for pair in given) if line],
        [answer for _, answer in pairs if not isinstance(answer, Answer)],
        sum(answer.version == old + 1 for _, answer in given),
        took_over,
        megabytes,
    )


def add_version(saved_models):
    """Puts a new version into the folder in one step, as an export does.

    It is a copy: an export would take the cores that are measured here for half a minute.
    """
    base = pathlib.Path(saved_models) / NAME
    newest = max(int(folder.name) for folder in base.iterdir() if folder.name.isdecimal())
    shutil.copytree(base / str(newest), base / ".aside")
    (base / ".aside").rename(base / str(newest + 1))


def version_states(address):
    """Dict from a version to the name of its state."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = NAME
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        versions = stub.GetModelStatus(request, timeout=60).model_version_status
    name_of = get_model_status_pb2.ModelVersionStatus.State.Name
    return {version.version: name_of(version.state) for version in versions}


def resident(server, field="VmRSS"):
    """Megabytes of memory that a process holds; `"VmHWM"` for the most that it ever held."""
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError(f"The server ended with code {server.wait(60)}.")
    return round(int(found[1]) / 1000)


def print_table(runs):
    """Prints a row for each run, and what it ran on."""
    head = ("batching", "requests/s", "p50 ms", "p99 ms", "wrong", "lost", "by the new version")
    print(f"\n| {' | '.join(head)} | MB: {', '.join(MARKS)} |\n|{'---|' * 8}")
    for run in runs:
        speed = f"{run.requests_per_second:.1f} | {run.p50_ms:.0f} | {run.p99_ms:.0f}"
        counts = f"{len(run.wrong)} | {len(run.lost)} | {run.by_new_version}"
        memory = ", ".join(str(run.megabytes[mark]) for mark in MARKS)
        print(f"| {run.batching} | {speed} | {counts} | {memory} |")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}")


if __name__ == "__main__":
    main()
