"""Several workers train as one process does; when one dies, all go on from the last checkpoint."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_activity_recognition
import test_image_captioning
import test_video_description
from test_training import assert_same, values
from worker_trainings import TRAININGS, train_on_words

from zoo.models.backbones import image_encoder
from zoo.visualization.curves import read_log

pictures, clips, videos = (  # fixtures
    module.data
    for module in (test_image_captioning, test_activity_recognition, test_video_description)
)
HERE = pathlib.Path(__file__).parent
PATIENCE = 300  # seconds; a worker notices within 15 that another has died

WORKER = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
import worker_trainings
worker_trainings.work(*sys.argv[1:])
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def start(tmp_path):
    """`start(commands)` starts a worker for each on this machine; gives processes and logs."""
    started = []

    def begin(commands):
        ports = [free_port() for _ in commands]
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        logs = [tmp_path / f"log{index}-{ports[0]}" for index in range(len(commands))]
        for index, (command, log) in enumerate(zip(commands, logs, strict=True)):
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            more = {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""}
            more["PATH"] = os.path.dirname(sys.executable)  # METEOR's Java takes 10 seconds
            with open(log, "wb") as file:
                started.append(
                    subprocess.Popen(
                        [sys.executable, *map(str, command)],
                        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **more},
                        cwd=HERE.parent,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        return started[-len(commands) :], logs

    yield begin
    for process in started:
        process.kill()
        process.wait()


def finish(processes, logs):
    for process, log in zip(processes, logs, strict=True):
        assert process.wait(PATIENCE) == 0, log.read_text()[-3000:]
    return [log.read_text() for log in logs]


def losses(run):
    return [float(row.get("loss", row.get("reward"))) for row in read_log(run / "log.csv")]


def read_progress(run):
    with np.load(run / "checkpoint.npz") as arrays:
        return json.loads(arrays["progress"].tobytes())


def test_two_workers_train_as_one_process(start, tmp_path):
    run = tmp_path / "run"
    running = start([["-c", WORKER, run]] * 2)
    alone = {}
    for name, train in TRAININGS.items():
        model, _ = train(tf.distribute.get_strategy(), tmp_path / "alone" / name)
        alone[name] = values(model)
    said = finish(*running)
    assert "printed by" in said[0] and "printed by" not in said[1]
    for worker in range(2):
        with np.load(f"{run}-{worker}.npz") as found:
            for name, expected in alone.items():
                ours = [found[f"{name} {n}"] for n in range(len(expected))]
                assert_same(ours, expected, 2e-6)
            assert found["words best"].tolist() == [0, 2]
            assert found["sentences best"].tolist() == [0, 0]
    for name in TRAININGS:
        np.testing.assert_allclose(losses(run / name), losses(tmp_path / "alone" / name), atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_after_a_worker_was_killed_all_are_started_again_and_end_with_the_same_weights(
    victim, start, tmp_path
):
    run = tmp_path / "run"
    train_on_words(tf.distribute.get_strategy(), tmp_path / "alone")
    # TensorFlow's workers cannot take in one that comes back: the others have to end.
    kills = [7 if index == victim else 0 for index in range(2)]
    processes, logs = start([["-c", WORKER, run, kill] for kill in kills])
    assert processes[victim].wait(PATIENCE) == -signal.SIGKILL
    assert processes[1 - victim].wait(PATIENCE) == 1
    assert "Another worker has ended. Give every worker" in logs[1 - victim].read_text()
    progress = read_progress(run)
    assert (progress["epoch"], progress["finished"]) == (1, False) and progress["batch"] in (1, 2)
    said = finish(*start([["-c", WORKER, run, 0]] * 2))
    assert "goes on where it was: 1 of 3 epochs" in said[0] and "goes on" not in said[1]
    with np.load(run / "checkpoint.npz") as ours, np.load(tmp_path / "alone/checkpoint.npz") as one:
        ends = [[arrays[n] for n in arrays if n != "progress"] for arrays in (ours, one)]
        assert_same(*ends, 5e-6)
    for name, value in read_progress(run).items():
        assert value == pytest.approx(read_progress(tmp_path / "alone")[name], abs=1e-5)


def captioning(data, run):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 5, strides=4)])
    network.add(keras.layers.BatchNormalization())  # no dropout: workers draw other numbers
    encoder = run.parent / "tiny.keras"
    encoder.parent.mkdir()
    image_encoder(network, (1 / 127.5, -1), name="tiny").save(encoder)
    more = ("--encoder", encoder, "--dropout", 0)
    return "image_captioning", test_image_captioning.arguments(data, run, *more)


def recognition(data, run):
    more = ["--epochs", "2", "--fine-tune-epochs", "1"]
    return "activity_recognition", [*test_activity_recognition.settings(data, run), *more]


def description(data, run):
    more = ["--epochs", "2", "--fine-tune-epochs", "1"]
    return "video_description", test_video_description.settings(data, run, *more)


def description_of_labels(data, run):
    more = ["--input", "labels-max", "--epochs", "2", "--role-epochs", "2"]
    more += ["--role-fine-tune-epochs", "1"]
    return "video_description", test_video_description.settings(data, run, *more)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "data", "accumulate"),
    [
        (captioning, "pictures", 2),
        (recognition, "clips", 1),
        (description, "videos", 2),
        (description_of_labels, "videos", 1),
    ],
)
def test_recipe_leaves_the_same_run_from_two_workers(
    train, data, accumulate, start, request, tmp_path
):
    data, runs, said = request.getfixturevalue(data), [], []
    for strategy, workers in (("multiworker", 2), ("none", 1)):
        runs.append(tmp_path / strategy / "run")
        recipe, words = train(data, runs[-1])
        command = ["-m", f"recipes.{recipe}", *words, "--strategy", strategy]
        said += finish(*start([[*command, "--accumulate", accumulate]] * workers))
    assert "1 epochs\n" in said[0] and "epochs" not in said[1]
    files = [{path.relative_to(run) for path in run.rglob("*") if "events" not in path.name}
             for run in runs]  # fmt: skip
    assert files[0] == files[1]
    assert pathlib.Path("model/model.weights.h5") in files[0]
    for file in files[0]:
        if file.name == "checkpoint.npz":
            with np.load(runs[0] / file) as ours, np.load(runs[1] / file) as alone:
                ends = [[end[n] for n in end if n != "progress"] for end in (ours, alone)]
                assert_same(*ends, 2e-5)
    scores = [json.loads((run / "metrics.json").read_text()) for run in runs]
    for name, value in scores[0].items():
        if isinstance(value, float):
            assert value == pytest.approx(scores[1][name], rel=1e-3), name
