"""What the server answers, for gRPC and REST alike: from requests to models and back."""

import contextlib
import logging
import threading
import time

from grpc import StatusCode
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from zoo.serving.errors import ServingError
from zoo.serving.local_server import inference
from zoo.serving.local_server.servable import signature_name
from zoo.serving.tensors import to_proto

log = logging.getLogger(__name__)


class Core:
    """Answers requests.

    Args:
        manager: `Manager`.
        runner: `OneByOne` or `Batcher`.
        metrics: `Metrics`.
        max_in_flight: Requests that may be under way; more are turned away.
    """

    def __init__(self, manager, runner, metrics, max_in_flight):
        self.manager, self.runner, self.metrics = manager, runner, metrics
        self._max_in_flight = max_in_flight
        self._in_flight = threading.BoundedSemaphore(max_in_flight)

    @contextlib.contextmanager
    def request(self, name, api, entrypoint):
        """Around every request for a model: counts it, limits how many there are.

        Raises:
            ServingError: RESOURCE_EXHAUSTED where there are too many; INTERNAL for what nobody
                thought of.
        """
        start, code = time.perf_counter(), StatusCode.OK
        try:
            if not self._in_flight.acquire(blocking=False):
                raise ServingError(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"{self._max_in_flight} requests are under way, which is the limit.",
                )
            try:
                yield
            finally:
                self._in_flight.release()
        except ServingError as error:
            code = error.code
            raise
        except Exception as error:
            code = StatusCode.INTERNAL
            log.exception("%s failed", api)
            raise ServingError(code, f"{type(error).__name__}: {error}") from error
        finally:
            known = name if self.manager.knows(name) else ""  # names are not made up by clients
            self.metrics.record(known, api, entrypoint, code, time.perf_counter() - start)

    def predict(self, spec, read_inputs, output_filter=(), deadline=None):
        """Runs a signature.

        Args:
            spec: `ModelSpec`.
            read_inputs: Function from a `SignatureDef` to a dict of NumPy arrays.
            output_filter: Names of the outputs that are wanted; none for all.
            deadline: See `OneByOne.run`.

        Returns:
            `ModelSpec` of what answered, and a dict of NumPy arrays.
        """
        with self.manager.use(spec) as version:
            outputs = inference.predict(
                version.servable, self.runner, spec, read_inputs, output_filter, deadline
            )
            return _answered(spec, version), outputs

    def predict_proto(self, request, deadline=None):
        """`PredictResponse` to a `PredictRequest`."""
        _need_spec(request)
        spec, outputs = self.predict(
            request.model_spec, inference.reader(request), request.output_filter, deadline
        )
        response = predict_pb2.PredictResponse(model_spec=spec)
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(to_proto(array))
        return response

    def classify(self, request, deadline=None):
        """`ClassificationResponse` to a `ClassificationRequest`."""
        response = classification_pb2.ClassificationResponse()
        return self._infer(inference.CLASSIFY, request, response, deadline)

    def regress(self, request, deadline=None):
        """`RegressionResponse` to a `RegressionRequest`."""
        response = regression_pb2.RegressionResponse()
        return self._infer(inference.REGRESS, request, response, deadline)

    def multi_inference(self, request, deadline=None):
        """`MultiInferenceResponse` to a `MultiInferenceRequest`."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self.manager.use(spec) as version:
            results = inference.multi_inference(version.servable, self.runner, request, deadline)
            response = inference_pb2.MultiInferenceResponse(results=results)
            for task, result in zip(request.tasks, response.results, strict=True):
                result.model_spec.CopyFrom(_answered(task.model_spec, version))
            return response

    def metadata(self, request):
        """`GetModelMetadataResponse` to a `GetModelMetadataRequest`."""
        _need_spec(request)
        if set(request.metadata_field) != {"signature_def"}:
            raise ServingError(
                StatusCode.INVALID_ARGUMENT,
                "The metadata_field that a server knows is signature_def. Got "
                f"{', '.join(request.metadata_field) or 'none'}.",
            )
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.manager.use(request.model_spec) as version:
            response.model_spec.name = version.name
            response.model_spec.version.value = version.number
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in version.servable.signature_defs.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, request):
        """`GetModelStatusResponse` to a `GetModelStatusRequest`."""
        _need_spec(request)
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=self.manager.statuses(request.model_spec)
        )

    def reload(self, request):
        """`ReloadConfigResponse` to a `ReloadConfigRequest`."""
        self.manager.reload(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response

    def _infer(self, method, request, response, deadline):
        _need_spec(request)
        spec = request.model_spec
        with self.manager.use(spec) as version:
            result = inference.infer(
                version.servable, self.runner, method, spec, request.input, deadline
            )
            response.result.CopyFrom(result)
            response.model_spec.CopyFrom(_answered(spec, version))
        return response


def _need_spec(request):
    if not request.HasField("model_spec"):
        raise ServingError(StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


def _answered(spec, version):
    answered = model_pb2.ModelSpec(name=version.name, signature_name=signature_name(spec))
    answered.version.value = version.number
    return answered
