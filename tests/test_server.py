"""The model server through real sockets: answers, limits, TLS, health, an orderly end."""

import concurrent.futures
import http.client
import json
import signal
import socket
import ssl
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving_models import (
    LOOPBACK,
    Gate,
    X,
    make_certificate,
    predict,
    process,
    running,
    stub_of,
    toy_export,
    write_toy,
)
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from zoo.serving.errors import ServingError
from zoo.serving.local_server.servable import Servable
from zoo.serving.local_server.server import Server


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    saved_models = tmp_path_factory.mktemp("saved_models")
    write_toy(saved_models, version=3)
    return saved_models


@pytest.fixture(scope="module")
def server(saved_models):
    with running(saved_models) as server:
        yield server


@pytest.fixture(scope="module")
def stub(server):
    with stub_of(server) as stub:
        yield stub


def code_of(call, *args, **options):
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **{"timeout": 20, **options})
    return error.value.code().name


def spec_of(request, signature):
    request.model_spec.name, request.model_spec.signature_name = "toy", signature
    return request


def some_examples(request, *names):
    for name in names:
        example = request.input.example_list.examples.add()
        example.features.feature[name].int64_list.value.append(1)
    return request


def test_predict_answers_in_the_fields_that_clients_read(stub):
    answer = stub.Predict(predict(), timeout=20)
    assert answer.outputs["y"].float_val == [2, 4, 6, 8]
    assert [dim.size for dim in answer.outputs["y"].tensor_shape.dim] == [2, 2]
    assert answer.outputs["sum"].float_val == [3, 7]
    assert answer.model_spec.name == "toy" and answer.model_spec.version.value == 3
    assert answer.model_spec.signature_name == "serving_default"
    kinds = predict("name: 'toy' signature_name: 'kinds'", {"n": np.int32([7])})
    answer = stub.Predict(kinds, timeout=20)
    assert answer.outputs["text"].string_val == [b"7"]
    assert answer.outputs["bits"].bool_val == [True]
    assert answer.outputs["wide"].int64_val == [7]


def test_output_filter_leaves_the_others_out(stub):
    answer = stub.Predict(predict(output_filter=["sum"]), timeout=20)
    assert list(answer.outputs) == ["sum"]


def test_classify_answers_labels_and_scores(stub):
    request = spec_of(classification_pb2.ClassificationRequest(), "classify")
    answer = stub.Classify(some_examples(request, "a", "b"), timeout=20)
    rows = [[(c.label, c.score) for c in row.classes] for row in answer.result.classifications]
    assert rows == [[("no", 0.25), ("yes", 0.75)]] * 2
    assert answer.model_spec.version.value == 3


def test_regress_joins_the_context_to_each_example(stub):
    plain = some_examples(spec_of(regression_pb2.RegressionRequest(), "regress"), "a", "bcd")
    lengths = [2.0 * len(e.SerializeToString()) for e in plain.input.example_list.examples]
    answer = stub.Regress(plain, timeout=20)
    assert [r.value for r in answer.result.regressions] == lengths
    request = spec_of(regression_pb2.RegressionRequest(), "regress")
    joined = request.input.example_list_with_context
    joined.examples.extend(plain.input.example_list.examples)
    joined.context.features.feature["all"].int64_list.value.append(1)
    more = 2.0 * len(joined.context.SerializeToString())
    answer = stub.Regress(request, timeout=20)
    assert [r.value for r in answer.result.regressions] == [length + more for length in lengths]


def test_multi_inference_answers_each_task(stub):
    request = some_examples(inference_pb2.MultiInferenceRequest(), "a")
    request.tasks.add(method_name="tensorflow/serving/classify").model_spec.name = "toy"
    request.tasks[0].model_spec.signature_name = "classify"
    answer = stub.MultiInference(request, timeout=20)
    assert len(answer.results[0].classification_result.classifications[0].classes) == 2
    assert answer.results[0].model_spec.signature_name == "classify"


def test_metadata_are_the_signatures_on_disk(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "toy"
    answer = stub.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((toy_export(2.0) / "saved_model.pb").read_bytes())
    assert dict(signatures.signature_def) == dict(saved.meta_graphs[0].signature_def)
    assert answer.model_spec.version.value == 3


def test_wrong_shape_is_invalid_and_so_is_a_few_bytes_that_ask_for_terabytes(stub):
    assert code_of(stub.Predict, predict(inputs={"x": [[1.0, 2.0, 3.0]]})) == "INVALID_ARGUMENT"
    huge = tf.make_tensor_proto(np.zeros((1, 2), np.float32))
    huge.tensor_shape.dim[0].size = 10**12
    huge.ClearField("tensor_content")
    start = time.monotonic()
    assert code_of(stub.Predict, predict(inputs={"x": huge})) == "INVALID_ARGUMENT"
    assert time.monotonic() - start < 10


def test_no_row_at_all_is_answered_with_none(stub):
    answer = stub.Predict(predict(inputs={"x": np.zeros((0, 2), np.float32)}), timeout=20)
    assert answer.outputs["y"].tensor_shape.dim[0].size == 0


def test_deadline_is_kept_while_others_run(saved_models, monkeypatch):
    with running(saved_models) as server, stub_of(server) as stub:
        gate = Gate(monkeypatch)
        begun = stub.Predict.future(predict(), timeout=20)
        gate.wait_for(1)
        assert code_of(stub.Predict, predict(), timeout=0.2) == "DEADLINE_EXCEEDED"
        gate.set()
        assert begun.result().outputs["sum"].float_val == [3, 7]


def test_model_that_is_too_slow_is_stopped_at_the_deadline(stub):
    request = predict("name: 'toy' signature_name: 'slow'", {"n": np.int32([10**8])})
    start = time.monotonic()
    assert code_of(stub.Predict, request, timeout=0.3) == "DEADLINE_EXCEEDED"
    # Both places of the server are free again, or soon.
    for _ in range(3):
        assert stub.Predict(predict(), timeout=20).outputs["sum"].float_val == [3, 7]
    servable, deadline = Servable(toy_export(2.0)), time.monotonic() + 0.3
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        servable.run("slow", {"n": np.int32([10**8])}, deadline)
    assert time.monotonic() - start < 20


def test_requests_beyond_the_limit_are_turned_away_and_nothing_breaks(saved_models, monkeypatch):
    with running(saved_models, max_in_flight=3, rest_port=0) as server, stub_of(server) as stub:
        gate = Gate(monkeypatch)
        calls = [stub.Predict.future(predict(), timeout=30) for _ in range(40)]
        deadline = time.monotonic() + 20
        while sum(call.done() for call in calls) < 37:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert post(server.rest_port)[0] == 429
        gate.set()
        codes = [call.code().name for call in calls]  # waits for the last ones
        assert sorted(codes) == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"] * 37
        assert post(server.rest_port)[0] == 200
        assert stub.Predict(predict(), timeout=20).outputs["sum"].float_val == [3, 7]


def test_message_beyond_the_limit_is_turned_away(saved_models):
    with running(saved_models, max_message_bytes=10_000) as server, stub_of(server) as stub:
        large = predict(inputs={"x": np.zeros((2000, 2), np.float32)})
        assert code_of(stub.Predict, large) == "RESOURCE_EXHAUSTED"
        assert stub.Predict(predict(), timeout=20).outputs["sum"].float_val == [3, 7]


def test_it_listens_on_loopback_alone_and_on_its_port_alone(server, saved_models):
    with socket.create_connection((LOOPBACK, server.port), timeout=5):
        pass
    with pytest.raises(OSError):  # another address of this machine
        socket.create_connection(("127.0.0.2", server.port), timeout=5)
    with pytest.raises(ValueError, match=f"Cannot listen on 127.0.0.1:{server.port}"):
        Server(saved_models, port=server.port, rest_port=None)
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"Cannot listen on 127.0.0.1:{port}"):
            Server(saved_models, port=0, rest_port=port)


def test_health_follows_the_server(saved_models):
    check = health_pb2.HealthCheckRequest
    with running(saved_models) as server, stub_of(server, health_pb2_grpc.HealthStub) as health:
        for name in ("", "PredictionService", "ModelService"):
            assert health.Check(check(service=name), timeout=20).status == 1  # SERVING
        assert code_of(health.Check, check(service="other")) == "NOT_FOUND"
        watch = health.Watch(check(), timeout=20)
        assert next(watch).status == 1
        server._health.enter_graceful_shutdown()  # what stopping begins with
        assert next(watch).status == 2  # NOT_SERVING


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_tls_serves_both_protocols_to_who_trusts_the_certificate(saved_models, certificate):
    key, chain = certificate
    with running(saved_models, rest_port=0, key=key, certificate=chain) as server:
        credentials = grpc.ssl_channel_credentials(chain.read_bytes())
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert stub.Predict(predict(), timeout=20).outputs["sum"].float_val == [3, 7]
        with stub_of(server) as plain:
            assert code_of(plain.Predict, predict()) == "UNAVAILABLE"
        context = ssl.create_default_context(cafile=chain)
        assert post(server.rest_port, context=context)[0] == 200
        with pytest.raises(ssl.SSLError):
            post(server.rest_port, context=ssl.create_default_context())
    with pytest.raises(ValueError, match="both a key and a certificate"):
        Server(saved_models, key=key)


def test_sigterm_finishes_what_is_in_flight_and_nothing_of_ours_was_needed(saved_models, tmp_path):
    # A batch that waits three seconds for company: requests that are surely under way.
    parameters = tmp_path / "parameters.txt"
    parameters.write_text("max_batch_size { value: 8 } batch_timeout_micros { value: 3000000 }")
    with process(saved_models, batch=str(parameters)) as (server, (port, rest_port)):
        with (
            grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel,
            concurrent.futures.ThreadPoolExecutor(1) as pool,
        ):
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            call = stub.Predict.future(predict(), timeout=30)
            rest = pool.submit(post, rest_port)
            time.sleep(0.5)
            assert not call.done() and not rest.done()
            server.send_signal(signal.SIGTERM)
            assert call.result().outputs["sum"].float_val == [3, 7]
            assert rest.result(20) == (200, {"predictions": ANSWER})
            assert code_of(stub.Predict, predict()) == "UNAVAILABLE"
        output, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    stopping, modules = output.splitlines()
    assert stopping == "Finishing what is in flight."
    assert "'zoo.serving.local_server.core'" in modules
    for room in ("zoo.models", "zoo.decoding", "zoo.data", "zoo.serving.signatures.captioner"):
        assert room not in modules


ANSWER = [{"sum": 3.0, "y": [2.0, 4.0]}, {"sum": 7.0, "y": [6.0, 8.0]}]


def post(port, context=None):
    """Status and answer of a Predict by REST."""
    if context is None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=20)
    else:
        connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    try:
        connection.request("POST", "/v1/models/toy:predict", json.dumps({"instances": X}))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
