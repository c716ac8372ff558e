"""The model server for one machine: gRPC, REST, health and metrics around `Core`."""

import logging
import pathlib
import signal
import socket
import threading
from concurrent import futures

import grpc
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from zoo.serving.local_server import inference
from zoo.serving.local_server.batching import Batcher, OneByOne
from zoo.serving.local_server.batching_parameters import read_parameters
from zoo.serving.local_server.core import Core
from zoo.serving.local_server.manager import Manager
from zoo.serving.local_server.metrics import Metrics
from zoo.serving.local_server.rest import RestApi
from zoo.serving.local_server.services import ModelService, PredictionService
from zoo.serving.local_server.sources import read_source

MAX_MESSAGE_BYTES = 32 * 2**20  # some dozen photographs
MAX_IN_FLIGHT = 64  # requests; with messages of the largest size, 2 GB of memory
GRACE_SECONDS = 30.0  # for what is in flight when the server stops
# The names under which the stock server reports its health, and "" for all of it.
HEALTH_NAMES = ("", "ModelService", "PredictionService")


class Server:
    """A model server in this process; see `serve`.

    Args:
        saved_models: Folder of models, or file with a `ModelServerConfig`.
        port: Of gRPC; 0 takes a free one.
        rest_port: Of REST and metrics; 0 takes a free one, None leaves them out.
        host: Address to listen on.
        key: File with the private key for TLS, PEM; goes with `certificate`.
        certificate: File with the certificate chain for TLS, PEM.
        batch: File with batching parameters; None runs requests one by one.
        max_message_bytes: Limit on a request and on an answer.
        max_in_flight: Limit on requests under way.
        poll_seconds: How often new versions are looked for.

    Attributes:
        port: The port that gRPC listens on.
        rest_port: The port that REST listens on, or None.
    """

    def __init__(
        self,
        saved_models,
        port=8500,
        rest_port=8501,
        host="127.0.0.1",
        key=None,
        certificate=None,
        batch=None,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_in_flight=MAX_IN_FLIGHT,
        poll_seconds=1.0,
    ):
        if (key is None) != (certificate is None):
            raise ValueError("TLS needs both a key and a certificate. Got one of them.")
        self._manager = Manager(read_source(saved_models), inference.load, poll_seconds)
        self._runner = Batcher(read_parameters(batch)) if batch else OneByOne()
        self.core = Core(self._manager, self._runner, Metrics(), max_in_flight)
        self._health = health.HealthServicer()
        self._grpc = self._make_grpc(max_message_bytes, max_in_flight)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if key is None:
                self.port = self._grpc.add_insecure_port(address)
            else:
                pair = pathlib.Path(key).read_bytes(), pathlib.Path(certificate).read_bytes()
                self.port = self._grpc.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise ValueError(f"Cannot listen on {address}: {error}") from error
        self.rest_port = self._rest = None
        if rest_port is not None:
            self._make_rest(host, rest_port, key, certificate, max_message_bytes, max_in_flight)

    def start(self):
        """Loads the models, then answers requests, in threads.

        Raises:
            ValueError: If there is no model, or one cannot be loaded.
        """
        self._manager.start()
        self._grpc.start()
        if self._rest is not None:
            self._rest_thread.start()
        for name in HEALTH_NAMES:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace=GRACE_SECONDS):
        """Takes no new request, finishes those in flight, then ends.

        Args:
            grace: Seconds after which those that are still in flight are cancelled.
        """
        self._health.enter_graceful_shutdown()
        stopped = self._grpc.stop(grace)
        if self._rest is not None and self._rest_thread.is_alive():
            self._rest.should_exit = True
            self._rest_thread.join(grace)
        stopped.wait()
        self._runner.stop()
        self._manager.stop()

    def models(self):
        """List of `(name, version)` of what is served."""
        return self._manager.available()

    def _make_grpc(self, max_message_bytes, max_in_flight):
        # Beyond the limit of `Core` there is room to say so, and for health and status.
        threads = max_in_flight + 8
        server = grpc.server(
            futures.ThreadPoolExecutor(threads, "grpc"),
            maximum_concurrent_rpcs=threads,  # then gRPC itself says RESOURCE_EXHAUSTED
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.so_reuseport", 0),  # two servers on one port would share the requests
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self.core), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self.core), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    def _make_rest(self, host, port, key, certificate, max_message_bytes, max_in_flight):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ValueError(f"Cannot listen on {host}:{port}: {error}") from error
        self.rest_port = listener.getsockname()[1]
        config = uvicorn.Config(
            RestApi(self.core, max_message_bytes, max_in_flight).app(),
            ssl_keyfile=key,
            ssl_certfile=certificate,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
        self._rest = uvicorn.Server(config)
        self._rest_thread = threading.Thread(
            target=self._rest.run, args=([listener],), name="rest", daemon=True
        )


def serve(saved_models, **options):
    """Serves models until it is told to stop by SIGTERM or Ctrl-C.

    This server is for one machine: for a demonstration, for tests, for a desk. It speaks the
    protocol of TensorFlow's model server and gives the same answers with the same status codes.
    For traffic, give the same folder to the stock server, unchanged:

    ```
    docker compose -f saved_models/compose.yaml up
    ```

    That both answer alike rests on the tests of this package, which were written after the stock
    server's source. They were not run against its binary.

    New versions in the folder are loaded and warmed up aside, then take over; the old ones finish
    what they have begun. It listens on loopback unless `host` says otherwise: whoever reaches the
    port may use the models, and may ask it to load others (`HandleReloadConfigRequest`).

    Args:
        saved_models: Folder with `<name>/<version>/` for each model, such as
            `zoo.serving.export.export` writes; the newest version of each is served. Or a file
            with a `ModelServerConfig`, the stock server's `--model_config_file`.
        **options: See `Server`.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If there is no model, or one cannot be loaded, or a port is taken, or an
            option makes no sense.

    Source:
        https://github.com/tensorflow/serving, tensorflow_serving/model_servers/server.cc
    """
    stop = threading.Event()

    def ask_to_stop(number, _):
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # who asks twice does not want to wait

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("zoo.serving").setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it comments on every load
    server = Server(saved_models, **options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    server.start()
    names = ", ".join(f"{name} (version {number})" for name, number in server.models())
    ports = f"gRPC on port {server.port}"
    if server.rest_port is not None:
        ports += f", REST on port {server.rest_port}"
    print(f"Serving {names}, {ports}. Ctrl-C stops it.", flush=True)
    # The system may hand a signal to another thread, which does not wake this one: seen once, and
    # the server stood for ever.
    while not stop.wait(1):
        pass
    print("Finishing what is in flight.", flush=True)
    server.stop()
