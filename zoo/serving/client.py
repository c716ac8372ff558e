"""A client for served models: photographs in, sentences out; videos in, activities or sentences.

It needs grpc and tensorflow-serving-api, for videos also the extra `video`, and speaks to the
stock server as well.
"""

import math
import os
import pathlib
import random
import time
from typing import NamedTuple

import grpc
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

MAX_MESSAGE_BYTES = 32 * 2**20  # the limit of `lrcn serve`; the stock server takes more
BATCH_SIZE = 32  # rows of a request
BACKOFF_SECONDS = 0.1  # before the second try; doubled before each further one
LONGEST_BACKOFF_SECONDS = 2.0
OK = "ok"  # status of a row that was answered; see zoo.serving.signatures.pictures
HINTS = {
    grpc.StatusCode.UNAVAILABLE: "Is a server running there? Start one with: lrcn serve FOLDER",
    grpc.StatusCode.DEADLINE_EXCEEDED: "Give it more time, or less at once.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "The server is at a limit: send less at a time.",
}


class Captioned(NamedTuple):
    """What the server says of one photograph."""

    status: str  # "ok", or why there is no caption
    captions: list[str]  # best first; empty where the status is not "ok"
    log_probs: list[float]
    # Of each caption, from 0 to 1, and whether it is below the model's threshold; None if the model
    # has no fitted confidence.
    confidences: list[float] | None = None
    unsure: list[bool] | None = None


class Scored(NamedTuple):
    """How probable the server finds a sentence for a photograph."""

    status: str  # "ok", or why there is no number
    log_prob: float | None


class Classified(NamedTuple):
    """What the server says of one video."""

    labels: list[str]  # the most probable first
    probabilities: list[float]
    distance: tuple | None = None  # to the training videos; see `compare_with_training`


class Described(NamedTuple):
    """What the server says of one video, or of a segment of it."""

    sentences: list[str]  # best first
    log_probs: list[float]


class Found(NamedTuple):
    """How well a photograph fits a sentence."""

    index: int  # of the photograph, in the list that was given
    status: str  # "ok", or why there are no numbers
    score: float | None  # the log-probability of the sentence, less the log of what it is elsewhere
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
    """Asks a model server, ours or the stock one.

    Args:
        address: `"host:port"` of gRPC.
        model: Name of the model; None for the one that `lrcn export` gives to models of a kind.
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
        print(client.classify("street.mp4").labels[0])
        print(client.describe("kitchen.mp4").sentences[0])
    ```
    """

    def __init__(
        self,
        address,
        model=None,
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
        # All outputs: a model without confidence would refuse to be asked for it by name.
        answers = self._ask("serving_default", images, {}, [])
        results = []
        for status, answer in answers:
            captions, log_probs = answer.get("captions", []), answer.get("log_probs", [])
            if status == OK and len(captions) < n_best:
                raise ValueError(
                    f"The model gives {len(captions)} captions of an image. Got n_best={n_best}"
                )
            good = n_best if status == OK else 0
            confidences, unsure = None, None
            if "confidences" in answer:
                confidences = list(answer["confidences"][:good])
                unsure = list(answer["unsure"][:good])
            results.append(
                Captioned(
                    status=status,
                    captions=[caption.decode() for caption in captions[:good]],
                    log_probs=list(log_probs[:good]),
                    confidences=confidences,
                    unsure=unsure,
                )
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

    def search(self, sentence, images):
        """Ranks photographs by how much likelier they make a sentence than others do.

        Args:
            sentence: The sentence.
            images: Like those of `caption`; each is encoded once.

        Returns:
            List of `Found`, the best first; those that cannot be read come last.

        Raises:
            ServerError: If the server gives no answer.
            ValueError: If the sentence has no word that the model knows. `unknown_words` lists
                those that it does not.
        """
        if not _has_word(sentence):
            raise ValueError(f"Expected a sentence with at least one word. Received: {sentence!r}")
        model, found = "lrcn_retrieval", [None] * len(images)
        answers = self._ask("features", images, {}, ["features", "status"], model)
        good = [i for i, (status, _) in enumerate(answers) if status == OK]
        prior = self._ask_prior(sentence)
        known = prior.get("num_known_words")  # an older export does not count them
        if known is not None and not known.int_val[0]:
            unknown = prior["unknown_words"].string_val[0].decode()
            raise ValueError(
                f"Expected a sentence with at least one word of the model's vocabulary. Received: "
                f"{sentence!r} (unknown words: {unknown}). Use other words."
            )
        for start in range(0, len(good), BATCH_SIZE):
            batch = good[start : start + BATCH_SIZE]
            inputs = {
                "features": _floats([answers[i][1]["features"] for i in batch]),
                "sentence": _strings([sentence.encode()] * len(batch)),
            }
            scored = self._predict(model, "score_features", inputs, ["log_prob"])
            for i, log_prob in zip(batch, scored["log_prob"].float_val, strict=True):
                found[i] = Found(i, OK, log_prob - prior["log_prior"].float_val[0], log_prob)
        for i, (status, _) in enumerate(answers):
            found[i] = found[i] or Found(i, status, None, None)
        return sorted(found, key=lambda f: -math.inf if f.score is None else f.score, reverse=True)

    def unknown_words(self, sentence):
        """Lists the words of a sentence that the served retrieval model does not know.

        Args:
            sentence: The sentence.

        Returns:
            List of strings, in the order of the sentence.

        Raises:
            ServerError: If the server gives no answer.
            ValueError: If the served model was exported by an older version.
        """
        prior = self._ask_prior(sentence)
        if "unknown_words" not in prior:
            raise ValueError(
                "The served model does not list unknown words. Export it again with this version."
            )
        return list(dict.fromkeys(prior["unknown_words"].string_val[0].decode().split()))

    def classify(self, video, top=5):
        """Names the activity in a video.

        Args:
            video: Path of a file, or of a folder of frames.
            top: How many activities, at most.

        Returns:
            `Classified`: the mean over the clips of the video. Where its `distance` says
            `is_unlike`, the labels are not to be trusted.

        Raises:
            zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
            ServerError: If the server gives no answer.
        """
        clips = [said for *_, said in self.classify_clips(video)]
        mean = {label: sum(said[label] for said in clips) / len(clips) for label in clips[0]}
        best = sorted(mean, key=mean.get, reverse=True)[:top]
        probabilities = [mean[label] for label in best]
        return Classified(best, probabilities, self.compare_with_training(video))

    def classify_clips(self, video):
        """Names the activity in a video over time, in memory that does not grow with its length.

        The video is cut as the model wants it: it says so itself. Each frame is sent once.

        Args:
            video: Path of a file, or of a folder of frames.

        Yields:
            For each clip `(start, end, probabilities)`: seconds, and a dict from label to
            probability, in the order of the model's classes. The last clip ends with the video.

        Raises:
            zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
            ServerError: If the server gives no answer.
        """
        from zoo.serving.video_client import classify_clips  # reads videos: the extra `video`

        return classify_clips(self._predict_activity, video)

    def compare_with_training(self, video):
        """Compares a video with the videos that the served recognizer was trained on.

        Args:
            video: Path of a file, or of a folder of frames.

        Returns:
            `zoo.models.feature_statistics.TrainingDistance` with `distance`, `threshold` and
            `is_unlike`; None where the model was exported without statistics.

        Raises:
            zoo.data.videos.reading.VideoError: If the video cannot be read.
            ServerError: If the server gives no answer.
        """
        from zoo.serving.video_client import compare_with_training

        return compare_with_training(self._predict_activity, video)

    def scope(self):
        """Returns the scope of the served recognizer, one sentence, or None.

        Raises:
            ServerError: If the server gives no answer.
        """
        from zoo.serving.video_client import read_scope

        return read_scope(self._predict_activity)

    def _predict_activity(self, signature, inputs, outputs):
        return self._predict("lrcn_activity_recognizer", signature, inputs, outputs)

    def describe(self, video):
        """Tells in a sentence what a video shows.

        Args:
            video: Path of a file, or of a folder of frames.

        Returns:
            `Described`, of frames all over the video.

        Raises:
            zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
            ServerError: If the server gives no answer.
        """
        ((_, _, described),) = self.describe_segments(video)
        return described

    def describe_segments(self, video, seconds=None):
        """Tells what a video shows over time, in memory that does not grow with its length.

        Frames are taken as the model wants them: it says so itself.

        Args:
            video: Path of a file, or of a folder of frames.
            seconds: Length of a segment, None for the whole video; the last one is up to half as
                long again, or half as short.

        Yields:
            For each segment `(start, end, described)`: seconds, and `Described`.

        Raises:
            zoo.data.videos.reading.VideoError: If the video cannot be read to its end.
            ServerError: If the server gives no answer.
        """
        from zoo.serving.video_client import describe_segments  # reads videos: the extra `video`

        def predict(signature, inputs, outputs):
            return self._predict("lrcn_video_describer", signature, inputs, outputs)

        for start, end, *said in describe_segments(predict, video, seconds):
            yield start, end, Described(*said)

    def _ask_prior(self, sentence):
        """Dict of all that the retrieval model answers about a sentence without an image."""
        return self._predict(
            "lrcn_retrieval", "prior", {"sentence": _strings([sentence.encode()])}, []
        )

    def _ask(self, signature, images, others, outputs, model="lrcn_captioner"):
        """A list of a status and a dict of the outputs, one for each image; [] asks for all."""
        if isinstance(images, str | bytes | os.PathLike):
            raise TypeError(f"Expected a list of images, such as [image]. Got {type(images)}")
        results, rows, size = [None] * len(images), [], 0
        limit = self._max_message_bytes * 9 // 10  # a message is a little more than its images

        def send():
            if rows:
                columns = {"image_bytes": [image for _, image in rows]}
                columns |= {name: [values[i] for i, _ in rows] for name, values in others.items()}
                columns = {name: _strings(values) for name, values in columns.items()}
                tensors = self._predict(model, signature, columns, outputs)
                by_name = {name: _rows(tensor, len(rows)) for name, tensor in tensors.items()}
                for row, (i, _) in enumerate(rows):
                    answer = {name: values[row] for name, values in by_name.items()}
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

    def _predict(self, model, signature, inputs, outputs):
        """Sends tensors; answers with a dict of those that are wanted, [] for all."""
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = self._model or model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, tensor in inputs.items():
            request.inputs[name].CopyFrom(tensor)
        return self._call(request).outputs

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


def _strings(values):
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def _floats(rows):
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT)
    for size in (len(rows), len(rows[0])):
        tensor.tensor_shape.dim.add(size=size)
    for row in rows:
        tensor.float_val.extend(row)
    return tensor


def _rows(tensor, rows):
    """The values of a tensor, a list for each row."""
    fields = {types_pb2.DT_STRING: tensor.string_val, types_pb2.DT_BOOL: tensor.bool_val}
    values = fields.get(tensor.dtype, tensor.float_val)
    per_row = len(values) // rows
    return [values[i * per_row : (i + 1) * per_row] for i in range(rows)]


def _has_word(sentence):
    """Whether a sentence has a letter or a digit, as `zoo.text.vocabulary.has_word` tells."""
    return any(map(str.isalnum, sentence))
