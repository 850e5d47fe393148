"""A run: its config, its data, and the folder in which each stage stores its results."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import sys
from collections.abc import Callable

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.baselines.registry import check_baselines, obstacle
from jaxrec.config import Config, from_dict, to_json
from jaxrec.config.checks import check_config
from jaxrec.embedders.registry import embedder
from jaxrec.files import read_kept, write_kept
from jaxrec.hub.registry import BACKBONES, backbone
from jaxrec.models.lightgcn_losses import lightgcn_loss
from jaxrec.models.losses import loss_of
from jaxrec.progress import logger
from jaxrec.system.data_digest import check_data, store_digest
from jaxrec.system.run_data import load_run_data
from jaxrec.tasks.writing_examples import TextEvents
from jaxrec.tokenizers.registry import id_kind, kind_name
from jaxrec.types import DataError, EventSplit, Histories, Interactions, Split

CHANGEABLE = (
    *("out", "name", "data.name"),
    *("eval.batch_users", "eval.counts", "eval.blend_with", "eval.rerank", "eval.text_beams", "eval.text_events"),
    *("train.checkpoint_minutes", "train.data_parallel", "train.fsdp"),
)
"""Fields that may change in the folder of a run, as nothing that is trained depends on them."""
MEASURING = ("eval.recommender", "eval.beams", "eval.prompt")
"""Fields that steer validation, and so which weights are kept, but that a trained run is measured with anew."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A config with its data and folder.

    Attributes:
      config: all settings.
      folder: where stages store their files.
      data: events and names.
      split: training histories and held-out targets of the ranking tasks.
      events: training, validation and test events of the text tasks; None without text tasks.
      material: stars and texts of the events; None without text tasks.
      fresh: whether the folder held no run before this call.
      skipped_rows: of the data file, which could not be read and were left out.
    """

    config: Config
    folder: pathlib.Path
    data: Interactions
    split: Split
    events: EventSplit | None = None
    material: TextEvents | None = None
    fresh: bool = False
    skipped_rows: int = 0

    @property
    def learned_from(self) -> Histories:
        """Histories that the embedder is fitted to: training events or, under "as-released", all events."""
        if self.config.protocol == "strict":
            return self.split.train
        offsets = np.searchsorted(self.data.user, np.arange(self.data.n_users + 1))
        return Histories(offsets, self.data.item, self.data.n_items, self.data.rating)

    @property
    def key(self) -> jax.Array:
        """The run's random key, from which every stage derives its own; see `jaxrec.keys.stream`."""
        return jax.random.key(self.config.seed)

    def say(self, message: str) -> None:
        """Logs a message with the run's name."""
        logger.info("[%s] %s", self.config.name, message)


def start(config: Config, check: Callable[[Config, Interactions, Split], None] | None = None) -> Run:
    """Starts a run, or resumes the run of the same config in its folder; loads the data and writes config.json.

    Args:
      config: of the run.
      check: called with config, data and split before anything is written.
    Raises:
      ValueError: the config contradicts itself, its data can't be read, or the folder holds a run of another
        config (the message names the fields that differ), or of data that have changed since.
    """
    check_run(config)
    folder = config.folder
    file = folder / "config.json"
    run = _load(config, folder, fresh=not file.is_file())
    check_data(folder, run.data, accept_events=False)
    if check is not None:
        check(config, run.data, run.split)
    folder.mkdir(parents=True, exist_ok=True)
    store_digest(folder, run.data)
    write_kept(file, to_json(config) + "\n")
    return run


def reopen(folder: str | os.PathLike[str], *, accept_new_data: bool = False) -> Run:
    """Opens the run in a folder and loads its data.

    Args:
      folder: of the run.
      accept_new_data: go on where events, ratings, times or titles of the same users and items have changed.
    Raises:
      ValueError: the folder holds no run, its config is of another version of jaxrec, or its data can't be read or
        have changed since it was trained.
    """
    folder = pathlib.Path(folder)
    file = folder / "config.json"
    if not file.is_file():
        raise DataError(f"{folder} holds no run (no config.json); train one with python -m launch.train")
    run = _load(_read_config(file), folder)
    check_data(run.folder, run.data, accept_events=accept_new_data)
    return run


COMMAND = "JAXREC_COMMAND"
"""The environment variable that tells a worker of a study which command it works for."""


def command() -> str:
    """The command line of this process, or of that which works through it, in a form that can be run again."""
    if given := os.environ.get(COMMAND):
        return given
    module = sys.modules["__main__"].__spec__
    program = pathlib.Path(sys.argv[0]).stem
    if module or program != "jaxrec":  # the console script has no module
        program = f"python -m {module.name if module else program}"
    return f"{program} {shlex.join(sys.argv[1:])}".strip()


def check_run(config: Config) -> None:
    """Checks a config and its folder before anything is loaded.

    Raises:
      ValueError: settings are out of range or contradict each other, a name is in no registry, the folder holds a run
        of another config (the message names the fields that differ), or jax runs in several processes.
    """
    check_config(config)
    file = config.folder / "config.json"
    if file.is_file():
        _check_same(config, _read_config(file), config.folder)
    embedder(config.embedder)
    loss_of(config)
    for path, settings in (("lightgcn", config.lightgcn), ("gtn", config.gtn)):
        for name in settings.losses:
            lightgcn_loss(name, path)
    _check_ids(config)
    _check_backbone(config)
    check_blend(config)
    # Asked for only then: counting processes takes hold of the devices, which a study leaves to its workers.
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        raise ValueError("a run needs a single process; start one, with all devices of a host")


def _check_ids(config: Config) -> None:
    id_kind(config.ids.kind)
    user_kind = kind_name("user", config.ids.kind, config.ids.entities)
    if config.ids.users == "causal" and not id_kind(user_kind).from_vectors:
        raise ValueError(
            f"ids.users causal computes user ids from histories, and {user_kind} ids are not made of anything; "
            "set ids.users static or none"
        )


def check_blend(config: Config) -> None:
    """Checks the baselines of eval.blend_with.

    Raises:
      ValueError: a name is unknown or given twice, or the data lacks item attributes that a baseline needs.
    """
    names = config.eval.blend_with
    if names:
        check_baselines(names)
    for name in names:
        if reason := obstacle(name, config.data):
            raise ValueError(f"eval.blend_with: {reason}")


def _check_backbone(config: Config) -> None:
    name, rank = config.model.backbone, config.model.lora.rank
    record = backbone(name)
    if config.task.autoregressive and not record.decoder_only:
        raise ValueError(
            f"task 'autoregressive' needs a decoder-only model, and model.backbone {name} is none; set {_decoders()}"
        )
    if record.items_alone and (config.answer != "both" or config.ids.users != "none"):
        raise ValueError(
            f"model.backbone {name} reads items alone and has an item head; set answer both and ids.users none"
        )
    if config.answer == "both" and not record.decoder_only:
        raise ValueError(f"answer 'both' needs a decoder-only model; set model.backbone {_decoders()}")
    if rank and not record.lora:
        adaptable = " or ".join(name for name, candidate in BACKBONES.items() if candidate.lora)
        raise ValueError(
            f"model.lora.rank={rank} does not go with model.backbone {name}, which LoRA cannot adapt; "
            f"set model.backbone {adaptable}, or rank 0"
        )
    record.shape(config.model)
    if config.model.init_from and record.hugging_face is None:
        raise ValueError(f"model.backbone {name} reads no weights of Hugging Face; leave model.init_from out")


def _decoders() -> str:
    return " or ".join(name for name, record in BACKBONES.items() if record.decoder_only)


def _load(config: Config, folder: pathlib.Path, *, fresh: bool = False) -> Run:
    data, split, events, material, skipped = load_run_data(config, folder)
    return Run(config, folder, data, split, events, material, fresh, skipped)


def _read_config(file: pathlib.Path) -> Config:
    content = read_kept(file, "json", "put it back, or delete it and give the run's train command again")
    try:
        return from_dict(Config, content)
    except (ValueError, TypeError) as error:
        raise DataError(f"{file} is not a config of this version of jaxrec: {error}") from error


def _check_same(config: Config, stored: Config, folder: pathlib.Path) -> None:
    if not any(path.is_dir() or path.name == "vectors.npz" for path in folder.iterdir()):
        return  # no stage has stored anything yet
    new, old = (flatten_dict(dataclasses.asdict(c), sep=".") for c in (config, stored))
    differing = sorted(field for field in new if new[field] != old[field] and field not in CHANGEABLE)
    if differing:
        measuring = [f"--{field.removeprefix('eval.')} {new[field]}" for field in differing if field in MEASURING]
        advice = f"measure it with: jaxrec evaluate {folder} {' '.join(measuring)}; or " if measuring else ""
        raise ValueError(
            f"{folder} holds a run of another config ({', '.join(differing)} differ); "
            f"{advice}give --out another folder, or delete this one"
        )
