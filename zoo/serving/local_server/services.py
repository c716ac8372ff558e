"""The gRPC services: the methods of the generated servicers, each handed on to `Core`."""

import time

from grpc import StatusCode
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from zoo.serving.errors import ServingError

FOREVER = 10**8  # seconds; a client that sets no deadline seems to set one in some centuries


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """`tensorflow.serving.PredictionService`."""

    def __init__(self, core):
        self._core = core

    def Predict(self, request, context):
        return self._answer("Predict", self._core.predict_proto, request, context)

    def Classify(self, request, context):
        return self._answer("Classify", self._core.classify, request, context)

    def Regress(self, request, context):
        return self._answer("Regress", self._core.regress, request, context)

    def MultiInference(self, request, context):
        return self._answer("MultiInference", self._core.multi_inference, request, context)

    def GetModelMetadata(self, request, context):
        return _or_abort(context, self._core.metadata, request)

    def _answer(self, api, method, request, context):
        # A MultiInference names its model in every task.
        name = next((task.model_spec.name for task in getattr(request, "tasks", [request])), "")

        def counted(request):
            with self._core.request(name, api, "GRPC"):
                return method(request, _deadline(context))

        return _or_abort(context, counted, request)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """`tensorflow.serving.ModelService`."""

    def __init__(self, core):
        self._core = core

    def GetModelStatus(self, request, context):
        return _or_abort(context, self._core.status, request)

    def HandleReloadConfigRequest(self, request, context):
        return _or_abort(context, self._core.reload, request)


def _or_abort(context, method, request):
    try:
        return method(request)
    except ServingError as error:
        code, message = error.code, error.message
    context.abort(code, message)  # raises


def _deadline(context):
    """On the clock `time.monotonic`, or None.

    Raises:
        ServingError: If it has passed already: the request has waited too long for a thread.
    """
    left = context.time_remaining()
    if left is None or left > FOREVER:
        return None
    if left <= 0:
        raise ServingError(StatusCode.DEADLINE_EXCEEDED, "The deadline passed before the start.")
    return time.monotonic() + left
