"""The console command `jaxrec COMMAND ...`, which dispatches to a module of `jaxrec.cli`."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from jaxrec import __version__
from jaxrec.cli.failures import USAGE, explained, fail
from jaxrec.text import quoted

COMMANDS = {
    "demo": "train META ID and TokenRec on synthetic data and compare them; a few minutes, no network",
    "train": "train and evaluate a run: jaxrec train PRESET-OR-FILE --data FILE --out FOLDER",
    "recommend": "recommend items to a known user, or to a new user with a given history",
    "evaluate": "evaluate a trained run again, for instance with another beam width or prompt",
    "report": "write a run's report.html again",
    "compare": "train and evaluate several configs with several seeds, as one table",
    "baselines": "train and evaluate baselines: SASRec, EASE, LightGCN, ...",
    "blend": "mix trained runs with each other and with counted baselines, weighted on validation items",
    "sweep": "hyperparameter search on the validation items",
    "ask": "predict ratings or generate texts with a run that was trained on reviews",
    "update": "add new events, users and items to a trained run without training",
    "export": "export a run as a folder that Hugging Face transformers loads",
    "audit": "check data and ids for errors and leaks",
    "download": "download a public data set",
    "id-scores": "diversity and memorization of trained runs' ids",
    "tables": "fill a table of the META ID or TokenRec paper",
}
"""Help text of each command, in the order of `jaxrec --help`; a command is the module of `jaxrec.cli` of its name."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs `jaxrec NAME ...`; without a name, or with --help, lists the commands."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h", "help", "--version"):
        explained(_about)([name])
    elif (command := name.replace("_", "-")) in COMMANDS:
        importlib.import_module(f"jaxrec.cli.{command.replace('-', '_')}").main(rest)
    else:
        near = difflib.get_close_matches(command, COMMANDS, 1)
        advice = f"; did you mean {near[0]}?" if near else ""
        fail(USAGE, f"there is no command {quoted(name)}{advice} There are: {', '.join(COMMANDS)}")


def _about(argv: Sequence[str] | None = None) -> None:
    print(__version__ if argv == ["--version"] else usage())


def usage() -> str:
    """What `jaxrec --help` prints."""
    width = max(map(len, COMMANDS))
    lines = ["usage: jaxrec COMMAND ...", "", "Recommenders whose users and items are new tokens of a language model."]
    lines += ["", *(f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()), ""]
    return "\n".join(
        [*lines, "jaxrec COMMAND --help lists a command's arguments; with --debug an error shows its traceback."]
    )
