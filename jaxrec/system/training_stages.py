"""The stages in which a run's model is trained: one, or the two of a model that reads collaborative tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

from flax import nnx

from jaxrec.config import CollaborativeTokensConfig
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever
from jaxrec.types import Vectors

OF_TOKENS = nnx.All(nnx.Param, nnx.PathContains("collaborative"))
"""The network that embeds collaborative tokens."""
ALL_BUT_TOKENS = nnx.All(nnx.Param, nnx.Not(nnx.PathContains("collaborative")))
LANGUAGE_MODEL = "language_model"
"""Folder of a first stage within a run's."""

Model = LanguageModel | Retriever


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of training, with a learning-rate schedule, validations and checkpoints of its own.

    Attributes:
      name: in messages, and of its random stream.
      folder: within the run's.
      steps: how many.
      trained: a filter of nnx; all else is frozen, gets no gradient, and is stored once.
      shows_vectors: whether collaborative tokens have their vectors; without, nothing attends to them.
    """

    name: str
    folder: str
    steps: int
    trained: Any
    shows_vectors: bool

    def begin(self, model: Model, vectors: Vectors) -> Model:
        """The model as the stage begins with it."""
        if isinstance(model, Retriever) or model.collaborative is None:
            return model
        tokens = model.collaborative
        tokens = tokens.with_vectors(vectors) if self.shows_vectors else tokens.without_vectors()
        return model.with_collaborative(tokens)


def stages_of(config: CollaborativeTokensConfig, steps: int) -> list[Stage]:
    """The stages of a run; the checkpoints of the last one are the run's.

    CoLLM's tuning in two steps: the language model learns the task from words first, and the mapping of vectors is
    learned then, so that the model does not lean on vectors alone.

    Args:
      config: of the tokens.
      steps: of all stages together.
    Raises:
      ValueError: the steps are too few for two stages.
    """
    if not config.hidden or not config.first_stage:
        return [Stage("train", "", steps, nnx.Param, shows_vectors=True)]
    if steps < 2:
        raise ValueError(
            f"training has {steps} step and task.collaborative_tokens.first_stage wants two stages; raise train.steps "
            "or train.epochs, or set first_stage 0"
        )
    first = min(max(round(config.first_stage * steps), 1), steps - 1)
    return [
        Stage("language model", LANGUAGE_MODEL, first, ALL_BUT_TOKENS, shows_vectors=False),
        Stage("train", "", steps - first, OF_TOKENS, shows_vectors=True),
    ]
