"""How a training run goes: its length, when it validates and saves, what selects, and on which devices it runs."""

from __future__ import annotations

import dataclasses
from typing import Literal

from jax.sharding import Mesh

from jaxrec.training.sharding import Rules


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of `fit`; what is trained, and on which data, are its own arguments.

    Attributes:
      steps: length of the run, at least 1.
      name: what messages and the progress line call the run.
      validate_every: steps between validations; the last step is validated as well. 0 never validates.
      select: the metric of validation that chooses the best parameters.
      mode: whether more ("max") or less ("min") of it is better.
      patience: validations without a better value before the run stops; 0 never stops early.
      checkpoint_minutes: at most this long between checkpoints (looked at every `log_every` steps); one is also written
        at every validation and at the end.
      log_every: steps between records of metrics.jsonl, at least 1.
      mesh: the devices; None is this process's default device alone.
      rules: where arrays lie on the mesh, see `jaxrec.training.sharding.shardings`.
    Raises:
      ValueError: `steps` or `log_every` is below 1.
    """

    steps: int
    name: str = "train"
    validate_every: int = 0
    select: str = "ndcg@10"
    mode: Literal["max", "min"] = "max"
    patience: int = 0
    checkpoint_minutes: float = 10.0
    log_every: int = 20
    mesh: Mesh | None = None
    rules: Rules = ()

    def __post_init__(self) -> None:
        if self.steps < 1 or self.log_every < 1:
            raise ValueError(f"steps={self.steps} and log_every={self.log_every} have to be at least 1")
