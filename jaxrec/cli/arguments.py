"""Shared by the commands: typed arguments, configs with overrides, and errors as a single line."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

import tyro

import jaxrec
from jaxrec.cli.help import REGISTRY
from jaxrec.cli.signals import ending_compilations
from jaxrec.config import Config, load_config, presets
from jaxrec.config.limits import check_limits
from jaxrec.progress import log_to_stderr

Arguments = TypeVar("Arguments")


class Main(Protocol):
    """The `main` of a command; `argv` None: the arguments of this process."""

    def __call__(self, argv: Sequence[str] | None = None) -> None: ...


def parsed(kind: type[Arguments], name: str, argv: Sequence[str] | None) -> Arguments:
    """Parses a command's arguments from `argv`, or from the command line of this process where it is None.

    Raises:
      ValueError: a value is out of the range that its field declares.
    """
    arguments = tyro.cli(kind, prog=f"jaxrec {name}", args=None if argv is None else list(argv), registry=REGISTRY)
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
    return tyro.cli(Config, default=config, args=rest, prog=f"jaxrec train {preset}", registry=REGISTRY), show


def load_run(folder: str | os.PathLike[str]) -> jaxrec.TrainedRun:
    """Loads a trained run.

    Raises:
      ValueError: the folder holds none, or a blend.
    """
    run = jaxrec.load(folder)
    if not isinstance(run, jaxrec.TrainedRun):
        raise ValueError(f"{folder} holds a blend, which only recommends; give the folder of one of its runs")
    return run


def names(text: str) -> list[str]:
    """Splits comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def explained(main: Main) -> Main:
    """Decorates a command: shows progress, lets signals stop a compilation, and prints user errors without a traceback.

    User errors are ValueError and FloatingPointError; $JAXREC_TRACEBACK=1 shows their traceback.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> None:
        log_to_stderr()
        try:
            with ending_compilations():
                main(argv)
        except (ValueError, FloatingPointError) as error:
            if os.environ.get("JAXREC_TRACEBACK"):
                raise
            notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
            sys.exit(f"error: {error}{notes}")

    return wrapped


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
    """The config with another data file; format, columns and titles of its own file are reset."""
    data = dataclasses.replace(
        config.data, name=pathlib.Path(file).name, path=file, format="auto", columns=(), items_path=None
    )
    return dataclasses.replace(config, data=data)


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
        "  `jaxrec train PRESET --help` lists every other setting",
        "",
        f"presets: {', '.join(name for name in presets() if not name.endswith('_study'))}",
    ]
    return "\n".join(lines)
