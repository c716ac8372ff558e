"""What a version of a model answers to each kind of request, without a server around it."""

import logging

import tensorflow as tf
from grpc import StatusCode
from tensorflow_serving.apis import inference_pb2, prediction_log_pb2

from zoo.serving.errors import ServingError
from zoo.serving.local_server.batching import OneByOne
from zoo.serving.local_server.examples import (
    INPUTS,
    check_classification,
    check_regression,
    classification_result,
    find_signature,
    read_examples,
    regression_result,
)
from zoo.serving.local_server.servable import Servable, check_filter, check_inputs, signature_name
from zoo.serving.tensors import from_proto

MAX_WARM_UPS = 1000  # records; tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
METHODS = {  # what checks a signature, and what makes the result of its outputs
    CLASSIFY: (check_classification, classification_result),
    REGRESS: (check_regression, regression_result),
}
log = logging.getLogger(__name__)


def load(path, first=False):
    """A `Servable` that has run its warm-up requests, as the stock server runs them.

    Args:
        path: Folder of the version.
        first: Whether no other version of the model is in memory. If so, it is loaded twice for
            a moment: TensorFlow keeps what it once had for weights, so the memory that a change of
            versions needs is taken now, and not when it comes.

    Raises:
        ServingError: If it cannot be loaded, or a warm-up request fails.
    """
    spare = Servable(path) if first else None
    servable = Servable(path)
    try:
        _warm_up_all(servable, path)
    finally:
        if spare is not None:
            spare.close()
    return servable


def _warm_up_all(servable, path):
    runner = OneByOne()
    records = path / "assets.extra" / "tf_serving_warmup_requests"
    if not records.exists():
        log.info("no warm-up requests at %s", records)
        return
    try:
        for i, record in enumerate(tf.data.TFRecordDataset(str(records)).as_numpy_iterator()):
            if i == MAX_WARM_UPS:
                raise ValueError(f"at most {MAX_WARM_UPS} requests are run")
            _warm_up(servable, runner, prediction_log_pb2.PredictionLog.FromString(record))
    except Exception as error:
        raise ServingError(StatusCode.INVALID_ARGUMENT, f"{records}: {error}") from error


def _warm_up(servable, runner, record):
    kind = record.WhichOneof("log_type")
    request = getattr(record, kind).request if kind and kind != "session_run_log" else None
    if kind == "predict_log":
        predict(servable, runner, request.model_spec, reader(request), request.output_filter)
    elif kind == "classify_log":
        infer(servable, runner, CLASSIFY, request.model_spec, request.input)
    elif kind == "regress_log":
        infer(servable, runner, REGRESS, request.model_spec, request.input)
    elif kind == "multi_inference_log":
        multi_inference(servable, runner, request)


def predict(servable, runner, spec, read_inputs, output_filter=(), deadline=None):
    """Outputs of the signature that a `ModelSpec` names; see `Core.predict`."""
    signature = servable.signature(signature_name(spec))
    given = read_inputs(signature)
    left_out = signature.defaults.keys() - given.keys()
    inputs = {**given, **{name: from_proto(name, signature.defaults[name]) for name in left_out}}
    check_inputs(signature, inputs)
    wanted = check_filter(signature, output_filter)
    outputs = runner.run(servable, signature_name(spec), inputs, deadline)
    return {name: outputs[name] for name in wanted}


def infer(servable, runner, method, spec, request_input, deadline=None):
    """`ClassificationResult` or `RegressionResult` of the signature that a `ModelSpec` names.

    Args:
        servable: `Servable`.
        runner: `OneByOne` or `Batcher`.
        method: CLASSIFY or REGRESS.
        spec: `ModelSpec`.
        request_input: `Input`.
        deadline: See `OneByOne.run`.
    """
    check, result_of = METHODS[method]
    name = signature_name(spec)
    check(find_signature(servable, name))
    examples = read_examples(request_input)
    inputs = {INPUTS: examples}
    check_inputs(servable.signature(name), inputs)
    return result_of(runner.run(servable, name, inputs, deadline), len(examples))


def multi_inference(servable, runner, request, deadline=None):
    """List of `InferenceResult`, one for each task of a `MultiInferenceRequest`."""
    names, placeholders = set(), set()
    for task in request.tasks:
        name = signature_name(task.model_spec)
        if task.model_spec.name != request.tasks[0].model_spec.name or name in names:
            raise ServingError(
                StatusCode.INVALID_ARGUMENT,
                "The tasks of a MultiInference are for one model, each for another signature.",
            )
        signature = find_signature(servable, name)
        if task.method_name not in METHODS:
            raise ServingError(
                StatusCode.UNIMPLEMENTED,
                f"A method_name is {CLASSIFY} or {REGRESS}. Got {task.method_name}",
            )
        check, _ = METHODS[task.method_name]
        check(signature)
        names.add(name)
        placeholders.add(signature.inputs[INPUTS].name)
    if len(placeholders) > 1:
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            "The signatures of a MultiInference read the same tensor of the graph. These read "
            f"{', '.join(sorted(placeholders))}.",
        )
    results = []
    for task in request.tasks:
        method, spec = task.method_name, task.model_spec
        result = infer(servable, runner, method, spec, request.input, deadline)
        field = "classification_result" if method == CLASSIFY else "regression_result"
        results.append(inference_pb2.InferenceResult(**{field: result}))
    return results


def reader(request):
    """Reads the inputs of a `PredictRequest`, whatever the signature."""
    return lambda _: {name: from_proto(name, proto) for name, proto in request.inputs.items()}
