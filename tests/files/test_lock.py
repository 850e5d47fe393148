"""One writer a folder; a killed one leaves no lock."""

import os
import pathlib
import subprocess
import sys
import textwrap
import threading

import pytest

from jaxrec.files import InUseError, locked_folder

HOLDER = """
    import os, pathlib, sys
    from jaxrec.files import locked_folder
    with locked_folder(pathlib.Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
"""


def holder(folder: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_who_and_a_killed_one_leaves_no_lock(tmp_path: pathlib.Path) -> None:
    with holder(tmp_path / "run") as process:
        with (
            pytest.raises(InUseError, match=rf"is being written by process {process.pid} on .* since \d{{4}}-"),
            locked_folder(tmp_path / "run"),
        ):
            pass
        process.kill()
    with locked_folder(tmp_path / "run"):
        owner = (tmp_path / "run" / "run.lock").read_text()
    assert owner.startswith(f"process {os.getpid()} on ")
    assert owner.count("\n") == 1


def test_the_thread_that_holds_it_may_take_it_again(tmp_path: pathlib.Path) -> None:
    errors = []

    def take() -> None:
        try:
            with locked_folder(tmp_path):
                pass
        except InUseError as error:
            errors.append(error)

    with locked_folder(tmp_path):
        with locked_folder(tmp_path / "." / "x" / ".."):
            pass
        other = threading.Thread(target=take)
        other.start()
        other.join()
    assert len(errors) == 1
    take()
    assert len(errors) == 1
