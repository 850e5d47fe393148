"""One task of a study, wherever it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from jaxrec.progress import logger, messages_to
from jaxrec.text import printable

ERROR = "\0error: "
"""Begins the last line of a process that failed."""


def work(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """Calls function(*arguments), prints its messages with a name before them, and returns why it failed, or ""."""

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more; what is stored must be whole
            print(f"[{name}] {line}", flush=True)

    logger.propagate = False  # else a handler on the root logger, which some libraries add, would show every line twice
    try:
        with messages_to(say):
            function(*arguments)
    except Exception as error:
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", []))
        kind = "" if isinstance(error, ValueError | OSError | FloatingPointError) else f"{type(error).__name__}: "
        return printable(f"{kind}{' '.join(str(error).split())}{notes}")
    return ""
