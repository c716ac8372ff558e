"""Small models on disk, and servers for them, for the tests of the server and the client."""

import atexit
import contextlib
import functools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from zoo import (
    lrcn_activity_recognizer,
    lrcn_captioner,
    lrcn_video_describer,
    semantic_role_recognizer,
)
from zoo.models.backbones import image_encoder
from zoo.models.confidence import CaptionConfidence
from zoo.serving.export import export
from zoo.serving.local_server.servable import Servable
from zoo.serving.local_server.server import Server
from zoo.text.vocabulary import Vocabulary

LOOPBACK = "127.0.0.1"
X = [[1.0, 2.0], [3.0, 4.0]]
WORDS = ["<eos>", "<unk>", "a", "red", "blue", "square", "café", "on", "grass"]


class Toy(tf.Module):
    """Multiplies; and has a signature of every kind that a server knows."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def multiply(self, x):
        return {"y": self.factor * x, "sum": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        scores = tf.tile([[0.25, 0.75]], [tf.shape(inputs)[0], 1])
        return {"classes": tf.where(scores > 0.5, "yes", "no"), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self.factor * tf.cast(tf.strings.length(inputs), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def weigh(self, inputs):
        """The features of an example, which are of three types: their sum, and 100 a letter."""
        types = {"whole": tf.int64, "decimal": tf.float32, "text": tf.string}
        features = {name: tf.io.RaggedFeature(dtype) for name, dtype in types.items()}
        features = tf.io.parse_example(inputs, features)
        letters = tf.reduce_sum(tf.strings.length(features["text"]), axis=1)
        whole = tf.reduce_sum(features["whole"], axis=1)
        decimal = tf.reduce_sum(features["decimal"], axis=1)
        return {
            "outputs": tf.cast(whole, tf.float32) + decimal + 100 * tf.cast(letters, tf.float32)
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "n")])
    def kinds(self, n):
        text = tf.strings.as_string(n)
        bits = tf.reshape(n > 0, [-1, 1])
        return {"text": text, "raw_bytes": text, "bits": bits, "wide": tf.cast(n, tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def mean(self, x):
        return {"mean": tf.reduce_mean(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "index")])
    def pick(self, index):
        return {"value": tf.gather([1.0, 2.0], index)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "n")], autograph=False)
    def slow(self, n):
        """Many seconds of work, in small steps."""
        end = tf.reduce_max(n)
        return {"n": n + tf.while_loop(lambda i: i < end, lambda i: i + 1, [0])}


def folder_for_this_run():
    """An empty folder that is gone when the tests are done."""
    folder = pathlib.Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def toy_export(factor):
    folder = folder_for_this_run()
    toy = Toy(factor)
    names = ("classify", "regress", "weigh", "kinds", "mean", "pick", "slow")
    signatures = {"serving_default": toy.multiply, **{name: getattr(toy, name) for name in names}}
    tf.saved_model.save(toy, folder, signatures=signatures)
    return folder


def write_toy(saved_models, version=1, factor=2.0, name="toy"):
    """Puts a version where a server finds it, in one step, as an export does."""
    base = pathlib.Path(saved_models) / name
    base.mkdir(parents=True, exist_ok=True)
    aside = base / f".aside-{version}"
    shutil.copytree(toy_export(factor), aside)
    return aside.rename(base / str(version))


def make_captioner():
    keras.utils.set_random_seed(3)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3, strides=4)])
    captioner = lrcn_captioner(image_encoder(network, (1 / 255, 0.0)), len(WORDS), lstm_units=8)
    captioner.vocabulary = Vocabulary(WORDS)
    for weight in captioner.decoder.trainable_variables:  # or all sentences would be alike
        weight.assign(np.array(weight) * 12)
    return captioner


@functools.cache
def tiny_captioner():
    """Of pictures of 16 pixels; 8 units."""
    return make_captioner()


@functools.cache
def confident_captioner():
    """`tiny_captioner` with a confidence; some of its captions are unsure."""
    captioner = make_captioner()
    captioner.confidence = CaptionConfidence(
        quantities=["log_prob_per_word", "weighted_gain_per_word", "beam_range"],
        means=[-1.65, 0.03, 0.1],
        scales=[0.15, 0.06, 0.1],
        weights=[1.2, 0.5, -0.2],
        bias=0.1,
        threshold=0.45,
    )
    return captioner


@functools.cache
def captioner_export():
    """Folder with an exported captioner of 16 pixels and 8 units."""
    saved_models = folder_for_this_run()
    export(tiny_captioner(), saved_models, card="# Tiny")
    return saved_models


@functools.cache
def confident_export():
    """Folder with an exported `confident_captioner`."""
    saved_models = folder_for_this_run()
    export(confident_captioner(), saved_models, card="# Tiny")
    return saved_models


@functools.cache
def retrieval_export():
    """Folder with an exported `tiny_captioner` that ranks, and knows 7 images besides."""
    captioner, saved_models = tiny_captioner(), folder_for_this_run()
    captioner.prior_features = np.random.default_rng(5).normal(size=(7, 6)).astype("float32")
    export(captioner, saved_models, card="# Tiny", for_retrieval=True)
    return saved_models


@functools.cache
def tiny_recognizer():
    """Of frames of 16 pixels, cut out of 20 x 24; 3 classes, 8 units."""
    keras.utils.set_random_seed(4)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3, strides=4)])
    encoder = image_encoder(network, (1 / 255, 0.0))
    recognizer = lrcn_activity_recognizer(encoder, 3, 4, lstm_units=8)
    for weight in recognizer.trainable_variables:  # or all answers would be alike
        weight.assign(np.array(weight) * 6)
    recognizer.class_names = ["walk", "run", "café"]
    frames = {"modality": "rgb", "rate": 10.0, "size": [20, 24], "clip_length": 4, "stride": 2}
    recognizer.metadata = {"frames": frames}
    return recognizer


@functools.cache
def recognizer_export():
    """Folder with an exported `tiny_recognizer`."""
    saved_models = folder_for_this_run()
    export(tiny_recognizer(), saved_models, card="# Tiny")
    return saved_models


@functools.cache
def tiny_describer(visual="label_probabilities", architecture="decoder"):
    """Of frames of 16 pixels, cut out of 20 x 24; it reads labels of two roles, or the frames."""
    keras.utils.set_random_seed(5)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3, strides=4)])
    source, roles = image_encoder(network, (1 / 255, 0.0)), None
    if visual != "frames":
        source = semantic_role_recognizer(source, [3, 2], lstm_units=8)
        roles = source.roles = {"activity": ["none", "runs", "café"], "object": ["none", "dog"]}
    describer = lrcn_video_describer(
        source, len(WORDS), visual, architecture, embedding_dim=8, lstm_units=8
    )
    for weight in describer.weights:  # or all answers would be alike
        if "moving" not in weight.path and "seed" not in weight.path:
            weight.assign(np.random.default_rng(6).normal(0, 2, weight.shape))
    describer.decoder.logits.bias.assign([-6.0] + [0.0] * (len(WORDS) - 1))  # not to end at once
    describer.vocabulary, describer.roles = Vocabulary(WORDS), roles
    frames = {"modality": "rgb", "rate": 10.0, "size": [20, 24], "max_frames": 6}
    describer.metadata = {"frames": frames}
    return describer


@functools.cache
def describer_export():
    """Folder with an exported `tiny_describer`."""
    saved_models = folder_for_this_run()
    export(tiny_describer(), saved_models, card="# Tiny")
    return saved_models


def warm_up_requests(version):
    """`ModelSpec` and dict of arrays of each record."""
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec, inputs


def predict(spec="name: 'toy'", inputs=None, output_filter=()):
    """A request; without inputs for the toy's default signature. `spec` is text, or None."""
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    if spec is not None:
        request.model_spec.SetInParent()
        text_format.Parse(spec, request.model_spec)
    for name, value in ({"x": X} if inputs is None else inputs).items():
        is_proto = isinstance(value, tensor_pb2.TensorProto)
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


@contextlib.contextmanager
def running(saved_models, **options):
    """A server in this process, on free ports."""
    options = {"port": 0, "rest_port": None, "poll_seconds": 0.05, **options}
    server = Server(saved_models, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop(grace=5)


@contextlib.contextmanager
def stub_of(server, service=prediction_service_pb2_grpc.PredictionServiceStub):
    with grpc.insecure_channel(f"{LOOPBACK}:{server.port}") as channel:
        yield service(channel)


class Gate(threading.Event):
    """Holds every request inside the model until it is set."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.inside = threading.Semaphore(0)
        run = Servable.run

        def held(*args):
            self.inside.release()
            assert self.wait(20)
            return run(*args)

        monkeypatch.setattr(Servable, "run", held)

    def wait_for(self, requests):
        """Waits until so many requests are inside."""
        for _ in range(requests):
            assert self.inside.acquire(timeout=20)


def make_certificate(folder):
    """Files with a key and a certificate for localhost, good for this test only."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("makes a certificate with openssl, which is not here")
    return key, certificate


@contextlib.contextmanager
def process(saved_models, **options):
    """A server in a process of its own, started as the command line does it; and its ports."""
    program = (
        "import sys; sys.argv[0] = 'lrcn'\n"
        "from zoo.serving.local_server.server import serve\n"
        f"serve({str(saved_models)!r}, **{ {'port': 0, 'rest_port': 0, **options}!r})\n"
        "print(sorted(name for name in sys.modules if name.startswith('zoo.')))"
    )
    command = [sys.executable, "-c", program]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ready = server.stdout.readline()
        yield server, [int(port) for port in re.findall(r"port (\d+)", ready)]
    finally:
        server.kill()
        server.wait(10)
