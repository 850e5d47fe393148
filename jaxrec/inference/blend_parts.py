"""The parts of a blend: trained runs, trained baselines and counted baselines, from folders and names."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.baselines.counted import COUNTED_BASELINES, counted_components
from jaxrec.baselines.registry import BASELINES, trained_component
from jaxrec.config import Config, from_dict, to_json
from jaxrec.evaluate.blending import Component
from jaxrec.files import read_kept
from jaxrec.system import loading
from jaxrec.system.catalogue_scores import catalogue_component
from jaxrec.system.run import Run, reopen
from jaxrec.system.system import System


@dataclasses.dataclass(frozen=True)
class BlendPart:
    """A part of a blend.

    Attributes:
      component: its scores of the catalogue.
      kind: a trained run, a trained baseline, or one that counts.
      run: config, data and split; None of one that counts.
      without_seed: settings as text; equal for parts that differ in the seed alone.
    """

    component: Component
    kind: Literal["run", "baseline", "counted"]
    run: Run | None
    without_seed: str

    @property
    def name(self) -> str:
        """As in tables."""
        return self.component.name


def groups_of_seeds(parts: Sequence[BlendPart]) -> list[list[int]]:
    """Positions of the parts, those that differ in the seed alone together."""
    groups: dict[str, list[int]] = {}
    for number, part in enumerate(parts):
        groups.setdefault(part.without_seed, []).append(number)
    return list(groups.values())


def read_parts(
    sources: Sequence[System | str | os.PathLike[str]], train: Callable[[str, Run], pathlib.Path]
) -> list[BlendPart]:
    """Loads the parts of a blend; baselines that are given by name are trained first.

    Args:
      sources: systems, folders of trained runs or baselines, and names of counted and trained baselines.
      train: train(name, run) -> the folder of the baseline of this name, trained on the split of the run.
    Returns:
      parts in the order of `sources`, of different names.
    Raises:
      ValueError: there are fewer than two, none has data, two are the same, one is neither a folder nor a name, one
        ranks no items, or they have different data, splits or masks.
    """
    if len(sources) < 2:
        raise ValueError(f'parts holds {len(sources)}; give two or more: a run, and another run or "transitions"')
    names = [_baseline_name(source) for source in sources]
    loaded = [_of_folder(source) if name is None else None for source, name in zip(sources, names, strict=True)]
    with_data = [part for part in loaded if part is not None]
    if not with_data:
        raise ValueError(
            f"parts {', '.join(map(str, sources))} names no data; give the folder of a run or of a trained baseline"
        )
    first = with_data[0].run
    assert first is not None
    for part in with_data[1:]:
        _check_same(with_data[0], part)
    parts = [part or _of_name(str(name), first, train) for part, name in zip(loaded, names, strict=True)]
    return _with_different_names(parts)


def _baseline_name(source: System | str | os.PathLike[str]) -> str | None:
    """The registered name of a baseline; None for a system or a folder."""
    names = {name.casefold(): name for name in (*COUNTED_BASELINES, *BASELINES)}
    return names.get(source.casefold()) if isinstance(source, str) else None


def _of_name(name: str, run: Run, train: Callable[[str, Run], pathlib.Path]) -> BlendPart:
    """The baseline of this name on a run's split."""
    if name in COUNTED_BASELINES:
        return BlendPart(counted_components([name], run.split.train)[0], "counted", None, name)
    return _of_folder(train(name, run))


def _of_folder(source: System | str | os.PathLike[str]) -> BlendPart:
    """A trained run, or a trained baseline in a folder that `train_baseline` wrote."""
    if not isinstance(source, System):
        folder = pathlib.Path(source)
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"part {os.fspath(source)!r} is neither the folder of a run nor a baseline; baselines are "
                f"{', '.join((*COUNTED_BASELINES, *BASELINES))}"
            )
        if (folder / "settings.json").is_file():
            return _trained_baseline(folder)
        source = loading.load(folder)
    if not source.config.task.ranking:
        raise ValueError(f"{source.folder} ranks no items, so it can't be blended; train it with a task that does")
    return BlendPart(catalogue_component(source), "run", source, _without_seed(source.config))


def _trained_baseline(folder: pathlib.Path) -> BlendPart:
    ((name, values),) = read_kept(folder / "settings.json", "json", "put it back, or train the baseline anew").items()
    if name not in BASELINES:
        raise ValueError(
            f"{folder} holds the baseline {name!r}, which is not registered; there are {', '.join(BASELINES)}"
        )
    record, run = BASELINES[name], reopen(folder)
    # Training goes on at its last step, so that there is nothing to do but to read the best weights.
    settings = from_dict(type(record.settings), values)
    component = trained_component(name, settings, run.split, run.config.seed, folder)
    return BlendPart(component, "baseline", run, f"{name} {values} {_without_seed(run.config)}")


def _without_seed(config: Config) -> str:
    """Everything of a config but seed, folder and name."""
    return to_json(dataclasses.replace(config, seed=0, out=None, name=""))


def _check_same(first: BlendPart, other: BlendPart) -> None:
    """Checks that two parts rank the same items for the same users after the same training events.

    Raises:
      ValueError: something differs; the message names it, and the settings of data that differ.
    """
    a, b = first.run, other.run
    assert a is not None
    assert b is not None
    compared = {
        "users": (a.data.user_names, b.data.user_names),
        "items": (a.data.item_names, b.data.item_names),
        "training events": (a.split.train.items, b.split.train.items),
        "training events per user": (a.split.train.offsets, b.split.train.offsets),
        "events before the validation items": (a.split.known.items, b.split.known.items),
        "validation items": (a.split.valid, b.split.valid),
        "test items": (a.split.test, b.split.test),
        "protocol": (a.split.protocol, b.split.protocol),
        "eval.mask_seen": (a.config.eval.mask_seen, b.config.eval.mask_seen),
    }
    differing = [name for name, (x, y) in compared.items() if not np.array_equal(x, y)]
    if differing:
        settings = [flatten_dict(dataclasses.asdict(run.config.data), sep=".") for run in (a, b)]
        fields = sorted(f"data.{field}" for field in settings[0] if settings[0][field] != settings[1][field])
        fields += ["seed"] if a.config.seed != b.config.seed else []
        raise ValueError(
            f"{first.name} in {a.folder} and {other.name} in {b.folder} have different {', '.join(differing)}"
            + (f" ({', '.join(fields)} differ)" if fields else "")
            + "; blend runs of the same data, split and protocol"
        )


def _with_different_names(parts: Sequence[BlendPart]) -> list[BlendPart]:
    """Parts that share a name are numbered: "META ID (1)", "META ID (2)".

    Raises:
      ValueError: two are the same.
    """
    keys = [part.name if part.run is None else str(part.run.folder.resolve()) for part in parts]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise ValueError(f"parts holds {twice[0]} twice; give each once")
    names = [part.name for part in parts]
    numbered = [
        f"{name} ({names[: n + 1].count(name)})" if names.count(name) > 1 else name for n, name in enumerate(names)
    ]
    return [
        dataclasses.replace(part, component=dataclasses.replace(part.component, name=name))
        for part, name in zip(parts, numbered, strict=True)
    ]
