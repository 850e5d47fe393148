"""Settings of the tasks, of training and of evaluation."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from jaxrec.config.limits import (
    LearningRate,
    Length,
    Limits,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

RANKING = ("sequential", "collaborative", "direct", "autoregressive")
"""Tasks whose answer is an item."""
WRITING = ("rating", "explanation", "review", "preference")
"""Tasks whose answer is generated text or a star rating."""


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Training histories that vary from epoch to epoch, of task "autoregressive" and of next-item baselines."""

    crop: Probability = 0.0
    """Probability that a history is cropped to a random part of at least half of it."""
    drop: Probability = 0.0
    """Probability of each event to be left out."""
    shuffle: Probability = 0.0
    """Probability that neighbours in a history are exchanged at random, which moves an event by at most one place."""


NO_AUGMENTATION = AugmentConfig()


@dataclasses.dataclass(frozen=True)
class CollaborativeTokensConfig:
    """A token behind each id in a prompt whose embedding is a small network of the collaborative vector (CoLLM, Zhang
    et al. 2023); with ids.users "none" a user is this token alone, as in the paper. Answers have no such tokens.
    """

    hidden: Annotated[int, Limits(at_least=0, at_most=65_536)] = 0
    """Width of the network's hidden layer; CoLLM has ten times that of the vectors. 0: no such tokens."""
    first_stage: Probability = 0.5
    """Share of the training steps in which the language model learns from prompts without these tokens. In all others
    it is frozen, and the network alone learns; each stage has warm-up, schedule, validation and patience of its own.
    0: a single stage, in which all is learned at once."""


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """The tasks that prompts pose, and the limits on their lengths."""

    tasks: tuple[
        Literal[
            "sequential", "collaborative", "direct", "autoregressive", "rating", "explanation", "review", "preference"
        ],
        ...,
    ] = ("sequential", "direct")
    """Next-item tasks: prompts of "sequential" hold the user's history in time order, of "collaborative" unordered, of
    "direct" the user id alone. Also a next-item task, but for a decoder-only model and without other tasks:
    "autoregressive", in which the history is one sequence and every item after the first a target. Text tasks: "rating"
    predicts the stars a user gives an item, "explanation" writes a sentence about it with a given feature word,
    "review" summarises a review, "preference" predicts its stars. The
    first next-item task is the main one: it selects weights and recommends."""
    weights: tuple[str, ...] = ("direct=0.5",)
    """TASK=WEIGHT: examples of a task per epoch, as a multiple of its number of examples. Tasks that are not named have
    weight 1, and so has a single task."""
    words: Annotated[int, Limits(at_least=300, at_most=1_048_576)] = 2000
    """Vocabulary size of the text tokenizer, trained where no pretrained model brings one; for reviews, 4000 or
    more."""
    max_text: Length = 96
    """Maximum tokens of a review in a prompt; longer ones are truncated (the paper: at 512, section C.3.2)."""
    max_answer: Length = 32
    """Maximum tokens of an explanation or summary, in training and generation."""
    max_history: Length = 20
    """Maximum history items in a prompt; the latest are kept."""
    prompt_vectors: Annotated[int, Limits(at_least=0, at_most=1024)] = 0
    """Trained vectors in front of every prompt of a task, into which its words are distilled: prompts that are answered
    consist of these and the ids alone, without words (POD, Li et al. 2023, has 3). 0: prompts of words alone."""
    collaborative_tokens: CollaborativeTokensConfig = CollaborativeTokensConfig()
    augment: AugmentConfig = NO_AUGMENTATION
    """How training histories of "autoregressive" vary from epoch to epoch."""
    shuffle: bool = True
    """Shuffle the history of "collaborative" prompts, anew every epoch (TokenRec, section 3.1.1)."""

    @property
    def ranking(self) -> tuple[str, ...]:
        """Tasks whose answer is an item; the first is the main one."""
        return tuple(task for task in self.tasks if task in RANKING)

    @property
    def autoregressive(self) -> bool:
        """Whether a history is one sequence in which every item after the first is a target."""
        return "autoregressive" in self.tasks

    @property
    def writing(self) -> tuple[str, ...]:
        """Tasks whose answer is generated text or a star rating."""
        return tuple(task for task in self.tasks if task not in RANKING)

    def weight(self, task: str) -> float:
        """The weight of a task; 1 where it is the only one.

        Raises:
          ValueError: an entry of `weights` is not TASK=WEIGHT with a known task and a finite number above 0.
        """
        weights = {}
        for pair in self.weights:
            name, separator, value = pair.partition("=")
            try:
                weights[name] = float(value)
            except ValueError:
                weights[name] = -1.0
            if not separator or name not in (*RANKING, *WRITING) or not 0 < weights[name] < float("inf"):
                raise ValueError(f"task.weights: {pair!r} is not TASK=WEIGHT with a task and a number above 0")
        return weights.get(task, 1.0) if len(self.tasks) > 1 else 1.0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of the training loop."""

    epochs: PositiveFloat = 10
    """Passes over the training examples."""
    steps: Annotated[int | None, Limits(at_least=1)] = None
    """Number of steps; overrides `epochs`."""
    rows: Annotated[int, Limits(at_least=1, at_most=65_536)] = 16
    """Packed rows in a global batch."""
    source_length: Length = 512
    """Tokens of a packed row of prompts."""
    target_length: Length = 64
    """Tokens of a packed row of answers."""
    learning_rate: LearningRate = 1e-3
    """Step size of Adam at its highest, after the warm-up."""
    relative: bool = False
    """Scale each parameter's update by the parameter's root mean square, as Adafactor does; the learning rate is then
    relative to it. Randomly initialised weights, T5's with scales from 0.02 to 1, train many times faster with it."""
    warmup: Probability = 0.05
    """Fraction of the steps over which the learning rate rises linearly."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up: along a line to 0, along half a cosine to 0, or not at all."""
    weight_decay: Annotated[float, Limits(at_least=0, at_most=100)] = 0.01
    """Decoupled weight decay of AdamW."""
    clip: NonNegativeFloat = 1.0
    """Gradients are clipped to this global norm."""
    loss: str = "cross_entropy"
    """Loss for answer "id" and for text tasks, a name in `jaxrec.models.losses`; answer "vector" uses
    `retrieval.loss`."""
    label_smoothing: Probability = 0.0
    """Share of the target probability that is spread over all tokens."""
    average: Probability = 0.0
    """Decay a step of a moving average of the weights (Polyak and Juditsky 1992), which is validated and kept instead
    of the weights themselves; 0: none."""
    members: Annotated[int, Limits(at_least=1, at_most=1024)] = 1
    """Number of models that are trained side by side, with initial weights, dropout and an order of the examples (with
    `task.augment` other histories, too) of their own. The run recommends by the mean of their log-probabilities. On
    accelerators a step is one vectorised program, on CPU the members take turns."""
    validate_every: PositiveFloat = 1.0
    """Epochs between validations."""
    validate_users: NonNegativeInt = 2000
    """Users of the validation set, sampled once; of text tasks, events. 0: all."""
    select: Literal["auto", "ndcg@10", "nll"] = "auto"
    """Validation metric that selects the best weights: NDCG@10 on the validation items, or the negative log-likelihood
    of the text answers of validation events. "auto": "ndcg@10" where a task ranks items, else "nll"."""
    patience: NonNegativeInt = 3
    """Validations without a better value of the selected metric before training stops; 0 never stops early."""
    checkpoint_minutes: NonNegativeFloat = 10.0
    """Minutes between checkpoints; every validation writes one, too."""
    log_every: PositiveInt = 20
    """Steps between two lines of metrics.jsonl."""
    data_parallel: Annotated[int, Limits(at_least=0, at_most=65_536)] = 0
    """Size of the mesh's `data` axis; 0: the number of devices divided by `model_parallel`."""
    model_parallel: Annotated[int, Limits(at_least=1, at_most=65_536)] = 1
    """Size of the mesh's `model` axis, over which embedding tables and a decoder-only model's matrices are sharded."""
    fsdp: bool = False
    """Whether the matrices of a decoder-only model are sharded over the mesh's `data` axis as well."""


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Settings of recommendation and evaluation."""

    recommender: Literal["beam", "exact"] = "beam"
    """For answer "id": "beam", beam search over the item ids; "exact", score every item of the catalogue."""
    beams: Annotated[int, Limits(at_least=1, at_most=10_000)] = 20
    """Partial ids that beam search keeps; lists hold at most as many items."""
    batch_users: Annotated[int, Limits(at_least=1, at_most=65_536)] = 64
    """Users per batch."""
    prompt: Literal["seen", "unseen", "both"] = "seen"
    """Prompt template: one that training used ("seen"), one that it did not ("unseen"), or each in turn ("both")."""
    mask_seen: bool = True
    """Exclude items of the user's history from the ranking, of model and baselines alike."""
    counts: bool = False
    """Whether tables also have the row "METHOD + counts": a log-linear blend of the model and the counted baselines,
    with weights by NDCG@10 on validation items. The test items are ranked once more, and the validation items of up to
    5,000 users."""
    blend_with: tuple[str, ...] = ()
    """Trained baselines that join this blend, such as lightgcn: tables have the row "METHOD + LightGCN + counts" then,
    and one of each baseline. They are trained in the run's folder, with their default settings, but for the run's own
    embedder, which is taken as it is; ease is left out where there are more than 25,000 items."""
    rerank: bool = False
    """Whether tables also have this blend re-ranked: a small network, fitted to the validation items of all users, puts
    its first 300 items in order by what the components and further counts say of them. Where cross-validation over
    these users finds nothing better, the row has the blend's own order; test items are not read."""
    text_beams: Annotated[int, Limits(at_least=1, at_most=1000)] = 1
    """Beams for generated text; 1: greedy decoding (the paper, section C.3.2)."""
    text_events: NonNegativeInt = 0
    """Number of held-out events on which each text task is evaluated, sampled once; 0: all."""
