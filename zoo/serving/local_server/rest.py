"""The REST API and the page of metrics, in the stock server's forms."""

import asyncio
import contextlib
import re
import time
from concurrent import futures

from google.protobuf import json_format
from grpc import StatusCode
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from zoo.serving.errors import HTTP_STATUS, ServingError
from zoo.serving.local_server import metrics
from zoo.serving.local_server.rest_examples import input_of, results_of
from zoo.serving.local_server.rest_json import encode, parse
from zoo.serving.local_server.rest_tensors import answer_of, inputs_of

TIMEOUT = 30.0  # seconds for a request; the stock server's --rest_api_timeout_in_ms
MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
POST = re.compile(MODEL + r":(?P<method>predict|classify|regress)", re.IGNORECASE)
GET = re.compile(MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)


class RestApi:
    """Answers `POST /v1/models/NAME[/versions/N|/labels/L]:predict`, `:classify` and `:regress`,
    and `GET` for the status and the metadata of a model.

    Args:
        core: `Core`.
        max_message_bytes: Limit on the body of a request.
        max_in_flight: Threads that answer at the same moment.
    """

    def __init__(self, core, max_message_bytes, max_in_flight):
        self._core, self._max_message_bytes = core, max_message_bytes
        # The limit on requests is `Core`'s; a few more threads let it say so.
        self._pool = futures.ThreadPoolExecutor(max_in_flight + 2, "rest")

    def app(self):
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/{path:path}", self._answer, methods=["GET", "POST"]),
                Route(metrics.PATH, self._metrics),
            ],
            exception_handlers={HTTPException: _http_error},
        )

    async def _metrics(self, request):
        return Response(self._core.metrics.page(), media_type=metrics.CONTENT_TYPE)

    async def _answer(self, request):
        deadline = time.monotonic() + TIMEOUT
        try:
            body = await self._read(request)
            work = self._post if request.method == "POST" else self._get
            loop, path = asyncio.get_running_loop(), request.url.path
            content = await loop.run_in_executor(self._pool, work, path, body, deadline)
            return Response(content, media_type="application/json")
        except ServingError as error:
            return _error(HTTP_STATUS[error.code], error.message)

    async def _read(self, request):
        body = bytearray()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_message_bytes:
                        raise ServingError(
                            StatusCode.RESOURCE_EXHAUSTED,
                            f"A request has at most {self._max_message_bytes} bytes.",
                        )
                return bytes(body)
        raise ServingError(StatusCode.DEADLINE_EXCEEDED, f"No request within {TIMEOUT:.0f} s.")

    def _post(self, path, body, deadline):
        spec, match = _spec(POST, "POST", path)
        method = match["method"].lower()
        with self._core.request(spec.name, method.capitalize(), "REST"):
            document = parse(body)
            spec.signature_name = document.get("signature_name", "")
            if method == "predict":
                _, outputs = self._core.predict(
                    spec, lambda signature: inputs_of(document, signature), deadline=deadline
                )
                return answer_of(outputs, rows="instances" in document)
            given = input_of(document)
            if method == "classify":
                request = classification_pb2.ClassificationRequest(model_spec=spec, input=given)
                return results_of(self._core.classify(request, deadline).result)
            request = regression_pb2.RegressionRequest(model_spec=spec, input=given)
            return results_of(self._core.regress(request, deadline).result)

    def _get(self, path, body, deadline):
        spec, match = _spec(GET, "GET", path)
        if match["metadata"]:
            request = get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=spec, metadata_field=["signature_def"]
            )
            return _metadata_json(self._core.metadata(request))
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        status = self._core.status(request)
        return json_format.MessageToJson(
            status, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
        )


def _metadata_json(response):
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    as_dict = {
        name: json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
        )
        for name, message in (("model_spec", response.model_spec), ("signature_def", signatures))
    }
    metadata = {"signature_def": as_dict["signature_def"]}
    return encode({"model_spec": as_dict["model_spec"], "metadata": metadata})


def _spec(pattern, method, path):
    match = pattern.fullmatch(path)
    if match is None:
        raise ServingError(StatusCode.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
    spec = model_pb2.ModelSpec(name=match["name"])
    if match["version"]:
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = match["label"]
    return spec, match


async def _http_error(request, error):
    return _error(error.status_code, f"{error.detail}: {request.method} {request.url.path}")


def _error(status, message):
    return Response(encode({"error": message}), status, media_type="application/json")
