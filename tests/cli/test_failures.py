"""Every command ends a failure that can be foreseen in one line and with the exit code that the docs name."""

import errno
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import pytest

from jaxrec.cli import failures
from jaxrec.cli.failures import explained
from jaxrec.types import DataError

ROOT = pathlib.Path(__file__).parent.parent.parent


class Panic(BaseException):
    """As a library in Rust raises."""


def ended(error: BaseException, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[object, str]:
    """Exit code and stderr of a command in which an error is raised."""

    @explained
    def main(argv: Sequence[str] | None = None) -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code, capsys.readouterr().err


def process(program: str, *argv: str, **settings: str) -> subprocess.CompletedProcess:
    """A program in a process of its own, with `explained` imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-c", f"from jaxrec.cli.failures import explained\n{program}", *argv]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("k=0 is too small"), 2, "k=0 is too small"),
        (FloatingPointError("loss is nan"), 2, "loss is nan"),
        (DataError("a.csv, line 3: no item"), 3, "a.csv, line 3: no item"),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), 4, "'/runs/x': No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", b"/runs/y"), 4, "'/runs/y': Permission denied"),
        (OSError(errno.EXDEV, "Cross-device link", "a", None, "b"), 4, "'a' and 'b': Cross-device link"),
        (OSError("no reason"), 4, "no reason"),
        (MemoryError("Unable to allocate 4 TiB"), 4, "out of memory (Unable to allocate 4 TiB); lower train.rows"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), 4, "out of memory (RESOURCE_EXHAUSTED: 9 GB)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyError("weights"), 1, "KeyError: 'weights'; this is an error of jaxrec, --debug shows its traceback"),
        (Panic("index\nout of range"), 1, "Panic: index; this is an error of jaxrec"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_failure_is_one_line_and_a_code(error, code, line, capsys: pytest.CaptureFixture[str]) -> None:
    said = ended(error, capsys)
    assert said[0] == code
    assert said[1].startswith(f"error: {line}")
    assert len(said[1].splitlines()) == 1


def test_notes_are_said_and_control_characters_are_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError("the item \x1b[31m\u202eevil")
    error.add_note("the last checkpoint is step 3")
    assert ended(error, capsys)[1] == "error: the item \\x1b[31m\\u202eevil; the last checkpoint is step 3\n"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = ended(ValueError("wrong"), capsys, "--debug")
    assert code == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("error: wrong\n")


def test_a_code_that_a_command_chose_is_kept() -> None:
    @explained
    def main(argv: Sequence[str] | None = None) -> None:
        raise SystemExit(7)

    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 7


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "from jaxrec.cli.failures import explained\nexplained(lambda argv=None: print('x' * 100_000))([])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (failures.BROKEN_PIPE, b"")


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_onto_a_full_disk_is_said() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "jaxrec", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (failures.STORAGE, b"error: No space left on device\n")


@pytest.mark.parametrize(
    "settings",
    [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}],
    ids=["C locale", "cp1252", "ascii"],
)
def test_every_name_can_be_printed_on_every_console(settings: dict[str, str]) -> None:
    program = "import sys\nexplained(lambda argv=None: print(argv[0], '\\u96ea'))(None)"
    done = process(program, "Zürich 雪", **settings)
    assert done.returncode == 0, done.stderr
    expected = "Zürich 雪 雪\n".encode("cp1252" if "cp1252" in settings.values() else "ascii", "backslashreplace")
    assert done.stdout == expected


def test_a_platform_that_is_not_there_is_named() -> None:
    done = process("import jax\nexplained(lambda argv=None: jax.devices())([])", JAX_PLATFORMS="cuda")
    assert done.returncode == failures.USAGE
    *_, line = done.stderr.decode().splitlines()
    assert line == "error: jax finds no device of JAX_PLATFORMS='cuda'; set it to cpu, or leave it unset"
