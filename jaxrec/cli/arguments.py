"""Shared by the commands: typed arguments, and configs with overrides."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

import jaxrec
from jaxrec.cli.help import REGISTRY
from jaxrec.config import Config, load_config, presets
from jaxrec.config.limits import PositiveInt, check_limits

Arguments = TypeVar("Arguments")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Arguments of commands that train several runs."""

    workers: PositiveInt = 1
    """Runs that are trained at a time, each in a process with an even share of this machine's cores or GPUs."""
    ray: bool = False
    """Train them as tasks on the Ray cluster of $RAY_ADDRESS, or on a local one (pip install 'jaxrec[ray]')."""


def parsed(kind: type[Arguments], name: str, argv: Sequence[str] | None) -> Arguments:
    """Parses a command's arguments from `argv`, or from the command line of this process where it is None.

    Raises:
      ValueError: an option is unknown or misses its value, or a value is out of the range that its field declares.
    """
    arguments = _read(kind, f"jaxrec {name}", sys.argv[1:] if argv is None else argv)
    check_limits(arguments)
    return arguments


def config_from_command_line(argv: Sequence[str] | None) -> tuple[Config, bool]:
    """The config with its overrides, and whether `--show` was given.

    Args:
      argv: PRESET-OR-FILE [--data FILE] [--show] [--FIELD VALUE ...]; None: the command line of this process.
    Raises:
      ValueError: the first argument is missing or names no config, or `--data` has no value.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv in (["--help"], ["-h"]):
        print(_train_usage())
        sys.exit(0)
    if not argv or argv[0].startswith("-"):
        raise ValueError("the first argument is a config: jaxrec train demo, or a file: jaxrec train configs/demo.py")
    preset, *rest = argv
    config = load_config(preset)
    show, rest = "--show" in rest, [argument for argument in rest if argument != "--show"]
    if (file := _pop_option(rest, "--data")) is not None:
        config = _with_data_file(config, file)
    changed = _read(Config, f"jaxrec train {preset}", rest, default=config)
    is_named = any(argument.partition("=")[0] == "--data.name" for argument in rest)
    if changed.data.path is not None and changed.data.path != config.data.path and not is_named:
        changed = changed.replace(data__name=pathlib.Path(changed.data.path).name)  # not that of the config's own file
    return changed, show


def load_run(folder: str | os.PathLike[str], *, accept_new_data: bool = False) -> jaxrec.TrainedRun:
    """Loads a trained run.

    Raises:
      ValueError: the folder holds none, or a blend.
    """
    run = jaxrec.load(folder, accept_new_data=accept_new_data)
    if not isinstance(run, jaxrec.TrainedRun):
        raise ValueError(f"{folder} holds a blend, which only recommends; give the folder of one of its runs")
    return run


Names = tyro.conf.UseAppendAction[tuple[str, ...]]
"""An option that holds names and can be repeated; see `names`."""


def names(values: Sequence[str]) -> list[str]:
    """The names that an option was given.

    Given several times, each value is one name, whatever it holds. Given once, it is a JSON list of names if it is
    one, and else names separated by commas, without blanks around them.
    """
    if len(values) != 1:
        return list(values)
    with contextlib.suppress(ValueError):
        listed = json.loads(values[0])
        if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
            return listed
    return [name.strip() for name in values[0].split(",") if name.strip()]


def _read(kind: type[Arguments], program: str, argv: Sequence[str], **settings: Any) -> Arguments:
    """What tyro reads; where it draws a box that says what is wrong, a ValueError says so in one line."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(kind, prog=program, args=list(argv), registry=REGISTRY, **settings)
    except SystemExit as ended:
        if ended.code in (0, None):
            raise
        raise ValueError(f"{_one_line(shown.getvalue())}; {program} --help lists all options") from None


def _one_line(box: str) -> str:
    """The text of a box that tyro draws: its paragraphs, separated by semicolons."""
    paragraphs, words = [], []
    for line in box.splitlines():
        text = line.strip("│ ")
        if text.startswith(("╭", "╰", "─")):
            paragraphs, words = [*paragraphs, " ".join(words)], []
        elif text.startswith("For full helptext"):
            break
        else:
            words.append(text)
    return "; ".join(paragraph.strip() for paragraph in paragraphs if paragraph.strip())


def _pop_option(argv: list[str], name: str) -> str | None:
    """Removes `name VALUE` or `name=VALUE` from `argv` and returns the value; None where the option is absent."""
    for position, argument in enumerate(argv):
        if argument.startswith(f"{name}="):
            return argv.pop(position).partition("=")[2]
        if argument == name:
            if position + 1 == len(argv):
                raise ValueError(f"{name} wants a file: {name} events.csv")
            del argv[position]
            return argv.pop(position)
    return None


def _with_data_file(config: Config, file: str) -> Config:
    """The config with another data file; how its own file is read is reset."""
    return dataclasses.replace(config, data=config.data.on_file(file, pathlib.Path(file).name))


def _train_usage() -> str:
    lines = [
        "usage: jaxrec train PRESET-OR-FILE [--data FILE] [--out FOLDER] [--show] [--train.epochs 2 ...]",
        "",
        "Trains a run, evaluates it and the baselines, and stores everything in the run's folder.",
        "Called again, it resumes an interrupted run.",
        "",
        "  --data FILE    events of a file in place of the config's (CSV, Parquet, JSON lines, MovieLens, RecBole ...)",
        "  --out FOLDER   the run's folder; default: runs/NAME",
        "  --show         print recommendations for a few users at the end",
        "  --debug        show the traceback of an error",
        "  `jaxrec train PRESET --help` lists every other setting",
        "",
        f"presets: {', '.join(name for name in presets() if not name.endswith('_study'))}",
    ]
    return "\n".join(lines)
