"""Model selection and early stopping on a validation metric."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal


@dataclasses.dataclass
class Selection:
    """Early stopping on one metric; its attributes are plain numbers, stored in every checkpoint.

    Attributes:
      select: the metric's name.
      mode: whether higher ("max") or lower ("min") is better.
      patience: validations without a better value before `exhausted`; 0 never stops.
      best_value: None before the first validation.
      best_step: step of the best validation.
      waited: validations since the best.
    """

    select: str
    mode: Literal["max", "min"]
    patience: int
    best_value: float | None = None
    best_step: int | None = None
    waited: int = 0

    def update(self, step: int, metrics: dict[str, float]) -> bool:
        """Records a validation; True if it is the best so far (a tie is not better).

        Raises:
          ValueError: the metric is not among `metrics`, or is not finite.
        """
        if self.select not in metrics:
            raise ValueError(f"select={self.select!r} is not among the metrics of validation: {', '.join(metrics)}")
        value = float(metrics[self.select])
        if not math.isfinite(value):
            raise ValueError(f"validation at step {step} gave {self.select}={value}; nothing can be selected by it")
        if self.best_value is None or (value > self.best_value if self.mode == "max" else value < self.best_value):
            self.best_value, self.best_step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.waited

    def progress(self) -> dict[str, float | int | None]:
        """The state to store in a checkpoint."""
        return {"best_value": self.best_value, "best_step": self.best_step, "waited": self.waited}

    def resume(self, progress: dict) -> None:
        """Restores the state of a checkpoint."""
        self.best_value, self.best_step, self.waited = (progress[k] for k in ("best_value", "best_step", "waited"))
