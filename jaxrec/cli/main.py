"""The console command `jaxrec NAME ...`: finds the command of that name and runs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from jaxrec import __version__

COMMANDS = {
    "demo": "train META ID and TokenRec on a generated world and compare them; a few minutes, no network",
    "train": "train and measure a run: jaxrec train PRESET-OR-FILE --data FILE --out FOLDER",
    "recommend": "items for a user of the data, or for somebody new whose history is given",
    "evaluate": "measure a trained run again, with other beams or prompts, say",
    "report": "write a run's report.html anew",
    "compare": "train and measure several configs and seeds as one table",
    "baselines": "train and measure baselines that learn: SASRec, EASE, LightGCN, ...",
    "sweep": "choose settings on the validation items",
    "ask": "stars and texts of a run that was trained on reviews",
    "update": "take new events, users and items into a trained run without training",
    "export": "write a run as a folder that Hugging Face transformers loads",
    "audit": "look at data and ids before trusting them",
    "download": "fetch a public data set",
    "id-scores": "diversity and memorization of trained runs' ids",
    "tables": "fill a table of the META ID or TokenRec paper",
}
"""In the order in which somebody new meets them; each is the module of `jaxrec.cli` of its name."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs `jaxrec NAME ...`; without a name, or with --help, lists the commands."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h", "help"):
        print(usage())
    elif name == "--version":
        print(__version__)
    elif (command := name.replace("_", "-")) in COMMANDS:
        importlib.import_module(f"jaxrec.cli.{command.replace('-', '_')}").main(rest)
    else:
        sys.exit(f"error: there is no command {name!r}; there are: {', '.join(COMMANDS)}")


def usage() -> str:
    """What `jaxrec --help` prints."""
    width = max(map(len, COMMANDS))
    lines = ["usage: jaxrec COMMAND ...", "", "Recommenders whose users and items are new tokens of a language model."]
    lines += ["", *(f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()), ""]
    return "\n".join([*lines, "jaxrec COMMAND --help tells a command's arguments."])
