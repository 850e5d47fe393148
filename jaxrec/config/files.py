"""Where configs and data files are found: by a preset's name, as a path, or in a folder of data."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.config.config import Config

PACKAGE = pathlib.Path(__file__).parent.parent
PRESETS = (PACKAGE / "presets", PACKAGE.parent / "configs")
"""Folders of presets, of which one exists: an installed jaxrec carries them, a checkout has them as configs/."""


def load_config(path: str | os.PathLike[str]) -> Config:
    """The `config` that a file builds, named by its path or, a preset, by its name: "demo".

    Raises:
      ValueError: there is no such file, or it builds no `config`; names the presets.
    """
    config = getattr(_module(path), "config", None)
    if not isinstance(config, Config):
        raise ValueError(f"{path!s} builds no `config = Config(...)`; see configs/demo.py")
    return config


def load_study(path: str | os.PathLike[str]) -> dict[str, Config]:
    """The `study` that a file builds: configs by the names of their rows; or its one `config`.

    Raises:
      ValueError: there is no such file, or it builds neither; names the presets.
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
    """The configs and studies that come with jaxrec, by name."""
    files = sorted(file for folder in PRESETS for file in folder.glob("**/*.py") if file.stem != "__init__")
    return {file.stem: file for file in files}


def _module(path: str | os.PathLike[str]) -> Any:
    file = pathlib.Path(path)
    if not file.is_file():
        by_name = presets()
        # "configs/demo.py" names the preset "demo" also where jaxrec is installed and no such folder is.
        named = file.name == str(path) or file.parts[0] == "configs"
        if not named or file.name.removesuffix(".py") not in by_name:
            raise ValueError(f"config {path!s} is no file, and no preset is called so; there are: {', '.join(by_name)}")
        file = by_name[file.name.removesuffix(".py")]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"config {path!s} is not a Python file; a config is a .py file that builds `config`")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_file(path: str, beside: Sequence[pathlib.Path] = ()) -> pathlib.Path:
    """Where a data file is: as given, under $JAXREC_DATA, data/ or ../shared/data, or in `beside`: the first there is.

    Args:
      path: absolute or relative.
      beside: folders of the run that asks: what was handed over as a data frame is stored there.
    Raises:
      ValueError: it is nowhere; names every place that was tried.
    """
    roots = [os.environ.get("JAXREC_DATA"), "data", "../shared/data", *beside]
    tried = list(dict.fromkeys([pathlib.Path(path), *(pathlib.Path(r) / path for r in roots if r)]))  # absolute: one
    for file in tried:
        if file.exists():
            return file
    places = ", ".join(str(p) for p in tried)
    raise ValueError(f"data file {path!r} is at none of: {places}; fetch it with python -m launch.download")
