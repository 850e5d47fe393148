"""Finds config files, by preset name or by path, and data files, by path or in the data folders."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.config.config import Config

PACKAGE = pathlib.Path(__file__).parent.parent
PRESETS = (PACKAGE / "presets", PACKAGE.parent / "configs")
"""Where presets are: an installed jaxrec has jaxrec/presets, a checkout has configs/."""


def load_config(path: str | os.PathLike[str]) -> Config:
    """The `config` that a config file builds.

    Args:
      path: a file's path, or a preset's name, such as "demo".
    Raises:
      ValueError: there is neither such a file nor such a preset (the message lists the presets), or the file builds no
        `config`.
    """
    config = getattr(_module(path), "config", None)
    if not isinstance(config, Config):
        raise ValueError(f"{path!s} builds no `config = Config(...)`; see configs/demo.py")
    return config


def load_study(path: str | os.PathLike[str]) -> dict[str, Config]:
    """The `study` that a config file builds: configs by row name. A file with a single `config` is a study of one row.

    Args:
      path: a file's path, or a preset's name, such as "demo_study".
    Raises:
      ValueError: there is neither such a file nor such a preset (the message lists the presets), or the file builds
        neither a `study` nor a `config`.
    """
    module = _module(path)
    study = getattr(module, "study", None)
    if study is None and isinstance(config := getattr(module, "config", None), Config):
        study = {config.name: config}
    if not isinstance(study, dict) or not study or not all(isinstance(c, Config) for c in study.values()):
        raise ValueError(
            f"{path!s} builds no `study` of configs by name, nor a `config`; see configs/studies/demo_study.py"
        )
    return study


def presets() -> dict[str, pathlib.Path]:
    """The config and study files that come with jaxrec, by preset name; those of the demo first."""
    files = [file for folder in PRESETS for file in folder.glob("**/*.py") if file.stem != "__init__"]
    return {file.stem: file for file in sorted(files, key=lambda file: (not file.stem.startswith("demo"), file))}


def _module(path: str | os.PathLike[str]) -> Any:
    file = pathlib.Path(path)
    if not file.is_file():
        preset_files = presets()
        # An installed jaxrec has no configs/ folder; there "configs/demo.py" means the preset "demo".
        may_be_preset = file.name == str(path) or file.parts[0] == "configs"
        preset = file.name.removesuffix(".py")
        if not may_be_preset or preset not in preset_files:
            raise ValueError(
                f"config {path!s} is neither a file nor a preset; the presets are: {', '.join(preset_files)}"
            )
        file = preset_files[preset]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"config {path!s} is not a Python file; a config is a .py file that builds `config`")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_file(path: str, beside: Sequence[pathlib.Path] = (), advice: str = "check the path") -> pathlib.Path:
    """The first existing path of a data file: as given, under $JAXREC_DATA, data/, ../shared/data, or in `beside`.

    Args:
      path: absolute or relative.
      beside: further folders to look in: a run's folder holds the events it was given as a data frame.
      advice: what the message says to do.
    Raises:
      ValueError: the file is in none of these places; the message lists them.
    """
    roots = [os.environ.get("JAXREC_DATA"), "data", "../shared/data", *beside]
    # Of an absolute path all candidates are equal; dict.fromkeys keeps one.
    candidates = list(dict.fromkeys([pathlib.Path(path), *(pathlib.Path(root) / path for root in roots if root)]))
    for file in candidates:
        if file.exists():
            return file
    places = ", ".join(map(str, candidates))
    raise ValueError(f"data file {path!r} is at none of: {places}; {advice}")
