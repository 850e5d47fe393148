"""The settings of a training run: length, validation, model selection, checkpoints and devices."""

from __future__ import annotations

import dataclasses
from typing import Literal

from jax.sharding import Mesh

from jaxrec.training.sharding import Rules


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of `fit`, besides model and data.

    Attributes:
      steps: length of the run, at least 1.
      name: the run's name in messages and progress lines.
      validate_every: steps between validations; the last step is validated as well. 0 never validates.
      select: the validation metric that selects the best parameters.
      mode: whether higher ("max") or lower ("min") is better.
      patience: validations without a better value before the run stops; 0 never stops early.
      checkpoint_minutes: maximum time between checkpoints (checked every `log_every` steps); one is also written at
        every validation and at the end.
      log_every: steps between records of metrics.jsonl, at least 1.
      mesh: the devices; None is this process's default device.
      average: decay a step of a moving average of the parameters, which is validated and kept instead of them; 0: none.
      rules: sharding rules, see `jaxrec.training.sharding.shardings`.
    Raises:
      ValueError: `steps` or `log_every` is below 1, or `average` is not in [0, 1).
    """

    steps: int
    name: str = "train"
    validate_every: int = 0
    select: str = "ndcg@10"
    mode: Literal["max", "min"] = "max"
    patience: int = 0
    checkpoint_minutes: float = 10.0
    log_every: int = 20
    average: float = 0.0
    mesh: Mesh | None = None
    rules: Rules = ()

    def __post_init__(self) -> None:
        if self.steps < 1 or self.log_every < 1:
            raise ValueError(f"steps={self.steps} and log_every={self.log_every} have to be at least 1")
        if not 0 <= self.average < 1:
            raise ValueError(f"average={self.average} is the decay of a moving average; wanted 0 <= average < 1")
