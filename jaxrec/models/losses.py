"""The losses by name: `TrainConfig.loss` selects one for ids and text, `RetrievalConfig.loss` one for vectors."""

from __future__ import annotations

from jaxrec.config import Config
from jaxrec.models import cross_entropy, margin_loss, softmax_loss
from jaxrec.models.loss import Loss

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy.CROSS_ENTROPY,
    "margin": margin_loss.MARGIN,
    "sampled": softmax_loss.SAMPLED,
    "full": softmax_loss.FULL,
}


def loss_of(config: Config) -> Loss:
    """The loss that a config selects.

    Raises:
      ValueError: the name is unknown, or for the other kind of answer; the message lists the valid ones.
    """
    field, name, answer = "train.loss", config.train.loss, "id"
    if config.answer == "vector":
        field, name, answer = "retrieval.loss", config.retrieval.loss, "vector"
    if name not in LOSSES or LOSSES[name].answer != answer:
        fitting = ", ".join(key for key, loss in LOSSES.items() if loss.answer == answer)
        raise ValueError(f"{field}={name!r} is no loss of answer {config.answer!r}; there are: {fitting}")
    return LOSSES[name]
