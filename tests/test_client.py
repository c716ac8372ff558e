"""The client against a served captioner: captions, scores, bad pictures, retries, deadlines."""

import concurrent.futures
import io
import pathlib
import re
import socket
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from serving_models import (
    LOOPBACK,
    captioner_export,
    confident_captioner,
    confident_export,
    make_certificate,
    running,
    tiny_captioner,
)
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from zoo.data.images.decode import read_images
from zoo.decoding import BeamSearch, Constraints
from zoo.serving import client as module
from zoo.serving.client import Client, ServerError
from zoo.text.vocabulary import UNKNOWN


@pytest.fixture(scope="module")
def server():
    with running(captioner_export()) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(f"{LOOPBACK}:{server.port}", timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return paths


def arrays(pictures):
    return np.stack([image for _, image in read_images(pictures, 16).as_numpy_iterator()])


def test_captions_are_the_models_own(client, pictures):
    images = arrays(pictures)
    sampler = BeamSearch(beam_size=5, n_best=3)
    model = tiny_captioner()
    expected = model.generate(images, sampler, constraints=Constraints(forbidden_ids=(UNKNOWN,)))
    answers = client.caption([pictures[0], str(pictures[1]), pictures[2].read_bytes()], n_best=3)
    for row, answer in enumerate(answers):
        assert answer.status == "ok"
        words = [model.vocabulary.decode(ids) for ids in np.asarray(expected[0])[row]]
        assert answer.captions == words
        np.testing.assert_allclose(answer.log_probs, np.asarray(expected[1])[row], atol=1e-4)
    assert [a.captions for a in client.caption(pictures)] == [a.captions[:1] for a in answers]


def test_confidences_are_the_models_own(pictures):
    model = confident_captioner()
    expected = model.caption_candidates(arrays(pictures), BeamSearch(beam_size=5, n_best=3))
    with (
        running(confident_export()) as server,
        Client(f"{LOOPBACK}:{server.port}", timeout=30) as client,
    ):
        answers = client.caption([*pictures, b"no picture"], n_best=2)
    for answer, row in zip(answers[:-1], expected, strict=True):
        confidences = [candidate.confidence for candidate in row[:2]]
        np.testing.assert_allclose(answer.confidences, confidences, atol=1e-5)
        assert answer.unsure == [value < model.confidence.threshold for value in confidences]
    assert (answers[-1].confidences, answers[-1].unsure) == ([], [])


def test_a_model_without_confidence_answers_without(client, pictures):
    for answer in client.caption(pictures, n_best=3):
        assert len(answer.captions) == 3
        assert answer.confidences is None and answer.unsure is None


def test_scores_are_the_models_own(client, pictures):
    sentences = ["a red square", "", "café on a zebra"]
    scored = client.score(pictures, sentences)
    assert [score.status for score in scored] == ["ok"] * 3
    expected, _ = tiny_captioner().score(arrays(pictures), sentences)
    np.testing.assert_allclose([score.log_prob for score in scored], expected, atol=1e-4)


def test_bad_picture_says_why_and_leaves_the_others_alone(client, pictures, tmp_path):
    whole = io.BytesIO()
    Image.new("RGB", (64, 64)).save(whole, "JPEG")
    images = [
        b"",
        pictures[0],
        b"no picture",
        tmp_path / "gone.png",
        whole.getvalue()[:300],
        pictures[1],
    ]
    answers = client.caption(images)
    assert [answer.status for answer in answers] == [
        "empty",
        "ok",
        "not an image",
        "cannot be read: No such file or directory",
        "damaged",
        "ok",
    ]
    assert [len(answer.captions) for answer in answers] == [0, 1, 0, 0, 0, 1]
    good = client.caption(pictures[:2])
    assert [answers[1].captions, answers[5].captions] == [answer.captions for answer in good]
    scored = client.score(images, ["a red square"] * len(images))
    assert [score.log_prob is None for score in scored] == [True, False, True, True, True, False]


def test_many_pictures_go_in_several_requests(server, client, pictures, monkeypatch):
    sizes, predict = [], Client._predict

    def counted(self, model, signature, inputs, outputs):
        sizes.append(inputs["image_bytes"].tensor_shape.dim[0].size)
        return predict(self, model, signature, inputs, outputs)

    monkeypatch.setattr(Client, "_predict", counted)
    one = pictures[0].read_bytes()
    assert len(client.caption([one] * 70)) == 70 and sizes == [32, 32, 6]
    sizes.clear()
    limit = int(2.5 * len(one))
    with Client(f"{LOOPBACK}:{server.port}", max_message_bytes=limit) as small:
        answers = small.caption([one, one, one, bytes(limit)])
    assert sizes == [2, 1]
    assert answers[3].status == f"too large: {limit} bytes do not fit into a message"
    assert client.caption([]) == [] == client.score([], [])


def test_what_cannot_be_asked_is_an_error_at_once(client, pictures):
    with pytest.raises(TypeError, match="list of images"):
        client.caption(str(pictures[0]))
    with pytest.raises(ValueError, match="n_best=4"):
        client.caption(pictures, n_best=4)
    with pytest.raises(ValueError, match="list of 3 sentences"):
        client.score(pictures, "a red square")


def test_error_of_the_server_names_address_code_and_reason(server, pictures):
    address = f"{LOOPBACK}:{server.port}"
    with (
        Client(address, model="other") as client,
        pytest.raises(ServerError, match=f"{address} answers NOT_FOUND: .*other") as error,
    ):
        client.caption(pictures)
    assert error.value.code == grpc.StatusCode.NOT_FOUND
    with Client(address, version=1) as client:
        assert client.caption(pictures[:1])[0].status == "ok"
    with Client(address, version=2) as client, pytest.raises(ServerError, match="version 2"):
        client.caption(pictures)


class Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with one code after the other, then well."""

    def __init__(self, *codes, seconds=0.0):
        self.codes, self.calls, self.seconds = list(codes), 0, seconds

    def Predict(self, request, context):
        self.calls += 1
        time.sleep(self.seconds)
        if self.codes:
            context.abort(self.codes.pop(0), "as the script says")
        response = predict_pb2.PredictResponse()
        values = {"captions": [b"a"], "log_probs": [-1.0], "status": [b"ok"]}
        for name, value in values.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            if name == "log_probs":
                response.outputs[name].CopyFrom(_float_proto(value))
        return response


def _float_proto(values):
    proto = tf.make_tensor_proto(values)
    proto.ClearField("tensor_content")
    proto.float_val[:] = values
    return proto


@pytest.fixture
def scripted(monkeypatch):
    """A function that starts a server with a script."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.01)
    servers = []

    def start(*codes, port=0, **options):
        servers.append(grpc.server(concurrent.futures.ThreadPoolExecutor(4)))
        script = Scripted(*codes, **options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(script, servers[-1])
        script.address = f"{LOOPBACK}:{servers[-1].add_insecure_port(f'{LOOPBACK}:{port}')}"
        servers[-1].start()
        return script

    yield start
    for server in servers:
        server.stop(None)


def test_unavailable_is_tried_again(scripted):
    script = scripted(*[grpc.StatusCode.UNAVAILABLE] * 3)
    with Client(script.address, timeout=20) as client:
        assert client.caption([b"x"])[0].captions == ["a"]
    assert script.calls == 4


def test_unavailable_for_good_is_an_error_after_the_last_try(scripted):
    script = scripted(*[grpc.StatusCode.UNAVAILABLE] * 9)
    with (
        Client(script.address, timeout=20, retries=2) as client,
        pytest.raises(ServerError, match="UNAVAILABLE: as the script says.*lrcn serve"),
    ):
        client.caption([b"x"])
    assert script.calls == 3


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL"])
def test_nothing_else_is_tried_again(scripted, code):
    script = scripted(grpc.StatusCode[code])
    with Client(script.address) as client, pytest.raises(ServerError, match=code):
        client.caption([b"x"])
    assert script.calls == 1


def test_deadline_covers_all_tries(scripted):
    script = scripted(*[grpc.StatusCode.UNAVAILABLE] * 99, seconds=0.1)
    start = time.monotonic()
    with Client(script.address, timeout=0.5, retries=99) as client, pytest.raises(ServerError):
        client.caption([b"x"])
    assert time.monotonic() - start < 5 and 2 <= script.calls < 9
    slow = scripted(seconds=2.0)
    with (
        Client(slow.address, timeout=0.2) as client,
        pytest.raises(ServerError, match="DEADLINE_EXCEEDED.*more time"),
    ):
        client.caption([b"x"])
    assert slow.calls == 1


def test_server_that_comes_up_late_is_waited_for(scripted):
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    late = threading.Timer(0.5, scripted, kwargs={"port": port})
    late.start()
    with Client(f"{LOOPBACK}:{port}", timeout=20, retries=50) as client:
        assert client.caption([b"x"])[0].status == "ok"
    late.join()


def test_tls_is_spoken_with_who_is_trusted(pictures, tmp_path):
    key, certificate = make_certificate(tmp_path)
    with running(captioner_export(), key=key, certificate=certificate) as server:
        address = f"localhost:{server.port}"
        with Client(address, root_certificates=certificate, timeout=30) as client:
            assert client.caption(pictures[:1])[0].status == "ok"
        with (
            Client(address, tls=True, timeout=30, retries=0) as client,
            pytest.raises(ServerError, match="UNAVAILABLE"),
        ):
            client.caption(pictures[:1])


def test_client_imports_grpc_and_the_serving_api_alone():
    source = pathlib.Path(module.__file__).read_text()
    packages = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
    assert packages - sys.stdlib_module_names == {"grpc", "tensorflow", "tensorflow_serving"}
    # Of tensorflow, the messages on which those of tensorflow_serving are built.
    assert re.findall(r"^(?:import|from) (tensorflow\.?\S*) ", source, re.MULTILINE) == [
        "tensorflow.core.framework",
        "tensorflow_serving.apis",
    ]
