"""What a server accepts, how it batches, and what its replicas take."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on requests, and how they share a device call."""

    body_bytes: int = 1_000_000
    """Largest body of a request."""
    body_seconds: float = 10.0
    """Time in which a body must arrive."""
    answer_seconds: float = 30.0
    """Time after which a request that has no answer yet is given up."""
    requests: int = 64
    """Most recommendations asked for in one call."""
    k: int = 100
    """Most items of a list; a run with beam search lists at most as many as it has beams."""
    history: int = 1000
    """Most items of a new user's history."""
    names: int = 10_000
    """Most names in an exclude or allow list, and most events in a call."""
    name_length: int = 200
    """Most characters of a new user's or item's name; a title may have five times as many."""
    queue: int = 256
    """Requests that may wait for one model; beyond, the answer is 503 with Retry-After."""
    wait_ms: float = 2.0
    """How long a request waits for others to share its device call."""
    batch_sizes: tuple[int, ...] = (1, 8, 16, 32)
    """Numbers of requests that device calls are compiled for; a batch is padded to the next."""

    store_seconds: float = 2.0
    """How often the runs' stores are looked at for what another process has written, such as jaxrec update."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "batch_sizes":
                if not value or list(value) != sorted(set(value)) or value[0] < 1:
                    raise ValueError(f"batch_sizes={value} must rise, from at least 1")
            elif value < 0 or (value == 0 and field.name != "wait_ms"):
                raise ValueError(f"{field.name}={value} must be above 0")
        if self.queue < self.requests:
            raise ValueError(f"queue={self.queue} must hold a call of requests={self.requests}; raise it")


@dataclasses.dataclass(frozen=True)
class Replicas:
    """How many processes serve, and what each takes of the cluster."""

    count: int = 1
    """Number of replicas, which Ray spreads over the cluster; each loads and compiles all runs."""
    cpus: float = 1.0
    """CPUs that Ray sets aside for a replica."""
    gpus: float = 0.0
    """GPUs that Ray sets aside for a replica, and alone shows to it."""
    tpus: float = 0.0
    """TPU chips that Ray sets aside for a replica."""

    def __post_init__(self) -> None:
        if self.count < 1 or min(self.cpus, self.gpus, self.tpus) < 0:
            raise ValueError(f"{self}: there is at least one replica, and none takes less than nothing")
