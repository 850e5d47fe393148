"""Collects metrics from the device without blocking it; checks, averages, displays and writes them."""

from __future__ import annotations

import collections
import math
import pathlib
import time

import jax

from jaxrec.progress import Progress, logger
from jaxrec.training.writer import Writer


class Journal:
    """Fetches each step's metrics a few steps late, writes those of every `log_every`-th step, shows progress."""

    # Large enough that the device never waits for the host; bounded, because collectives of several virtual CPU devices
    # deadlock when dozens of steps are queued.
    LATE = 8

    def __init__(self, name: str, folder: pathlib.Path | None, steps: int, start: int, log_every: int) -> None:
        lead = jax.process_index() == 0
        self.writer = Writer(folder if lead else None, start)
        self.progress = Progress(name, steps) if lead else None
        self._loss_sum, self._loss_count = 0.0, 0  # since the last validation
        self._name, self._log_every = name, log_every
        self._pending: collections.deque = collections.deque()
        self.restart_clock()

    def restart_clock(self) -> None:
        """Rates are means since this call, so that compilation, validation and saving are excluded."""
        self._since, self._counts = time.monotonic(), collections.Counter()

    def add(self, step: int, metrics: dict[str, jax.Array], counts: dict[str, int]) -> None:
        """Adds a step's metrics, still on the device.

        Raises:
          FloatingPointError: loss or gradient norm of an earlier step was not finite.
        """
        self._pending.append((step, metrics, counts))
        if len(self._pending) > self.LATE:
            self._take()

    def drain(self) -> None:
        """Waits for all added steps; raises as `add`."""
        while self._pending:
            self._take()

    def _take(self) -> None:
        step, metrics, counts = self._pending.popleft()
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not (math.isfinite(values["loss"]) and math.isfinite(values["gradient_norm"])):
            raise FloatingPointError(
                f"{self._name}: step {step} gave loss {values['loss']}, gradient norm {values['gradient_norm']}; lower "
                f"the learning rate or lengthen the warm-up, and look at the batch of that step"
            )
        self._loss_sum += values["loss"]
        self._loss_count += 1
        self._counts.update(counts)
        seconds = max(time.monotonic() - self._since, 1e-9)
        rates = {unit: count * jax.process_count() / seconds for unit, count in self._counts.items()}
        if self.progress:
            self.progress.update(step, f"loss {values['loss']:.4f}", rates)
        if step % self._log_every == 0:
            self.writer.write(step, **values, **{f"{unit}_per_second": rate for unit, rate in rates.items()})

    def mean_loss(self) -> float:
        """Mean loss since the last call; resets the mean."""
        mean = self._loss_sum / self._loss_count
        self._loss_sum, self._loss_count = 0.0, 0
        return mean

    def sums(self) -> dict[str, float]:
        """The state to store in a checkpoint, so that the next mean is equal after a restart."""
        return {"loss_sum": self._loss_sum, "loss_count": self._loss_count}

    def resume(self, sums: dict[str, float]) -> None:
        """Restores the state of a checkpoint."""
        self._loss_sum, self._loss_count = sums["loss_sum"], int(sums["loss_count"])

    def log_validation(self, step: int, measured: dict[str, float], prefix: str) -> None:
        """Writes and logs the metrics of a validation."""
        values = {f"{prefix}{name}": float(value) for name, value in measured.items()}
        self.writer.write(step, **values)
        self.say(f"step {step}: " + "  ".join(f"{name} {value:.4f}" for name, value in values.items()))

    def say(self, text: str) -> None:
        """Logs a line, in the first process only."""
        if self.progress:
            logger.info("%s: %s", self._name, text)

    def close(self) -> None:
        """Ends the progress line and closes the files."""
        if self.progress:
            self.progress.close()
        self.writer.close()
