"""The REST API over a real socket: JSON in the stock server's forms, its codes, its metrics."""

import base64
import http.client
import json
import re

import numpy as np
import pytest
from serving_models import LOOPBACK, X, predict, running, stub_of, write_toy

from zoo.serving.errors import HTTP_STATUS
from zoo.serving.local_server import rest_json, rest_tensors


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    saved_models = tmp_path_factory.mktemp("saved_models")
    write_toy(saved_models, version=3)
    with running(saved_models, rest_port=0, max_message_bytes=2**16) as server:
        yield server


@pytest.fixture
def ask(server):
    connection = http.client.HTTPConnection(LOOPBACK, server.rest_port, timeout=20)

    def ask(path, body=None, method=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, body)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read())

    yield ask
    connection.close()


TOY = "/v1/models/toy"
PREDICT, CLASSIFY, REGRESS = (f"{TOY}:{method}" for method in ("predict", "classify", "regress"))
SUMS = [3.0, 7.0]


def b64(value):
    return {"b64": base64.b64encode(value).decode()}


def weigh(*examples, **more):
    return {"signature_name": "weigh", "examples": examples, **more}


def test_rows_are_answered_in_rows(ask):
    rows = [{"sum": 3.0, "y": [2.0, 4.0]}, {"sum": 7.0, "y": [6.0, 8.0]}]
    assert ask(PREDICT, {"instances": X}) == (200, {"predictions": rows})
    named = {"instances": [{"x": x} for x in X], "signature_name": "serving_default"}
    assert ask(PREDICT, named) == (200, {"predictions": rows})
    assert ask(f"{TOY}/versions/3:predict", named) == (200, {"predictions": rows})


def test_columns_are_answered_in_columns(ask):
    columns = {"sum": SUMS, "y": [[2.0, 4.0], [6.0, 8.0]]}
    assert ask(PREDICT, {"inputs": X}) == (200, {"outputs": columns})
    assert ask(PREDICT, {"inputs": {"x": X, "more": 1}}) == (200, {"outputs": columns})


def test_one_output_is_not_named(ask):
    body = {"signature_name": "regress", "instances": ["ab", b64(b"\xff\x00\xfe")]}
    assert ask(PREDICT, body) == (200, {"predictions": [4.0, 6.0]})
    body = {"signature_name": "mean", "inputs": [1, 2, 6]}
    assert ask(PREDICT, body) == (200, {"outputs": 3.0})


def test_outputs_called_bytes_are_base64_and_others_are_text(ask):
    body = {"signature_name": "kinds", "instances": [7, -1]}
    assert ask(PREDICT, body) == (
        200,
        {
            "predictions": [
                {"bits": [True], "raw_bytes": b64(b"7"), "text": "7", "wide": 7},
                {"bits": [False], "raw_bytes": b64(b"-1"), "text": "-1", "wide": -1},
            ]
        },
    )


def test_classes_come_with_their_scores(ask):
    body = {"signature_name": "classify", "examples": [{}, {"text": "two"}]}
    row = [["no", 0.25], ["yes", 0.75]]
    assert ask(CLASSIFY, body) == (200, {"results": [row, row]})
    assert ask(f"{TOY}/versions/3:classify", body) == (200, {"results": [row, row]})


def test_features_are_examples_of_their_types(ask):
    every = {"whole": [1, 2], "decimal": 0.1, "text": ["ab", b64(b"\xff")]}
    code, answer = ask(
        REGRESS, weigh(every, {"whole": 7}, {}, {"whole": [True, False], "text": []})
    )
    assert (code, answer) == (200, {"results": [303.1, 7.0, 0.0, 1.0]})
    shared = {"decimal": [0.5, 0.25], "text": "a"}
    code, answer = ask(REGRESS, weigh({"whole": 7}, {}, context=shared))
    assert (code, answer) == (200, {"results": [107.75, 100.75]})


def test_status_and_metadata_have_the_stock_servers_form(ask):
    status = {"error_code": "OK", "error_message": ""}
    version = {"version": "3", "state": "AVAILABLE", "status": status}
    assert ask(TOY) == (200, {"model_version_status": [version]})
    assert ask(f"{TOY}/versions/3") == (200, {"model_version_status": [version]})
    code, answer = ask(f"{TOY}/metadata")
    assert code == 200
    assert answer["model_spec"] == {"name": "toy", "signature_name": "", "version": "3"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "2"]


HANDLER, JSON = "model_servers/http_rest_api_handler.cc", "util/json_tensor.cc"
SERVER, CORE = "model_servers/http_server.cc", "core/basic_manager.cc"
CLASSIFIER = "servables/tensorflow/classifier.cc"
PARSER = "tensorflow/core/util/example_proto_fast_parsing.cc"
# What is wrong, path, body, HTTP status, and the file in tensorflow_serving/ that decides it.
ERRORS = [
    ("unknown model", "/v1/models/other", None, 404, "model_servers/get_model_status_impl.cc"),
    ("unknown version", f"{TOY}/versions/7", None, 404, "model_servers/get_model_status_impl.cc"),
    ("unknown model", "/v1/models/other:predict", {"instances": [1]}, 404, CORE),
    ("unknown version", f"{TOY}/versions/7:predict", {"instances": X}, 404, CORE),
    (
        "unknown label",
        f"{TOY}/labels/a:predict",
        {"instances": X},
        400,
        "model_servers/server_core.cc",
    ),
    ("no path of the API", "/v1/model", None, 400, HANDLER),
    ("no method of the API", f"{TOY}:explain", {"instances": X}, 400, HANDLER),
    ("unknown signature", PREDICT, {"signature_name": "other", "instances": X}, 400, HANDLER),
    ("no JSON", PREDICT, b'{"instances": [', 400, JSON),
    ("JSON without end", PREDICT, b"[" * 50_000, 400, JSON),
    ("no object", PREDICT, [1], 400, JSON),
    ("a signature that is no name", PREDICT, {"signature_name": 1, "instances": X}, 400, JSON),
    ("half a letter", PREDICT, {"signature_name": "\ud800", "instances": X}, 400, JSON),
    ("neither rows nor columns", PREDICT, {"rows": X}, 400, JSON),
    ("rows and columns", PREDICT, {"instances": X, "inputs": X}, 400, JSON),
    ("no row", PREDICT, {"instances": []}, 400, JSON),
    ("rows that are no list", PREDICT, {"instances": {"x": 1}}, 400, JSON),
    ("rows of two shapes", PREDICT, {"instances": [[1, 2], [3]]}, 400, JSON),
    ("rows of two depths", PREDICT, {"instances": [[1, 2], 3]}, 400, JSON),
    ("a row of another input", PREDICT, {"instances": [{"z": [1, 2]}]}, 400, JSON),
    ("a row with one more input", PREDICT, {"instances": [{"x": [1, 2], "z": 1}]}, 400, JSON),
    ("named and unnamed rows", PREDICT, {"instances": [{"x": [1, 2]}, [1, 2]]}, 400, JSON),
    ("columns without the input", PREDICT, {"inputs": {"z": X}}, 400, JSON),
    ("text for numbers", PREDICT, {"instances": [["a", "b"]]}, 400, JSON),
    ("truth for numbers", PREDICT, {"instances": [[True, False]]}, 400, JSON),
    ("nothing for numbers", PREDICT, {"instances": [[None, 1]]}, 400, JSON),
    ("a number that float32 rounds", PREDICT, {"instances": [[2**24 + 1, 1]]}, 400, JSON),
    ("a number beyond float32", PREDICT, {"instances": [[1e39, 1]]}, 400, JSON),
    ("base64 for numbers", PREDICT, {"instances": [[b64(b"a"), 1]]}, 400, JSON),
    ("bad base64", PREDICT, {"signature_name": "regress", "instances": [{"b64": "%"}]}, 400, JSON),
    ("fractions for integers", PREDICT, {"signature_name": "kinds", "instances": [1.5]}, 400, JSON),
    ("large for int32", PREDICT, {"signature_name": "kinds", "instances": [2**31]}, 400, JSON),
    ("no rows in the answer", PREDICT, {"signature_name": "mean", "instances": [1]}, 400, JSON),
    ("no examples", CLASSIFY, {"signature_name": "classify"}, 400, JSON),
    ("no example", CLASSIFY, {"signature_name": "classify", "examples": []}, 400, JSON),
    ("an example that is no object", REGRESS, weigh([1]), 400, JSON),
    ("a context that is no object", REGRESS, weigh({}, context=[1]), 400, JSON),
    ("a feature of two types", REGRESS, weigh({"whole": [1, 1.5]}), 400, JSON),
    ("a feature of text and numbers", REGRESS, weigh({"text": ["a", 1]}), 400, JSON),
    ("a feature of lists", REGRESS, weigh({"whole": [[1]]}), 400, JSON),
    ("a feature of nothing", REGRESS, weigh({"whole": None}), 400, JSON),
    ("a feature of objects", REGRESS, weigh({"text": {"a": "b"}}), 400, JSON),
    ("a feature beyond int64", REGRESS, weigh({"whole": 2**63}), 400, JSON),
    ("a feature beyond float32", REGRESS, weigh({"decimal": 1e39}), 400, JSON),
    ("a name with half a letter", REGRESS, weigh({"\ud800": 1}), 400, JSON),
    ("a feature of another type", REGRESS, weigh({"whole": 1.5}), 400, PARSER),
    ("unknown model", "/v1/models/other:classify", weigh({}), 404, CORE),
    ("unknown signature", CLASSIFY, {"signature_name": "a", "examples": [{}]}, 400, CLASSIFIER),
    ("a signature for predict", CLASSIFY, {"examples": [{}]}, 400, CLASSIFIER),
    ("a row of another length", PREDICT, {"instances": [[1, 2, 3]]}, 400, SERVER),
]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        pytest.param(path, body, code, id=f"{what}: {file}")
        for what, path, body, code, file in ERRORS
    ],
)
def test_errors_are_json_with_the_stock_servers_status(ask, path, body, code):
    status, answer = ask(path, body)
    assert (status, list(answer)) == (code, ["error"]), answer
    assert answer["error"]


def test_error_says_what_was_expected(ask):
    _, answer = ask(PREDICT, {"instances": [["a", "b"]]})
    assert answer["error"] == 'x: "a" is not of the expected type float32'
    _, answer = ask(REGRESS, weigh({"decimal": [1.5, 1]}))
    assert answer["error"] == (
        'The feature "decimal": expected values of one type. Got float32 and int64: [1.5, 1]'
    )
    _, answer = ask("/v1/models")
    assert answer["error"] == "Malformed request: GET /v1/models"


def test_request_that_is_too_large_is_turned_away(ask):
    status, answer = ask(PREDICT, {"instances": X * 5000})
    assert status == 429 and "at most 65536 bytes" in answer["error"]
    assert ask(PREDICT, {"instances": X})[0] == 200


def test_what_is_not_the_api_is_not_found(ask):
    assert ask("/etc/passwd")[0] == 404
    assert ask(PREDICT, b"{}", method="DELETE")[0] == 405


def test_every_code_has_its_http_status():
    assert {code.name: status for code, status in HTTP_STATUS.items() if status != 500} == {
        "OK": 200,
        "INVALID_ARGUMENT": 400,
        "FAILED_PRECONDITION": 400,
        "OUT_OF_RANGE": 400,
        "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403,
        "NOT_FOUND": 404,
        "ALREADY_EXISTS": 409,
        "ABORTED": 409,
        "RESOURCE_EXHAUSTED": 429,
        "CANCELLED": 499,
        "UNIMPLEMENTED": 501,
        "UNAVAILABLE": 503,
        "DEADLINE_EXCEEDED": 504,
    }
    assert len(HTTP_STATUS) == 17


def test_floats_are_written_as_short_as_they_are():
    values = np.array([0.1, 1.0, 1e30, np.nan, np.inf], np.float32)
    text = rest_tensors.answer_of({"y": values}, rows=False).decode()
    assert re.sub(r"\s", "", text) == '{"outputs":[0.1,1.0,1e+30,NaN,Infinity]}'
    read = rest_json.parse(b'{"inputs": [NaN, -Infinity, 1]}')["inputs"]
    assert str(read) == "[nan, -inf, 1]"


def test_metrics_have_the_stock_servers_names(server, ask):
    def count(status, page):
        name = ":tensorflow:serving:request_count"
        return float(re.search(rf'{name}{{model_name="toy",status="{status}"}} (\S+)', page)[1])

    def page():
        connection = http.client.HTTPConnection(LOOPBACK, server.rest_port, timeout=20)
        connection.request("GET", "/monitoring/prometheus/metrics")
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        return response.read().decode()

    ask(PREDICT, {"instances": X}), ask(PREDICT, {"instances": []})
    before = page()
    with stub_of(server) as stub:
        stub.Predict(predict(), timeout=20)
    ask(PREDICT, {"instances": X}), ask(PREDICT, {"instances": []})
    ask("/v1/models/made_up:predict", {"instances": X})
    after = page()
    assert count("OK", after) == count("OK", before) + 2
    assert count("INVALID_ARGUMENT", after) == count("INVALID_ARGUMENT", before) + 1
    assert "made_up" not in after  # whoever makes up names does not fill the memory
    labels = 'API="Predict",entrypoint="{}",le="+Inf",model_name="toy"'
    for entrypoint in ("GRPC", "REST"):
        where = ":tensorflow:serving:request_latency_bucket{" + labels.format(entrypoint) + "}"
        assert where in after
    assert "process_resident_memory_bytes" in after
