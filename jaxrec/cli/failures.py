"""How a command ends: one line on stderr and an exit code for every failure that can be foreseen.

0 done; 1 an error of jaxrec itself; 2 settings or arguments; 3 data, or a run's files; 4 storage or memory; 130 SIGINT
(Ctrl-C); 141 the reader of the output went away; 143 SIGTERM. With --debug the traceback is shown as well.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, Protocol

from jaxrec.cli.signals import stopping_at_signals
from jaxrec.progress import log_to_stderr
from jaxrec.text import printable, quoted

BUG, USAGE, DATA, STORAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 4, 130, 141
DEBUG = "--debug"


class Main(Protocol):
    """The `main` of a command; `argv` None: the arguments of this process."""

    def __call__(self, argv: Sequence[str] | None = None) -> None: ...


def explained(main: Main) -> Main:
    """Decorates a command: shows progress, stops at signals, and ends failures as this module's docstring says."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> None:
        log_to_stderr()
        _write_any_character()
        arguments = [_as_utf8(argument) for argument in (sys.argv[1:] if argv is None else argv)]
        debug = DEBUG in arguments
        try:
            with stopping_at_signals():
                main([argument for argument in arguments if argument != DEBUG])
                sys.stdout.flush()  # a pipe that is closed is noticed here
        except BaseException as error:
            if isinstance(error, SystemExit | GeneratorExit):
                raise
            if debug and not isinstance(error, BrokenPipeError):
                traceback.print_exception(error)
            fail(*failure(error))

    return wrapped


def fail(code: int, message: str) -> NoReturn:
    """Ends the command with a message on stderr, where there is one, and an exit code."""
    try:
        sys.stdout.flush()
    except OSError:  # a closed pipe or a full disk, which Python's own flush at the end would meet again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if message:
        print(f"error: {printable(message)}", file=sys.stderr)
    raise SystemExit(code)


def failure(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and what to say."""
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", []))
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE, ""
    if isinstance(error, UnicodeDecodeError) or _is_data_error(error):
        return DATA, f"{error}{notes}"
    if isinstance(error, ValueError | FloatingPointError):
        return getattr(error, "exit_code", USAGE), f"{error}{notes}"
    if isinstance(error, OSError):
        return STORAGE, _of_storage(error) + notes
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return STORAGE, f"out of memory ({_first_line(error)}); lower train.rows, eval.batch_users or the model's sizes"
    if _is_missing_device(error):
        return USAGE, _of_devices()
    return BUG, f"{type(error).__name__}: {_first_line(error)}; this is an error of jaxrec, {DEBUG} shows its traceback"


def _is_data_error(error: BaseException) -> bool:
    types = sys.modules.get("jaxrec.types")  # imports jax, which a command that is refused at once does not need
    return types is not None and isinstance(error, types.DataError)


def _of_storage(error: OSError) -> str:
    """The file and what the system says about it."""
    files = " and ".join(quoted(os.fsdecode(name)) for name in (error.filename, error.filename2) if _is_path(name))
    reason = error.strerror or _first_line(error)
    return f"{files}: {reason}" if files else reason


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _is_missing_device(error: BaseException) -> bool:
    """Whether jax found no device of the platform that was asked for; it says so by various exceptions."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.replace(os.sep, "/").endswith("jax/_src/xla_bridge.py")


def _of_devices() -> str:
    platforms = os.environ.get("JAX_PLATFORMS", "")
    return f"jax finds no device of JAX_PLATFORMS={quoted(platforms)}; set it to cpu, or leave it unset"


def _write_any_character() -> None:
    """Lets stdout and stderr escape what their encoding lacks; a name must not end the output."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def _as_utf8(argument: str) -> str:
    """An argument that the locale could not decode, decoded as UTF-8 where it is that."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument
