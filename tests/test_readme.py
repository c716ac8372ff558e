"""What the READMEs say of serving is true: their code runs, their tables are the export's."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from made_videos import grey, write_video
from PIL import Image
from serving_models import (
    LOOPBACK,
    captioner_export,
    confident_export,
    describer_export,
    recognizer_export,
    retrieval_export,
    running,
    tiny_captioner,
)
from tensorflow.core.protobuf import saved_model_pb2

from zoo.data.images.decode import read_images
from zoo.serving.export import BATCH_SIZES
from zoo.serving.local_server.batching_parameters import read_parameters
from zoo.serving.signatures.pictures import STATUS

HOUSE = pathlib.Path(__file__).parents[1]
TOP, SERVED = HOUSE / "README.md", HOUSE / "saved_models" / "README.md"


def blocks(readme, language, word):
    """Blocks of code in a README that contain a word."""
    text = readme.read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in found if word in block]


def table(readme, head):
    """Rows of the table that begins like this, as lists of cells."""
    text = readme.read_text(encoding="utf-8")
    (rows,) = re.findall(rf"^{re.escape(head)}.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows.splitlines()]


@pytest.fixture(scope="module")
def server():
    with running(captioner_export(), rest_port=0) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    """A folder with a photograph, photo.jpg."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path


def test_ten_lines_with_nothing_of_ours_caption_a_photograph(server, folder):
    (program,) = blocks(TOP, "python", "PredictionServiceStub")
    assert blocks(SERVED, "python", "PredictionServiceStub") == [program]
    assert len(program.strip().splitlines()) == 10 and "zoo" not in program
    program = program.replace("127.0.0.1:8500", f"{LOOPBACK}:{server.port}")
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert shown.returncode == 0, shown.stderr
    images = [image for _, image in read_images([folder / "photo.jpg"], 16).as_numpy_iterator()]
    (caption,) = tiny_captioner().caption(np.stack(images))
    assert shown.stdout == caption + "\n" and caption


@pytest.mark.parametrize(
    "word", ["caption_dataset(", "lrcn_activity_recognizer(", "semantic_role_recognizer("]
)
def test_python_blocks_of_the_readme_run_as_they_stand(word, folder):
    (program,) = blocks(TOP, "python", word)
    write_video(folder / "video.mp4", grey(np.arange(20, 220, 10)), rate=10)
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert shown.stdout.strip()


@pytest.fixture
def answers(server, folder):
    """What each curl command of the README is answered with."""
    if shutil.which("curl") is None:
        pytest.skip("runs the README's commands, and curl is not here")
    found = {}
    for command in blocks(SERVED, "sh", "curl"):
        here = command.replace("127.0.0.1:8501", f"{LOOPBACK}:{server.rest_port}")
        assert here != command
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", here],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found[command] = json.loads(done.stdout)
    return list(found.values())


def test_every_curl_command_is_answered_as_its_sentence_says(answers):
    captions, samples, status, metadata = answers
    (row,) = captions["predictions"]
    assert row["status"] == "ok" and len(row["captions"]) == 3
    assert [row["status"] for row in samples["predictions"]] == ["ok", "ok"]
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    shown = metadata["metadata"]["signature_def"]["signature_def"]
    described = {signature for signature, *_ in table(SERVED, "| signature |")}
    assert described == set(shown) - {"__saved_model_init_op"}


# What the letters of the tables stand for, in the models of the tests; -1 is any number.
SIZES = {"B": -1, "T": -1, "N": -1, "F": 6, "K": 3, "S": 16, "R": 2}


@pytest.mark.parametrize(
    ("head", "folder"),
    [
        ("| signature |", confident_export),
        ("| signature of recognisers |", recognizer_export),
        ("| signature for retrieval |", retrieval_export),
        ("| signature of describers |", describer_export),
    ],
)
def test_the_table_of_signatures_is_that_of_the_export(head, folder):
    (path,) = folder().glob("*/1/saved_model.pb")
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    definitions = dict(model.meta_graphs[0].signature_def)
    del definitions["__saved_model_init_op"]
    exported = set()
    for signature, definition in definitions.items():
        for direction in ("in", "out"):
            for name, info in getattr(definition, f"{direction}puts").items():
                sizes = [dim.size for dim in info.tensor_shape.dim]
                exported.add((signature, direction, name, tf.as_dtype(info.dtype).name, *sizes))
    described = set()
    for signature, direction, name, dtype, shape, *_ in table(SERVED, head):
        sizes = [SIZES.get(size) or int(size) for size in re.findall(r"\w+", shape)]
        described.add((signature, direction, name, dtype, *sizes))
    assert described == exported and len(table(SERVED, head)) == len(exported)


def test_the_table_of_statuses_is_that_of_the_export():
    assert tuple(row[0] for row in table(SERVED, "| status |")) == STATUS


def test_the_numbers_of_batching_are_those_of_the_file():
    parameters = read_parameters(HOUSE / "saved_models" / "batching_parameters.txt")
    text = " ".join(SERVED.read_text(encoding="utf-8").split())
    milliseconds = parameters.batch_timeout_micros // 1000
    assert f"At most {parameters.max_batch_size} rows a batch, and {milliseconds} ms" in text
    *sizes, last = BATCH_SIZES
    assert f"batches of {', '.join(map(str, sizes))} and {last} rows" in text
