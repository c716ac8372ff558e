"""Every code that the model server answers with, beside the file of the stock server's source."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from serving_models import X, predict, running, write_toy
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

EXAMPLES = input_pb2.Input(example_list=input_pb2.ExampleList(examples=[tf.train.Example()]))
METHODS = {
    predict_pb2.PredictRequest: "Predict",
    classification_pb2.ClassificationRequest: "Classify",
    regression_pb2.RegressionRequest: "Regress",
    inference_pb2.MultiInferenceRequest: "MultiInference",
    get_model_metadata_pb2.GetModelMetadataRequest: "GetModelMetadata",
    get_model_status_pb2.GetModelStatusRequest: "GetModelStatus",
    model_management_pb2.ReloadConfigRequest: "HandleReloadConfigRequest",
}
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION, UNKNOWN = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def with_spec(request, spec):
    if spec is not None:
        text_format.Parse(spec, request.model_spec)
    return request


def classify(spec, given=EXAMPLES):
    return with_spec(classification_pb2.ClassificationRequest(input=given), spec)


def regress(spec, given=EXAMPLES):
    return with_spec(regression_pb2.RegressionRequest(input=given), spec)


def infer(*tasks):
    request = inference_pb2.MultiInferenceRequest(input=EXAMPLES)
    for method, spec in tasks:
        with_spec(request.tasks.add(method_name=f"tensorflow/serving/{method}"), spec)
    return request


def metadata(spec, *fields):
    return with_spec(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields), spec)


def status(spec):
    return with_spec(get_model_status_pb2.GetModelStatusRequest(), spec)


def reload(*models, platform="tensorflow"):
    request = model_management_pb2.ReloadConfigRequest()
    for name in models:
        request.config.model_config_list.config.add(name=name, model_platform=platform)
    return request


def signature(name):
    return f"name: 'toy' signature_name: '{name}'"


TORN = tf.make_tensor_proto(X)
TORN.tensor_content = TORN.tensor_content[:-1]
CLASSES, LENGTHS = ("classify", signature("classify")), ("regress", signature("regress"))
VERSION_7 = "name: 'toy' version { value: 7 }"

# By file: what is wrong, the request, the code. The files are those of tensorflow/serving, in
# tensorflow_serving/; where they begin with tensorflow/, those of tensorflow/tensorflow.
TABLE = {
    "servables/tensorflow/predict_impl.cc": [("no spec", predict(None), INVALID)],
    "model_servers/server_core.cc": [
        ("no name", predict(""), INVALID),
        ("unknown label", predict("name: 'toy' version_label: 'canary'"), INVALID),
        ("no task", infer(), INVALID),
        ("a model twice", reload("toy", "toy"), INVALID),
        ("unknown platform", reload("toy", platform="other"), INVALID),
        ("a model that does not come", reload("toy", "empty"), UNKNOWN),
    ],
    "core/basic_manager.cc": [
        ("unknown model", predict("name: 'other'"), NOT_FOUND),
        ("unknown version", predict(VERSION_7), NOT_FOUND),
        ("unknown model", classify("name: 'other'"), NOT_FOUND),
        ("unknown model", metadata("name: 'other'", "signature_def"), NOT_FOUND),
    ],
    "servables/tensorflow/predict_util.cc": [
        ("unknown signature", predict(signature("other")), PRECONDITION),
        ("missing input", predict(inputs={}), INVALID),
        ("extra input", predict(inputs={"x": X, "z": X}), INVALID),
        ("unknown output", predict(output_filter=["other"]), INVALID),
        ("an output twice", predict(output_filter=["y", "y"]), INVALID),
    ],
    "tensorflow/cc/saved_model/util.cc": [
        ("another input", predict(inputs={"z": X}), INVALID),
        ("a torn tensor", predict(inputs={"x": TORN}), INVALID),
    ],
    "tensorflow/core/framework/function.cc": [
        ("wrong dtype", predict(inputs={"x": np.int32(X)}), INVALID),
    ],
    "tensorflow/core/kernels/gather_op.cc": [  # any kernel: its code is the answer's
        ("a failing kernel", predict(signature("pick"), {"index": np.int32([5])}), INVALID),
    ],
    "servables/tensorflow/classification_service.cc": [("no spec", classify(None), INVALID)],
    "servables/tensorflow/classifier.cc": [
        ("unknown signature", classify(signature("other")), INVALID),
        ("too many outputs", classify(signature("kinds")), INVALID),
        ("an input of another name", classify("name: 'toy'"), PRECONDITION),
        ("outputs of other names", classify(signature("regress")), PRECONDITION),
    ],
    "servables/tensorflow/util.cc": [
        ("no example", classify(signature("classify"), input_pb2.Input()), INVALID),
        ("no example", regress(signature("regress"), input_pb2.Input()), INVALID),
    ],
    "servables/tensorflow/regression_service.cc": [("no spec", regress(None), INVALID)],
    "servables/tensorflow/regressor.cc": [
        ("unknown signature", regress(signature("other")), INVALID),
        ("too many outputs", regress(signature("classify")), INVALID),
        ("an input of another name", regress(signature("mean")), PRECONDITION),
    ],
    "servables/tensorflow/multi_inference.cc": [
        ("unknown method", infer(("predict", signature("classify"))), UNIMPLEMENTED),
        ("unknown signature", infer(("classify", signature("other"))), INVALID),
        ("a signature twice", infer(CLASSES, CLASSES), INVALID),
        ("two models", infer(CLASSES, ("regress", "name: 'other'")), INVALID),
        ("two input tensors", infer(CLASSES, LENGTHS), INVALID),
    ],
    "servables/tensorflow/get_model_metadata_impl.cc": [
        ("no spec", metadata(None, "signature_def"), INVALID),
        ("no field", metadata("name: 'toy'"), INVALID),
        ("unknown field", metadata("name: 'toy'", "size"), INVALID),
    ],
    "model_servers/get_model_status_impl.cc": [
        ("no spec", status(None), INVALID),
        ("unknown model", status("name: 'other'"), NOT_FOUND),
        ("unknown version", status(VERSION_7), NOT_FOUND),
    ],
    "model_servers/model_service_impl.cc": [("no list of models", reload(), INVALID)],
}
ROWS = [
    pytest.param(message, code, id=f"{METHODS[type(message)]}, {what}: {file}")
    for file, rows in TABLE.items()
    for what, message, code in rows
]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    saved_models = tmp_path_factory.mktemp("saved_models")
    write_toy(saved_models)
    (saved_models / "empty").mkdir()
    with (
        running(saved_models) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield prediction, model_service_pb2_grpc.ModelServiceStub(channel), saved_models


@pytest.mark.parametrize(("message", "code"), ROWS)
def test_code_is_the_stock_servers(stubs, message, code):
    *stubs, saved_models = stubs
    method = METHODS[type(message)]
    if method == "HandleReloadConfigRequest":
        for config in message.config.model_config_list.config:
            config.base_path = str(saved_models / config.name)
    with pytest.raises(grpc.RpcError) as error:
        next(getattr(stub, method) for stub in stubs if hasattr(stub, method))(message, timeout=20)
    assert error.value.code() == code, error.value.details()
    assert error.value.details()
