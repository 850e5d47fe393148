"""A run and its folder: one config, the data it names, and where each stage leaves what it made."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
import sys

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.config import Config, from_dict, to_json
from jaxrec.config.checks import check_config
from jaxrec.embedders.registry import embedder
from jaxrec.files import write_whole
from jaxrec.hub.registry import BACKBONES, backbone
from jaxrec.models.losses import loss_of
from jaxrec.progress import logger
from jaxrec.system.run_data import load_run_data
from jaxrec.tasks.writing_examples import TextEvents
from jaxrec.tokenizers.registry import id_kind, kind_name
from jaxrec.types import EventSplit, Histories, Interactions, Split


@dataclasses.dataclass(frozen=True)
class Run:
    """A config with its data and folder.

    Attributes:
      config: all settings.
      folder: where stages leave their files.
      data: events and names.
      split: training histories and held-out targets.
      events: which events train, validate and test ratings and texts; None where no task writes.
      material: stars and texts of the events; None where no task writes.
      fresh: whether this call is the first on the folder.
    """

    config: Config
    folder: pathlib.Path
    data: Interactions
    split: Split
    events: EventSplit | None = None
    material: TextEvents | None = None
    fresh: bool = False

    @property
    def learned_from(self) -> Histories:
        """What the embedder may see: training alone or, under `as-released`, every event, as the papers' code did."""
        if self.config.protocol == "strict":
            return self.split.train
        offsets = np.searchsorted(self.data.user, np.arange(self.data.n_users + 1))
        return Histories(offsets, self.data.item, self.data.n_items, self.data.rating)

    @property
    def key(self) -> jax.Array:
        """The key that every stage's stream is derived from."""
        return jax.random.key(self.config.seed)

    def say(self, message: str) -> None:
        """Logs one line about where the run is."""
        logger.info("[%s] %s", self.config.name, message)


def start(config: Config) -> Run:
    """Opens a run's folder and loads its data; a folder that holds the same config is gone on with.

    Raises:
      ValueError: the config contradicts itself, its data can't be read, or the folder holds a run of another
        config; names the fields that differ.
    """
    check_run(config)
    folder = config.folder
    file = folder / "config.json"
    run = _opened(config, folder, fresh=not file.is_file())
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, to_json(config) + "\n")
    return run


def reopen(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder.

    Raises:
      ValueError: the folder holds no run, or its config is not of this version.
    """
    folder = pathlib.Path(folder)
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"{folder} holds no run (no config.json); train one with python -m launch.train")
    return _opened(_read_config(file), folder)


def command() -> str:
    """The command line of this process, as a reader would repeat it."""
    module = sys.modules["__main__"].__spec__
    program = pathlib.Path(sys.argv[0]).stem
    if module or program != "jaxrec":  # the console command is a script that has no module
        program = f"python -m {module.name if module else program}"
    return f"{program} {shlex.join(sys.argv[1:])}".strip()


def check_run(config: Config) -> None:
    """Looks at a config, and at the folder that it names, before anything is loaded.

    Raises:
      ValueError: it contradicts itself, names a part that no registry has or that does not go with the others, or its
        folder holds a run of another config; names the fields that differ.
    """
    file = config.folder / "config.json"
    if file.is_file():
        _check_same(config, _read_config(file), config.folder)
    check_config(config)
    embedder(config.embedder)
    loss_of(config)
    _check_ids(config)
    _check_backbone(config)
    if jax.process_count() > 1:
        raise ValueError("a run's stages are made by one process; start one, with all devices of a host")


def _check_ids(config: Config) -> None:
    id_kind(config.ids.kind)
    of_users = kind_name("user", config.ids.kind, config.ids.entities)
    if config.ids.users == "causal" and not id_kind(of_users).from_vectors:
        raise ValueError(
            f"ids.users causal makes users' ids of their histories, and {of_users} ids are not made of anything; "
            "set ids.users static or none"
        )


def _check_backbone(config: Config) -> None:
    name, rank = config.model.backbone, config.model.lora.rank
    record = backbone(name)
    if rank and not record.lora:
        adaptable = " or ".join(name for name, other in BACKBONES.items() if other.lora)
        raise ValueError(
            f"model.lora.rank={rank} does not go with model.backbone {name}, which LoRA cannot adapt; "
            f"set model.backbone {adaptable}, or rank 0"
        )
    if config.model.init_from and record.hugging_face is None:
        raise ValueError(f"model.backbone {name} reads no weights of Hugging Face; leave model.init_from out")


def _opened(config: Config, folder: pathlib.Path, *, fresh: bool = False) -> Run:
    data, split, events, material = load_run_data(config, folder)
    return Run(config, folder, data, split, events, material, fresh)


def _read_config(file: pathlib.Path) -> Config:
    try:
        return from_dict(Config, json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is not a config of this version of jaxrec: {error}") from error


def _check_same(config: Config, stored: Config, folder: pathlib.Path) -> None:
    one, other = (flatten_dict(dataclasses.asdict(c), sep=".") for c in (config, stored))
    differing = sorted(n for n in one if one[n] != other[n] and n != "out")
    if differing:
        raise ValueError(
            f"{folder} holds a run of another config ({', '.join(differing)} differ); "
            f"give --out another folder, or delete this one"
        )
