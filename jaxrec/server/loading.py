"""Reads what is served: the folder of a run, or of a blend."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from jaxrec.inference.blends import BLEND_FILE, BlendedParts, load_blend
from jaxrec.server.blend import ServedBlend, system_of
from jaxrec.system import loading
from jaxrec.system.system import System


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A run, or a blend and its first run.

    Attributes:
      folder: of the run or of the blend.
      system: the run.
      blend: answers in the run's place; None for a run.
    """

    folder: pathlib.Path
    system: System
    blend: ServedBlend | None = None


def load(source: System | BlendedParts | str | os.PathLike[str], **overrides: Any) -> Loaded:
    """Reads a run or a blend from its folder, or takes one that is loaded already.

    Args:
      source: a folder, a run or a blend.
      overrides: fields of a run's eval config to change.
    Raises:
      ValueError: the folder holds neither, or is damaged, a blend has no run, or there are overrides for a blend.
    """
    if isinstance(source, System):
        return Loaded(source.folder, source)
    if not isinstance(source, BlendedParts):
        folder = pathlib.Path(source)
        if (folder / "config.json").is_file() or not (folder / BLEND_FILE).is_file():
            return Loaded(folder, loading.load(folder, **overrides))
        source = load_blend(folder)
    if overrides:
        raise ValueError(
            f"{source.folder} is a blend, whose runs answer as they were weighted: leave out {', '.join(overrides)}"
        )
    return Loaded(source.folder, system_of(source), ServedBlend.of(source))
