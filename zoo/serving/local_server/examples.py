"""Classify and Regress: signatures that take serialized `tf.Example`s and answer in fixed forms."""

import numpy as np
from grpc import StatusCode
from tensorflow_serving.apis import classification_pb2, regression_pb2

from zoo.serving.errors import ServingError

INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


def read_examples(request_input):
    """String array of the serialized examples of an `Input`.

    Raises:
        ServingError: INVALID_ARGUMENT if there is none.
    """
    kind = request_input.WhichOneof("kind")
    examples, context = [], b""
    if kind is not None:
        examples = getattr(request_input, kind).examples
        if kind == "example_list_with_context":
            # Two serialized messages in a row are one message with the fields of both.
            context = request_input.example_list_with_context.context.SerializeToString()
    if not examples:
        raise ServingError(StatusCode.INVALID_ARGUMENT, "Input is empty.")
    return np.array([context + example.SerializeToString() for example in examples], dtype=object)


def find_signature(servable, name):
    """A signature by its name; here the stock server says INVALID_ARGUMENT if there is none."""
    try:
        return servable.signature(name)
    except ServingError as error:
        raise ServingError(StatusCode.INVALID_ARGUMENT, error.message) from error


def check_classification(signature):
    """Whether a signature can answer Classify.

    Raises:
        ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, in the stock server's order.
    """
    _check_counts(signature, (1, 2))
    if INPUTS not in signature.inputs or not {CLASSES, SCORES} & set(signature.outputs):
        raise ServingError(
            StatusCode.FAILED_PRECONDITION,
            f"Classify needs a signature from {INPUTS} to {CLASSES} or {SCORES} or both. This one "
            f"is {_describe(signature)}.",
        )


def check_regression(signature):
    """Whether a signature can answer Regress.

    Raises:
        ServingError: Like `check_classification`.
    """
    _check_counts(signature, (1,))
    if INPUTS not in signature.inputs or OUTPUTS not in signature.outputs:
        raise ServingError(
            StatusCode.FAILED_PRECONDITION,
            f"Regress needs a signature from {INPUTS} to {OUTPUTS}. This one is "
            f"{_describe(signature)}.",
        )


def classification_result(outputs, rows):
    """`ClassificationResult` from the arrays `classes` and `scores`, `(rows, classes)`.

    Raises:
        ServingError: INVALID_ARGUMENT if the arrays are of another kind.
    """
    for name, kind in ((CLASSES, "O"), (SCORES, "f")):
        if name in outputs:
            _check_output(name, outputs[name], kind, outputs[name].ndim == 2, rows)
    sizes = {outputs[name].shape[1] for name in (CLASSES, SCORES) if name in outputs}
    if len(sizes) > 1:
        raise ServingError(
            StatusCode.INVALID_ARGUMENT, f"{CLASSES} and {SCORES} differ in number: {sizes}."
        )
    result = classification_pb2.ClassificationResult()
    for row in range(rows):
        classes = result.classifications.add().classes
        for i in range(*sizes):
            one = classes.add()
            if CLASSES in outputs:
                one.label = outputs[CLASSES][row, i]
            if SCORES in outputs:
                one.score = outputs[SCORES][row, i]
    return result


def regression_result(outputs, rows):
    """`RegressionResult` from the array `outputs`, `(rows,)` or `(rows, 1)`.

    Raises:
        ServingError: INVALID_ARGUMENT if the array is of another kind.
    """
    values = outputs[OUTPUTS]
    fits = values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)
    _check_output(OUTPUTS, values, "f", fits, rows)
    result = regression_pb2.RegressionResult()
    for value in values.ravel():
        result.regressions.add(value=value)
    return result


def _check_counts(signature, num_outputs):
    if len(signature.inputs) != 1 or len(signature.outputs) not in num_outputs:
        wanted = " or ".join(map(str, num_outputs))
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            f"Expected a signature with one input and {wanted} outputs. This one is "
            f"{_describe(signature)}.",
        )


def _check_output(name, array, kind, fits, rows):
    if array.dtype.kind != kind or not fits or len(array) != rows:
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            f"The output {name} cannot be given for {rows} examples: it is {array.dtype} of shape "
            f"{list(array.shape)}.",
        )


def _describe(signature):
    return f"from {', '.join(sorted(signature.inputs))} to {', '.join(sorted(signature.outputs))}"
