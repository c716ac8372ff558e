"""Versions of models: found, loaded aside, swapped, labelled, drained, deleted."""

import ctypes
import pathlib
import re
import shutil
import threading
import time

import pytest
from google.protobuf import text_format
from serving_models import Gate, X, predict, running, stub_of, toy_export, write_toy
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_log_pb2,
)

from zoo.serving.local_server import sources
from zoo.serving.local_server.manager import Manager

State = get_model_status_pb2.ModelVersionStatus.State


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def factor(stub, spec="name: 'toy'"):
    return stub.Predict(predict(spec), timeout=20).outputs["y"].float_val[0] / X[0][0]


def states(server, name="toy"):
    with stub_of(server, model_service_pb2_grpc.ModelServiceStub) as stub:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        answer = stub.GetModelStatus(request, timeout=20).model_version_status
        return {s.version: (State.Name(s.state), s.status.error_message) for s in answer}


def config_of(text):
    config = model_management_pb2.ReloadConfigRequest().config
    return text_format.Parse(text, config)


def test_newest_version_is_served_and_others_are_not(tmp_path):
    write_toy(tmp_path, 2, 2.0)
    write_toy(tmp_path, 10, 3.0)  # a number, not a word
    (tmp_path / "toy" / "notes").mkdir()
    with running(tmp_path) as server, stub_of(server) as stub:
        assert factor(stub) == 3
        assert stub.Predict(predict(), timeout=20).model_spec.version.value == 10
        assert states(server) == {10: ("AVAILABLE", "")}


def test_new_version_takes_over_without_one_failed_request(tmp_path):
    write_toy(tmp_path, 1, 2.0)
    seen, errors, done = [], [], threading.Event()
    with running(tmp_path) as server:

        def hammer():
            with stub_of(server) as stub:
                while not done.is_set():
                    try:
                        seen.append(factor(stub))
                    except Exception as error:
                        errors.append(error)
                        return

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: 2 in seen)
        for version in (2, 3):
            write_toy(tmp_path, version, 1.0 + version)
            wait_until(lambda v=version: states(server).get(v - 1) == ("END", ""))
        wait_until(lambda: 4 in seen)
        done.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert sorted(set(seen)) == [2, 3, 4] and len(seen) > 50


def test_old_version_finishes_what_it_has_begun(tmp_path, monkeypatch):
    write_toy(tmp_path, 1, 2.0)
    with running(tmp_path) as server, stub_of(server) as stub:
        gate = Gate(monkeypatch)
        begun = stub.Predict.future(predict(), timeout=20)
        gate.wait_for(1)
        write_toy(tmp_path, 2, 3.0)
        wait_until(lambda: states(server).get(1) == ("UNLOADING", ""))
        gate.set()
        assert begun.result().model_spec.version.value == 1
        assert begun.result().outputs["y"].float_val[0] == 2
        wait_until(lambda: states(server)[1] == ("END", ""))
        assert factor(stub) == 3


def test_deleted_version_gives_way_to_the_older_one(tmp_path):
    write_toy(tmp_path, 1, 2.0)
    write_toy(tmp_path, 2, 3.0)
    with running(tmp_path) as server, stub_of(server) as stub:
        assert factor(stub) == 3
        shutil.rmtree(tmp_path / "toy" / "2")
        wait_until(lambda: states(server).get(2) == ("END", ""))
        assert factor(stub) == 2
        write_toy(tmp_path, 2, 4.0)  # another model under the same number
        wait_until(lambda: states(server)[2] == ("AVAILABLE", ""))
        assert factor(stub) == 4


def test_broken_version_leaves_the_old_one_in_service_until_it_is_whole(tmp_path):
    write_toy(tmp_path, 1, 2.0)
    with running(tmp_path) as server, stub_of(server) as stub:
        half = tmp_path / "toy" / "2"
        half.mkdir()
        shutil.copy(toy_export(3.0) / "saved_model.pb", half)  # its variables are still on the way
        wait_until(lambda: states(server).get(2, ("",))[0] == "END")
        assert "variables" in states(server)[2][1]
        assert factor(stub) == 2 and states(server)[1] == ("AVAILABLE", "")
        shutil.copytree(toy_export(3.0), half, dirs_exist_ok=True)
        wait_until(lambda: states(server)[2] == ("AVAILABLE", ""))
        assert factor(stub) == 3


def test_new_model_in_the_folder_is_served_and_a_deleted_one_is_not(tmp_path):
    write_toy(tmp_path, 1)
    with running(tmp_path) as server:
        write_toy(tmp_path, 1, name="other")
        wait_until(lambda: ("other", 1) in server.models())
        shutil.rmtree(tmp_path / "toy")
        wait_until(lambda: server.models() == [("other", 1)])


def test_warm_up_that_fails_keeps_a_version_out(tmp_path):
    import tensorflow as tf

    write_toy(tmp_path, 1)
    aside = tmp_path / "aside"
    shutil.copytree(toy_export(2.0), aside)
    (aside / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(aside / "assets.extra/tf_serving_warmup_requests")) as records:
        for request in (predict(), predict("name: 'toy' signature_name: 'other'")):
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            records.write(log.SerializeToString())
    with running(tmp_path) as server:
        aside.rename(tmp_path / "toy" / "2")
        wait_until(lambda: states(server).get(2, ("",))[0] == "END")
        assert '"other" not found' in states(server)[2][1]
        assert server.models() == [("toy", 1)]


def test_config_chooses_versions_and_gives_them_labels(tmp_path):
    for version in (1, 2, 3):
        write_toy(tmp_path, version, 1.0 + version)
    model = f"name: 'toy' base_path: '{tmp_path}/toy' model_platform: 'tensorflow'"
    policy = "model_version_policy { specific { versions: 1 versions: 2 } }"
    label = "version_labels {{ key: 'stable' value: {} }}"
    config = tmp_path / "models.config"
    text = f"model_config_list {{ config {{ {model} {policy} {label.format(1)} }} }}"
    config.write_text(text)
    with running(config) as server, stub_of(server) as stub:
        assert sorted(states(server)) == [1, 2]
        assert factor(stub) == 3
        assert factor(stub, "name: 'toy' version { value: 1 }") == 2
        assert factor(stub, "name: 'toy' version_label: 'stable'") == 2
        with stub_of(server, model_service_pb2_grpc.ModelServiceStub) as models:
            request = model_management_pb2.ReloadConfigRequest()
            text = f"model_config_list {{ config {{ {model} {label.format(3)} }} }}"
            text_format.Parse(text, request.config)
            assert models.HandleReloadConfigRequest(request, timeout=20).status.error_code == 0
        assert factor(stub, "name: 'toy' version_label: 'stable'") == 4
        wait_until(lambda: server.models() == [("toy", 3)])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [11]),
        ("latest { num_versions: 2 }", [2, 11]),
        ("all {}", [1, 2, 11]),
        ("specific { versions: 2 versions: 5 }", [2]),
    ],
)
def test_version_policies_are_the_stock_servers(tmp_path, policy, expected):
    for name in ("1", "2", "11", "x", ".aside-12", "-1"):
        (tmp_path / name).mkdir()
    policy = f"model_version_policy {{ {policy} }}" if policy else ""
    config = config_of(
        f"model_config_list {{ config {{ name: 'm' base_path: '{tmp_path}' "
        f"model_platform: 'tensorflow' {policy} }} }}"
    )
    assert sorted(sources.wanted_versions(config)) == [("m", number) for number in expected]


def test_server_without_a_model_says_what_it_expected(tmp_path):
    with pytest.raises(ValueError, match=r"<name>/<version>/saved_model\.pb"), running(tmp_path):
        pass
    (tmp_path / "toy" / "1").mkdir(parents=True)
    with (
        pytest.raises(ValueError, match="toy: .*toy/1: SavedModel file does not exist"),
        running(tmp_path),
    ):
        pass
    with pytest.raises(FileNotFoundError, match="expected a folder of models"):
        sources.read_source(tmp_path / "nowhere")
    (tmp_path / "models.config").write_text("nonsense")
    with pytest.raises(ValueError, match="holds no ModelServerConfig"):
        sources.read_source(tmp_path / "models.config")


class Heavy:
    """100 MB in small pieces, between pieces that stay: an allocator would keep all of it."""

    stays = []

    def __init__(self, path, first):
        pieces = [bytearray(b"x") * 50_000 for _ in range(2000 if path.name == "1" else 0)]
        self.pieces, self.signature_defs = pieces, {}
        self.stays += pieces[::20]

    def close(self):
        self.pieces = None


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_memory_of_an_old_version_goes_back_to_the_system(tmp_path):
    def megabytes():
        status = pathlib.Path("/proc/self/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1000

    (tmp_path / "heavy" / "1").mkdir(parents=True)
    manager = Manager(tmp_path, Heavy, poll_seconds=0.05)
    manager.start()
    try:
        full = megabytes()
        (tmp_path / "heavy" / "2").mkdir()
        wait_until(lambda: manager.available() == [("heavy", 2)])
        wait_until(lambda: megabytes() < full - 70)
    finally:
        manager.stop()
        Heavy.stays.clear()
