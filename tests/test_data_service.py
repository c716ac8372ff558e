"""Other processes decode pictures and clips: the batches are those that one process makes."""

import contextlib
import functools
import pathlib
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from made_videos import numbered, write_video
from PIL import Image

from zoo.cli import _parse, data_service, main
from zoo.data.batches.captions import Share, image_batches
from zoo.data.batches.clips import clip_batches
from zoo.data.batches.service import read_batches
from zoo.data.datasets.activities.labeled_video import LabelledVideo
from zoo.data.sources.arrays import ClipArray
from zoo.data.sources.shard_writer import prepare

LOOPBACK = "localhost"


def free_port():
    with socket.create_server((LOOPBACK, 0)) as free:
        return free.getsockname()[1]


def start(*arguments):
    command = [sys.executable, "-m", "zoo.cli", "data-service", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def running():
    """A dispatcher and two workers; gives the processes and the dispatcher's address."""
    port = free_port()
    started = [start("dispatcher", "--port", port)]
    started += [start("worker", f"{LOOPBACK}:{port}") for _ in range(2)]
    try:
        said = [process.stdout.readline() for process in started]
        assert said[0] == f"dispatcher: grpc://localhost:{port}\n"
        assert said[1:] == [f"worker of {LOOPBACK}:{port}\n"] * 2
        yield started, f"grpc://{LOOPBACK}:{port}"
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def service():
    with running() as (_, address):
        yield address


def arrays(batches):
    return list(batches.as_numpy_iterator())


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_pictures_come_in_the_same_order_with_the_same_pixels(service, tmp_path):
    rng = np.random.default_rng(0)
    for n in range(20):
        pixels = rng.integers(0, 256, (20 + n, 30, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
    paths = [str(tmp_path / f"{n}.png") for n in range(20)]
    token_ids = rng.integers(1, 50, (20, 3, 6), "int32")
    make = functools.partial(image_batches, paths, token_ids, 16, batch_size=4, seed=1)
    batches = make(epoch=0, service=service)
    assert len(batches) == 5 and batches.element_spec == make(epoch=0).element_spec
    assert_same(arrays(batches), arrays(make(epoch=0)))
    rest = {"epoch": 1, "first_batch": 2, "share": Share(1, 2)}
    assert_same(arrays(make(**rest, service=service)), arrays(make(**rest)))


def test_clips_of_prepared_videos_come_in_the_same_order_with_the_same_pixels(service, tmp_path):
    videos = []
    for n in range(6):
        path = write_video(tmp_path / f"{n}.mp4", map(numbered, range(3 + 4 * n)))
        videos.append(LabelledVideo(str(path), n % 2))
    source = prepare(videos, ["a", "b"], tmp_path / "prepared")
    make = functools.partial(
        clip_batches, source, range(6), (40, 60), 32, True, 8, 3, 4, seed=1, epoch=2
    )
    assert_same(arrays(make(service=service)), arrays(make()))


def work(x):
    """Takes some milliseconds, so that two workers have batches in hand at any time."""
    a = tf.random.normal((200, 200))
    for _ in range(8):
        a = tf.linalg.l2_normalize(tf.linalg.matmul(a, a))
    return tf.cast(x, tf.float32) + 0 * a[0, 0]


def test_batches_that_overtake_one_another_are_put_in_order(service):
    # One batch in seven takes far longer than the others.
    def uneven(x):
        return tf.cond(x // 2 % 7 == 0, lambda: work(x), lambda: tf.cast(x, tf.float32))

    order = np.arange(600).reshape(300, 2)
    assert_same(arrays(read_batches([order], uneven, service)), list(order))


@pytest.mark.slow
@pytest.mark.parametrize("num_batches", [40, 400])
def test_a_killed_worker_is_an_error_and_no_batch_is_left_out_in_silence(num_batches, monkeypatch):
    monkeypatch.setattr("zoo.data.batches.service.PATIENCE", 10)
    order, came = np.arange(2 * num_batches).reshape(-1, 2), []
    with (
        running() as ((*_, victim), service),
        pytest.raises(tf.errors.UnknownError, match="has not come .* a worker was lost"),
    ):
        for batch in read_batches([order], work, service):
            came.append(batch.numpy())
            if len(came) == 10:
                victim.kill()
    assert 10 <= len(came) < num_batches
    assert_same(came, list(order[: len(came)]))


def test_what_a_worker_cannot_read_is_an_error_that_names_it(service, tmp_path):
    batches = image_batches(
        [str(tmp_path / "gone.png")], np.ones((1, 1, 3), "int32"), 8, 1, 0, 0, service=service
    )
    with pytest.raises(tf.errors.OpError, match="gone.png"):
        arrays(batches)


def test_an_address_at_which_nobody_answers_is_an_error_that_says_what_to_start():
    order = np.zeros((3, 2))
    with pytest.raises(ConnectionError, match="No data service answers .*lrcn data-service disp"):
        read_batches([order], work, f"grpc://{LOOPBACK}:{free_port()}")
    for address in (f"{LOOPBACK}:5050", "grpc://host"):
        with pytest.raises(ConnectionError, match="is called grpc://HOST:PORT"):
            read_batches([order], work, address)


def test_video_files_are_refused_for_no_other_process_can_decode_them():
    source = ClipArray(np.zeros((2, 5, 10, 12, 3), "uint8"), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="`lrcn prepare` turns them into files"):
        clip_batches(source, [0, 1], (10, 12), 8, True, 4, 2, 1, 0, 0, service="grpc://a:1")


def test_recipe_refuses_a_service_for_video_files_before_hours_of_work(capsys):
    from recipes import activity_recognition as recipe

    options = ["train", "--run", "x", "--data-service", "grpc://a:1", "--dataset"]
    with pytest.raises(SystemExit):
        recipe.parse([*options, "ucf101"])
    assert "--data-service goes with --dataset shards" in capsys.readouterr().err
    for more in (["shards"], ["ucf101", "--modality", "flow"]):
        assert recipe.parse([*options, *more]).data_service == "grpc://a:1"


def test_a_role_has_to_be_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["data-service"])
    assert stopped.value.code == 2 and "ROLE" in capsys.readouterr().err


def test_compose_file_gives_commands_that_the_programs_take():
    yaml = pytest.importorskip("yaml")
    from recipes import image_captioning

    house = pathlib.Path(image_captioning.__file__).parents[1]
    file = yaml.safe_load((house / "recipes" / "compose.yaml").read_text())
    services = file["services"]
    assert services.keys() == {"dispatcher", "worker", "trainer"}
    for service in services.values():
        assert service["networks"] == ["batches"] and service["image"] == "lrcn"
        assert [volume.rpartition("}:")[2] for volume in service["volumes"]] == [
            "/data:ro",
            "/runs",
        ]
        for named in service.get("depends_on", []):
            assert named in services
    assert file["networks"]["batches"] == {"internal": True}
    copied = services["worker"]["build"]["dockerfile_inline"]
    for name in re.findall(r"^COPY (.+) \S+$", copied, re.MULTILINE):
        assert all((house / one).exists() for one in name.split())
    dispatcher = _parse(services["dispatcher"]["command"][1:])
    assert dispatcher.command is data_service.dispatch and dispatcher.port == 5050
    shell = services["worker"]["command"]
    assert shell[:2] == ["sh", "-c"]
    words = shell[2].replace("$$(hostname)", "a1b2").split()
    worker = _parse(words[2:])
    assert (worker.dispatcher, worker.address) == ("dispatcher:5050", "a1b2")
    trainer = image_captioning.parse(services["trainer"]["command"][2:])
    assert trainer.data_service == "grpc://dispatcher:5050"
    assert services["worker"]["deploy"]["replicas"] == 4
