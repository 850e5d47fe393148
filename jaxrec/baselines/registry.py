"""The trained baselines, by name."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.baselines import bert4rec, caser, cl4srec, ease, fdsa, gru4rec, hgn, lightgcn, ncf, s3rec, sasrec
from jaxrec.baselines.baseline import NO_ATTRIBUTES, Baseline
from jaxrec.config import DataConfig
from jaxrec.embedders.inner_product import InnerProductScorer
from jaxrec.evaluate.blending import Component
from jaxrec.types import Split

BASELINES: dict[str, Baseline] = {
    "mf": lightgcn.MF,
    "lightgcn": lightgcn.LIGHTGCN,
    "gtn": lightgcn.GTN,
    "ltgnn": lightgcn.LTGNN,
    "ncf": ncf.BASELINE,
    "ease": ease.BASELINE,
    "sasrec": sasrec.BASELINE,
    "bert4rec": bert4rec.BASELINE,
    "gru4rec": gru4rec.BASELINE,
    "caser": caser.BASELINE,
    "hgn": hgn.BASELINE,
    "cl4srec": cl4srec.BASELINE,
    "fdsa": fdsa.BASELINE,
    "s3rec": s3rec.BASELINE,
}

Settings: Any = dataclasses.make_dataclass(
    "Settings",
    [
        (name, type(entry.settings), dataclasses.field(default_factory=lambda entry=entry: entry.settings))
        for name, entry in BASELINES.items()
    ],
    frozen=True,
    namespace={"__module__": __name__},  # where pickle looks for it
)
"""Settings of all baselines: a field per baseline, named after it, with the record's settings as default."""


def settings_of(name: str, settings: Any) -> Any:
    """A baseline's part of the settings of all; the defaults of its record if it was registered after `Settings`."""
    return getattr(settings, name, BASELINES[name].settings)


def check_baselines(names: Sequence[str]) -> None:
    """Checks names before anything is trained.

    Raises:
      ValueError: no name is given, one is unknown, or one is repeated.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown or not names:
        raise ValueError(f"baselines {', '.join(unknown) or '(none)'}: give some of {', '.join(BASELINES)}")
    if len(set(names)) < len(names):
        raise ValueError(f"baselines {', '.join(names)} name one twice; give each once")


def obstacle(name: str, data: DataConfig) -> str:
    """Why a baseline can't be trained on some data: "" if it can, so far as the config tells."""
    lacks = BASELINES[name].attributes and data.path is not None and not data.attributes
    return f"{BASELINES[name].title} {NO_ATTRIBUTES}" if lacks else ""


def trained_component(name: str, settings: Any, split: Split, seed: int, folder: pathlib.Path) -> Component:
    """A trained baseline as a component of blends: the softmax of its scores.

    Somebody new is scored by the history where `Baseline.new_users` says so, or by a fold-in.

    Args:
      name: one of `BASELINES`.
      settings: of this baseline.
      split: see `Baseline.train`.
      seed: of the training.
      folder: its folder NAME holds the checkpoints; a finished training is read from there (EASE's chosen lambda alone,
        by which it is fitted again).
    """
    score = BASELINES[name].train(settings, split, seed, folder / name)
    folded = score.of_strangers if isinstance(score, InnerProductScorer) else None
    return Component(BASELINES[name].title, score, score if BASELINES[name].new_users else folded, "softmax")
