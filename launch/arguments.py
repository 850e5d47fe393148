"""What the scripts share: a config with typed overrides, and errors told in one line."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence

import tyro

from jaxrec.config import Config, load_config


def config_from_command_line(arguments: Sequence[str]) -> tuple[Config, bool]:
    """A config file and its overrides, and whether `--show` was given (examples are printed at the end).

    Raises:
      ValueError: the first argument names no config.
    """
    if not arguments or arguments[0].startswith("-"):
        raise ValueError("the first argument is a config: python -m launch.train configs/demo.py [--train.steps 200]")
    rest = [a for a in arguments[1:] if a != "--show"]
    default = load_config(arguments[0])
    config = tyro.cli(Config, default=default, args=rest, prog=f"launch.train {arguments[0]}")
    return config, "--show" in arguments


def explained(main: Callable[[], None]) -> Callable[[], None]:
    """Errors that tell the user what to do are printed alone; $JAXREC_TRACEBACK=1 shows where they came from."""

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except (ValueError, FloatingPointError) as error:
            if os.environ.get("JAXREC_TRACEBACK"):
                raise
            notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
            sys.exit(f"error: {error}{notes}")

    return wrapped
