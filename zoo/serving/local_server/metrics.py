"""Counts and times of requests, under the names by which the stock server shows them."""

import threading

import prometheus_client
from prometheus_client import core as prometheus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH = "/monitoring/prometheus/metrics"
BUCKETS = [float(f"{10 * 1.8**i:.6g}") for i in range(33)]  # microseconds, up to 20 minutes


class Metrics:
    """Metrics of one server.

    `:tensorflow:serving:request_count` counts requests by model and status, and
    `:tensorflow:serving:request_latency` times the good ones, in microseconds, by model, API and
    entrypoint (GRPC or REST). Memory and CPU time of the process come along.

    Source:
        tensorflow_serving/servables/tensorflow/util.cc for names, labels and buckets,
        tensorflow_serving/util/prometheus_exporter.cc for how they are written.
    """

    def __init__(self):
        self._registry = prometheus_client.CollectorRegistry()
        self._counts, self._lock = {}, threading.Lock()
        self._registry.register(self)
        self._latency = prometheus_client.Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds of a request that was answered.",
            ["model_name", "API", "entrypoint"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        prometheus_client.ProcessCollector(registry=self._registry)

    def record(self, model, api, entrypoint, code, seconds):
        """Notes a request that is done.

        Args:
            model: Name of the model.
            api: `"Predict"`, `"Classify"`, ...
            entrypoint: `"GRPC"` or `"REST"`.
            code: `grpc.StatusCode`.
            seconds: How long it took.
        """
        with self._lock:
            key = (model, code.name)
            self._counts[key] = self._counts.get(key, 0) + 1
        if code.name == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def collect(self):
        """What prometheus_client asks for."""
        # A counter of prometheus_client would be named ..._total, the stock server's is not.
        name = ":tensorflow:serving:request_count"
        metric = prometheus.Metric(name, "Requests that were answered, well or not.", "unknown")
        with self._lock:
            counts = dict(self._counts)
        for (model, status), count in sorted(counts.items()):
            metric.add_sample(name, {"model_name": model, "status": status}, count)
        yield metric

    def page(self):
        """The text that Prometheus reads, bytes."""
        return prometheus_client.generate_latest(self._registry)
