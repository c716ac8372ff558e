"""What the clients of a load send to a server, and whether they got what they should."""

import concurrent.futures
import io
import random
import struct
import time
import zlib
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from zoo.data.images.decode import decode_image, resize_image
from zoo.data.images.sample_pictures import sample_pictures

NAME = "lrcn_captioner"  # of the served model
KINDS = ("JPEG", "JPEG", "JPEG", "PNG", "JPEG", "JPEG", "JPEG", "PNG")  # crops of a photograph
LONGEST_SIDE = 500  # pixels, as in Flickr8k
TOLERANCE = 1e-4  # of a log-probability
PAUSE_SECONDS = 0.2  # between two looks at how far the clients are


class Case(NamedTuple):
    """A picture, and what the server has to say of it."""

    image: bytes
    status: str
    caption: str = ""
    log_prob: float = 0.0


class Answer(NamedTuple):
    """What the server said, which version of the model it was, and how long it took."""

    status: str
    caption: str
    log_prob: float
    version: int
    seconds: float


def difference(case, answer):
    """What is wrong with an answer, in a line, or None."""
    close = abs(answer.log_prob - case.log_prob) <= TOLERANCE
    if close and answer[:2] == (case.status, case.caption):
        return None
    return f"expected {case[1:]}, got {answer}"


def make_cases(captioner, requests, bad_share):
    """List of `Case`, drawn by chance, and the same each time."""
    chance = random.Random(1)
    good, bad = good_cases(captioner, chance), bad_cases()
    num_bad = round(requests * bad_share)
    cases = [chance.choice(good) for _ in range(requests - num_bad)]
    cases += [bad[i % len(bad)] for i in range(num_bad)]
    chance.shuffle(cases)
    return cases


def good_cases(captioner, chance):
    """Crops of real photographs, with what the library says of them."""
    files = []
    for path in sample_pictures():
        photograph = Image.open(path).convert("RGB")
        files += [_encode(_crop(photograph, chance), kind) for kind in KINDS]
    size = captioner.image_encoder.input_shape[1]
    images = np.stack([resize_image(decode_image(file), size) for file in files])
    decoded = captioner.generate(images)
    captions = [captioner.vocabulary.decode(ids[0]) for ids in decoded.token_ids]
    log_probs = decoded.log_probs[:, 0].tolist()
    return [Case(f, "ok", *said) for f, *said in zip(files, captions, log_probs, strict=True)]


def bad_cases():
    """A picture of each kind that cannot be described."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    jpeg = _encode(Image.linear_gradient("L"), "JPEG")
    return [
        Case(b"", "empty"),
        Case(b"<html>Not found</html>", "not an image"),
        Case(jpeg[: len(jpeg) // 2], "damaged"),
        Case(b"\x89PNG\r\n\x1a\n" + bomb, "too large"),
    ]


def ask_all(address, cases, clients, deadline, watch=lambda answers: None):
    """Sends every case from one of the clients.

    Args:
        address: `"host:port"` of gRPC.
        cases: List of `Case`.
        clients: How many send at the same time, each over a connection of its own.
        deadline: When to give up, on the clock `time.monotonic`.
        watch: Called with the answers so far, several times a second; None where there is none.

    Returns:
        List with an `Answer`, or with words why there is none, for each case.
    """
    answers = [None] * len(cases)
    # Threads are enough: a request is under a millisecond of work for them, and 40 for the server.
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        shares = [range(i, len(cases), clients) for i in range(clients)]
        waiting = {pool.submit(_be_client, address, cases, answers, s, deadline) for s in shares}
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, PAUSE_SECONDS)
            for client in done:
                client.result()
            watch(answers)
    return answers


def _be_client(address, cases, answers, share, deadline):
    options = [("grpc.use_local_subchannel_pool", 1)]  # or all clients would share a connection
    with grpc.insecure_channel(address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for i in share:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = NAME
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([cases[i].image]))
            start = time.monotonic()
            try:
                response = stub.Predict(request, timeout=max(deadline - start, 0))
            except grpc.RpcError as error:
                answers[i] = f"{error.code().name}: {error.details()}"
                continue
            seconds, outputs = time.monotonic() - start, response.outputs
            answers[i] = Answer(
                outputs["status"].string_val[0].decode(),
                outputs["caption"].string_val[0].decode(),
                outputs["log_prob"].float_val[0],
                response.model_spec.version.value,
                seconds,
            )


def _crop(photograph, chance):
    share = chance.uniform(0.5, 1)
    width, height = (round(share * side) for side in photograph.size)
    left = chance.randint(0, photograph.width - width)
    top = chance.randint(0, photograph.height - height)
    view = photograph.crop((left, top, left + width, top + height))
    view.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return view


def _encode(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()
