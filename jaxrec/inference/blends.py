"""A blend of trained runs and baselines, as its folder keeps it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.baselines.clues import count_clues
from jaxrec.evaluate.blending import COUNTS, RERANKED, Blend
from jaxrec.evaluate.reranking import Reranker
from jaxrec.files import read_kept
from jaxrec.inference.blend_parts import BlendPart, read_parts
from jaxrec.system.run import Run
from jaxrec.types import DataError

BLEND_FILE = "blend.json"


def name_of_blend(parts: Sequence[BlendPart]) -> str:
    """What a blend of some parts is called, "META ID + TokenRec + counts"."""
    trained = [part.name for part in parts if part.kind != "counted"]
    return " + ".join([*trained, *([COUNTS] if len(trained) < len(parts) else [])])


@dataclasses.dataclass(frozen=True)
class BlendedParts:
    """Parts with their weights, in the folder that keeps them.

    Attributes:
      folder: with blend.json and results.json.
      parts: in the order they were given.
      blend: their components with fitted parameters, and the weights.
    """

    folder: pathlib.Path
    parts: tuple[BlendPart, ...]
    blend: Blend

    @property
    def name(self) -> str:
        """The row's name in tables: "META ID + TokenRec + counts"."""
        return name_of_blend(self.parts) + (RERANKED if self.blend.reranker is not None else "")

    @property
    def run(self) -> Run:
        """The first part with data; data, split and masks of all are the same."""
        return next(part.run for part in self.parts if part.run is not None)


def load_blend(folder: str | os.PathLike[str]) -> BlendedParts:
    """Loads a blend and its parts from the folder that `jaxrec.studies.blend.make_blend` wrote.

    Raises:
      ValueError: the folder holds no blend, or a part's folder is gone.
      DataError: blend.json is damaged.
    """
    folder = pathlib.Path(folder)
    if not (folder / BLEND_FILE).is_file():
        raise ValueError(f"{folder} holds no blend (no {BLEND_FILE}); make one with python -m launch.blend")
    file, remedy = folder / BLEND_FILE, "put it back, or blend anew"
    stored = read_kept(file, "json", remedy)
    try:
        return _loaded(folder, stored)
    except (KeyError, TypeError) as error:
        raise DataError(f"{file} lacks or garbles what a blend keeps ({error}); {remedy}") from error


def _loaded(folder: pathlib.Path, stored: dict[str, Any]) -> BlendedParts:
    """The blend that blend.json describes."""
    sources = []
    for part in stored["parts"]:
        source = part["name"] if part["folder"] is None else folder / part["folder"]
        if part["folder"] is not None and not source.is_dir():
            raise ValueError(f"{folder}: {source}, the folder of {part['name']}, is gone; put it back or blend anew")
        sources.append(source)
    parts = [
        dataclasses.replace(part, component=dataclasses.replace(part.component, **_fitted(values)))
        for part, values in zip(read_parts(sources, _never_trained), stored["parts"], strict=True)
    ]
    validation = stored["validation"]
    blend = Blend(
        tuple(part.component for part in parts),
        tuple(part["weight"] for part in stored["parts"]),
        validation["value"],
        validation["users"],
        validation["seed"],
        tuple((tuple(weights), value) for weights, value in validation["tries"]),
    )
    blended = BlendedParts(folder, tuple(parts), blend)
    if (reranker := stored.get("reranker")) is None:
        return blended
    try:
        reranker = Reranker.from_dict(reranker, count_clues(blended.run.split.train), len(parts))
    except ValueError as error:
        file = folder / BLEND_FILE
        raise DataError(f"{file} lacks or garbles what a blend keeps ({error}); put it back, or blend anew") from error
    return dataclasses.replace(blended, blend=dataclasses.replace(blend, reranker=reranker))


def _fitted(part: dict[str, Any]) -> dict[str, Any]:
    return {"name": part["name"], "parameter": part["parameter"]}


def _never_trained(name: str, run: Run) -> pathlib.Path:
    raise ValueError(f"{BLEND_FILE} names {name} without a folder beside {run.folder}; blend anew")
