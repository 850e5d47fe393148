"""What a model is asked, how it is trained and how it is measured."""

from __future__ import annotations

import dataclasses
from typing import Literal

RANKING = ("sequential", "collaborative", "direct")
"""Tasks whose answer is an item."""
WRITING = ("rating", "explanation", "review", "preference")
"""Tasks whose answer is text or stars."""


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """What the model is asked."""

    tasks: tuple[
        Literal["sequential", "collaborative", "direct", "rating", "explanation", "review", "preference"], ...
    ] = ("sequential", "direct")
    """"sequential" and "collaborative" show the history, the first in time order; "direct" the user's id alone. Of a
    user and an item, "rating" asks for the stars and "explanation" for a sentence about a feature word; of a review,
    "review" asks for its summary and "preference" for its stars. The first that ranks items is the main one."""
    weights: tuple[str, ...] = ("direct=0.5",)
    """TASK=WEIGHT: how many examples of a task an epoch holds, as a multiple of those there are; tasks that are not
    named, or alone, have 1."""
    words: int = 2000
    """Tokens of the text tokenizer that is trained where the model brings none; texts of reviews want 4000 or more."""
    max_text: int = 96
    """Tokens of a review that a prompt holds; the rest is cut off, as the paper does at 512 (section C.3.2)."""
    max_answer: int = 32
    """Tokens of an explanation or summary, in training and generated."""
    max_history: int = 20
    """The newest items of a history that a prompt holds."""
    shuffle: bool = True
    """Show the history of "collaborative" in random order, drawn anew every epoch (TokenRec, section 3.1.1)."""

    @property
    def ranking(self) -> tuple[str, ...]:
        """Tasks whose answer is an item; the first is the main one."""
        return tuple(task for task in self.tasks if task in RANKING)

    @property
    def writing(self) -> tuple[str, ...]:
        """Tasks whose answer is text or stars."""
        return tuple(task for task in self.tasks if task not in RANKING)

    def weight(self, task: str) -> float:
        """Of one of `tasks`.

        Raises:
          ValueError: `weights` holds something that is not TASK=WEIGHT.
        """
        weights = {}
        for pair in self.weights:
            name, mark, value = pair.partition("=")
            try:
                weights[name] = float(value)
            except ValueError:
                weights[name] = -1.0
            if not mark or name not in (*RANKING, *WRITING) or not 0 < weights[name] < float("inf"):
                raise ValueError(f"task.weights: {pair!r} is not TASK=WEIGHT with a task and a number above 0")
        return weights.get(task, 1.0) if len(self.tasks) > 1 else 1.0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training loop."""

    epochs: float = 10
    steps: int | None = None
    """Overrides `epochs` where given."""
    rows: int = 16
    """Packed rows in a global batch."""
    source_length: int = 512
    target_length: int = 64
    learning_rate: float = 1e-3
    relative: bool = False
    """Scale every parameter's update by that parameter's root mean square, as Adafactor does; the learning rate is
    then a share of it. Weights that start random, T5's at scales from 1 to 0.02, learn many times faster with it."""
    warmup: float = 0.05
    """Share of the steps with a rising learning rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest global norm of the gradient."""
    loss: str = "cross_entropy"
    """Of a model that says ids or words; of one that answers with vectors it is `retrieval.loss`."""
    label_smoothing: float = 0.0
    validate_every: float = 1.0
    """Epochs between validations."""
    validate_users: int = 2000
    """Users per validation, drawn once; 0 takes all."""
    select: Literal["auto", "ndcg@10", "nll"] = "auto"
    """What the weights are selected by: NDCG@10 of the validation items, or the negative log-likelihood of validation
    events' answers in words; "auto" takes the first where a task ranks items."""
    patience: int = 3
    """Validations that are no better by `select` before training stops; 0 never stops early."""
    checkpoint_minutes: float = 10.0
    """Also checkpointed at every validation."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    data_parallel: int = 0
    """Size of the mesh's `data` axis; 0 takes all devices that `model_parallel` leaves."""
    model_parallel: int = 1
    """Size of the mesh's `model` axis, over which tables and a decoder-only model's matrices are cut."""
    fsdp: bool = False
    """Whether the matrices of a decoder-only model are cut over the mesh's `data` axis as well."""


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """How a trained model is asked and measured."""

    recommender: Literal["beam", "exact"] = "beam"
    beams: int = 20
    batch_users: int = 64
    prompt: Literal["seen", "unseen", "both"] = "seen"
    """Whether the evaluation's template was among those of training; "both" measures one after the other."""
    mask_seen: bool = True
    """Leave items of the history out of the recommendations, for baselines and model alike."""
    text_beams: int = 1
    """Beams for free text; 1 is greedy (the paper, section C.3.2)."""
    text_events: int = 0
    """Test events of each text task that are measured, drawn once; 0 takes all."""
