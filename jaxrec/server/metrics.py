"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes:
      registry: that holds them.
      requests: answered requests by path, method and status.
      latency: seconds of a request by path.
      stages: seconds of a batch by model and stage: "prompts", "device".
      batches: requests in a device call, by model.
      queue: requests that wait, by model.
      events: new events by model.
      version: of each model.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        name = "jaxrec_{}".format
        self.requests = Counter(name("requests"), "Answered requests", ["path", "method", "status"], registry=registry)
        self.latency = Histogram(
            name("request_seconds"), "Seconds of a request", ["path"], registry=registry, buckets=SECONDS
        )
        self.stages = Histogram(
            name("stage_seconds"), "Seconds of a batch's stage", ["model", "stage"], registry=registry, buckets=SECONDS
        )
        self.batches = Histogram(
            name("batch_size"), "Requests in a device call", ["model"], registry=registry, buckets=(1, 2, 4, 8, 16, 32)
        )
        self.queue = Gauge(name("queue_length"), "Requests that wait", ["model"], registry=registry)
        self.events = Counter(name("events"), "New events", ["model"], registry=registry)
        self.version = Info(name("model"), "Version of config and weights", ["model"], registry=registry)

    def count(self, path: str, method: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        labels = path, method, status
        if labels not in self._counted:  # looking labels up takes as long as counting
            self._counted[labels] = self.requests.labels(path, method, str(status)), self.latency.labels(path)
        requests, latency = self._counted[labels]
        requests.inc()
        latency.observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
