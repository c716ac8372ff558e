"""A client for a served captioner: photographs in, sentences out.

It needs grpc and tensorflow-serving-api, and speaks to the stock server as well.
"""

import os
import pathlib
import random
import time
from typing import NamedTuple

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

MAX_MESSAGE_BYTES = 32 * 2**20  # the limit of `lrcn serve`; the stock server takes more
BATCH_SIZE = 32  # rows of a request
BACKOFF_SECONDS = 0.1  # before the second try; doubled before each further one
LONGEST_BACKOFF_SECONDS = 2.0
OK = "ok"  # status of a row that was answered; see zoo.serving.signatures
HINTS = {
    grpc.StatusCode.UNAVAILABLE: "Is a server running there? Start one with: lrcn serve FOLDER",
    grpc.StatusCode.DEADLINE_EXCEEDED: "Give it more time, or fewer images.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "The server is at a limit: send less at a time.",
}


class Captioned(NamedTuple):
    """What the server says of one photograph."""

    status: str  # "ok", or why there is no caption
    captions: list[str]  # best first; empty where the status is not "ok"
    log_probs: list[float]


class Scored(NamedTuple):
    """How probable the server finds a sentence for a photograph."""

    status: str  # "ok", or why there is no number
    log_prob: float | None


class ServerError(RuntimeError):
    """The server gave no answer, or an error.

    Attributes:
        code: `grpc.StatusCode`.
    """

    def __init__(self, address, code, details):
        hint = HINTS.get(code, "")
        super().__init__(f"The server {address} answers {code.name}: {details} {hint}".rstrip())
        self.code = code


class Client:
    """Asks a model server, ours or the stock one, for captions and scores.

    Args:
        address: `"host:port"` of gRPC.
        model: Name of the model.
        version: Number of the version, None for the newest.
        timeout: Seconds for a request, all its tries included.
        retries: How often a request is sent again when the server is UNAVAILABLE; never for
            another reason.
        tls: Whether to speak TLS.
        root_certificates: File with the certificates to trust, PEM; None trusts the usual ones.
        max_message_bytes: Limit on a request and on an answer.

    Example:

    ```python
    with Client("127.0.0.1:8500") as client:
        for photo in client.caption(["beach.jpg", "dog.jpg"], n_best=3):
            print(photo.captions[0] if photo.status == "ok" else photo.status)
    ```
    """

    def __init__(
        self,
        address,
        model="lrcn_captioner",
        version=None,
        timeout=60.0,
        retries=5,
        tls=False,
        root_certificates=None,
        max_message_bytes=MAX_MESSAGE_BYTES,
    ):
        self._address, self._model, self._version = address, model, version
        self._timeout, self._retries = timeout, retries
        self._max_message_bytes = max_message_bytes
        options = [
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.enable_retries", 0),  # they are made and counted here
            ("grpc.initial_reconnect_backoff_ms", 100),  # not slower than they are
        ]
        if tls or root_certificates:
            roots = root_certificates and pathlib.Path(root_certificates).read_bytes()
            credentials = grpc.ssl_channel_credentials(roots)
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def caption(self, images, n_best=1):
        """Describes photographs.

        Args:
            images: List of paths, or of the bytes of files, or of both.
            n_best: Captions of a photograph, at most as many as the model was exported with.

        Returns:
            List of `Captioned`, one for each image. A photograph that cannot be read, here or
            there, says so in its status and leaves the others alone.

        Raises:
            ServerError: If the server gives no answer.
            ValueError: If the model answers with fewer captions.
        """
        answers = self._ask("serving_default", images, {}, ["captions", "log_probs", "status"])
        results = []
        for status, answer in answers:
            captions, log_probs = answer.get("captions", []), answer.get("log_probs", [])
            if status == OK and len(captions) < n_best:
                raise ValueError(
                    f"The model {self._model} gives {len(captions)} captions of an image. "
                    f"Got n_best={n_best}"
                )
            good = n_best if status == OK else 0
            results.append(
                Captioned(status, [c.decode() for c in captions[:good]], list(log_probs[:good]))
            )
        return results

    def score(self, images, sentences):
        """Log-probabilities of sentences, each for its photograph.

        Args:
            images: Like those of `caption`.
            sentences: List of strings, as many as images.

        Returns:
            List of `Scored`.

        Raises:
            ServerError: If the server gives no answer.
        """
        if isinstance(sentences, str) or len(sentences) != len(images):
            raise ValueError(
                f"Expected a list of {len(images)} sentences, one for each image. Got {sentences!r}"
            )
        sentences = {"sentence": [sentence.encode() for sentence in sentences]}
        answers = self._ask("score", images, sentences, ["log_prob", "status"])
        return [
            Scored(status, answer["log_prob"][0] if status == OK else None)
            for status, answer in answers
        ]

    def _ask(self, signature, images, others, outputs):
        """A list of a status and a dict of the outputs, one for each image."""
        if isinstance(images, str | bytes | os.PathLike):
            raise TypeError(f"Expected a list of images, such as [image]. Got {type(images)}")
        results, rows, size = [None] * len(images), [], 0
        limit = self._max_message_bytes * 9 // 10  # a message is a little more than its images

        def send():
            if rows:
                columns = {"image_bytes": [image for _, image in rows]}
                columns |= {name: [values[i] for i, _ in rows] for name, values in others.items()}
                answers = self._predict(signature, columns, outputs)
                for (i, _), answer in zip(rows, answers, strict=True):
                    results[i] = (answer["status"][0].decode(), answer)

        for i, image in enumerate(images):
            try:
                image = image if isinstance(image, bytes) else pathlib.Path(image).read_bytes()
            except OSError as error:
                results[i] = (f"cannot be read: {error.strerror}", {})
                continue
            if len(image) > limit:
                results[i] = (f"too large: {len(image)} bytes do not fit into a message", {})
                continue
            if len(rows) == BATCH_SIZE or size + len(image) > limit:
                send()
                rows, size = [], 0
            rows.append((i, image))
            size += len(image)
        send()
        return results

    def _predict(self, signature, columns, outputs):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, values in columns.items():
            tensor = request.inputs[name]
            tensor.dtype = types_pb2.DT_STRING
            tensor.tensor_shape.dim.add(size=len(values))
            tensor.string_val.extend(values)
        response = self._call(request)
        rows = len(columns["image_bytes"])
        by_name = {name: _rows(response.outputs[name], rows) for name in outputs}
        return [{name: by_name[name][i] for name in outputs} for i in range(rows)]

    def _call(self, request):
        deadline, backoff, retries = time.monotonic() + self._timeout, BACKOFF_SECONDS, 0
        while True:
            left = max(deadline - time.monotonic(), 0)
            try:
                return self._stub.Predict(request, timeout=left)
            except grpc.RpcError as error:
                last = retries == self._retries or left < backoff
                if last or error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise ServerError(self._address, error.code(), error.details()) from None
            time.sleep(backoff * random.uniform(0.5, 1))  # so that clients do not come all at once
            backoff, retries = min(2 * backoff, LONGEST_BACKOFF_SECONDS), retries + 1


def _rows(tensor, rows):
    """The values of a tensor, a list for each row."""
    values = tensor.string_val if tensor.dtype == types_pb2.DT_STRING else tensor.float_val
    per_row = len(values) // rows
    return [values[i * per_row : (i + 1) * per_row] for i in range(rows)]
