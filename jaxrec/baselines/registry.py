"""The baselines that learn, by name: what they are called, how they are built and trained."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from jaxrec.baselines import next_item as sequences
from jaxrec.baselines import pairs
from jaxrec.baselines.models.bert4rec import Bert4Rec, Bert4RecConfig, cloze_loss
from jaxrec.baselines.models.caser import Caser, CaserConfig
from jaxrec.baselines.models.ease import EaseConfig
from jaxrec.baselines.models.gru4rec import Gru4Rec, Gru4RecConfig
from jaxrec.baselines.models.ncf import NcfConfig
from jaxrec.baselines.models.sasrec import SasRec, SasRecConfig
from jaxrec.baselines.models.sequences import SequenceConfig
from jaxrec.config import LightGcnConfig
from jaxrec.embedders.inner_product import inner_product_scorer
from jaxrec.embedders.lightgcn import fit_lightgcn
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.keys import stream
from jaxrec.types import Split


@dataclasses.dataclass(frozen=True)
class Settings:
    """How each baseline is built and trained."""

    mf: LightGcnConfig = dataclasses.field(default_factory=lambda: LightGcnConfig(layers=0))
    lightgcn: LightGcnConfig = dataclasses.field(default_factory=LightGcnConfig)
    ncf: NcfConfig = dataclasses.field(default_factory=NcfConfig)
    ease: EaseConfig = dataclasses.field(default_factory=EaseConfig)
    sasrec: SasRecConfig = dataclasses.field(default_factory=SasRecConfig)
    bert4rec: Bert4RecConfig = dataclasses.field(default_factory=Bert4RecConfig)
    gru4rec: Gru4RecConfig = dataclasses.field(default_factory=Gru4RecConfig)
    caser: CaserConfig = dataclasses.field(default_factory=CaserConfig)


def _graph(config: LightGcnConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    embedding = fit_lightgcn(split.train, config, valid=split.valid, seed=seed, folder=folder)
    return inner_product_scorer(embedding.vectors)


def _ncf(config: NcfConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    return pairs.train_ncf(split, config, seed=seed, folder=folder)


def _ease(config: EaseConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    del seed, folder  # closed form: nothing is drawn, and there is nothing to go on with
    return pairs.train_ease(split, config)


def _sasrec(config: SasRecConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    return sequences.train("SASRec", _new(SasRec, split, seed, config), split, seed=seed, folder=folder)


def _bert4rec(config: Bert4RecConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    model = _new(Bert4Rec, split, seed, config)
    return sequences.train("BERT4Rec", model, split, seed=seed, folder=folder, loss=cloze_loss, ahead=0)


def _gru4rec(config: Gru4RecConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    return sequences.train("GRU4Rec", _new(Gru4Rec, split, seed, config), split, seed=seed, folder=folder)


def _caser(config: CaserConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    model = _new(Caser, split, seed, config, split.train.n_users)
    return sequences.train("Caser", model, split, seed=seed, folder=folder, users=True)


def _new(model: Callable[..., Any], split: Split, seed: int, config: SequenceConfig, *more: int) -> Any:
    """A model with fresh weights, a function of the seed alone."""
    key = stream(jax.random.key(seed), "weights")
    return model(config, split.train.n_items, *more, rngs=nnx.Rngs(params=key))


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A row of the table.

    Attributes:
      title: what tables call it.
      train: train(settings, split, seed, folder) -> Scorer; goes on with what it finds in the folder.
    """

    title: str
    train: Callable[[Any, Split, int, pathlib.Path], Scorer]


BASELINES = {
    "mf": Baseline("BPR-MF", _graph),
    "lightgcn": Baseline("LightGCN", _graph),
    "ncf": Baseline("NCF", _ncf),
    "ease": Baseline("EASE", _ease),
    "sasrec": Baseline("SASRec", _sasrec),
    "bert4rec": Baseline("BERT4Rec", _bert4rec),
    "gru4rec": Baseline("GRU4Rec", _gru4rec),
    "caser": Baseline("Caser", _caser),
}
"""By the names of their settings."""


def check(names: Sequence[str]) -> None:
    """Looks at names before anything is trained.

    Raises:
      ValueError: there is none, one is unknown, or one is given twice.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown or not names:
        raise ValueError(f"baselines {', '.join(unknown) or '(none)'}: give some of {', '.join(BASELINES)}")
    if len(set(names)) < len(names):
        raise ValueError(f"baselines {', '.join(names)} name one twice; give each once")
