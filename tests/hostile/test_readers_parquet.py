"""A damaged Parquet file is an error of one line, never the end of the process."""

import pathlib
import subprocess
import sys

import pytest

from tests.hostile.mutations import SEED

ROOT = pathlib.Path(__file__).parent.parent.parent


def read_flipped(cases: int) -> None:
    command = [sys.executable, "-m", "tests.hostile.read_flipped", f"{SEED} parquet", str(cases)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    lines = child.stdout.splitlines() or [""]
    told = f"seed {SEED}, exit code {child.returncode}, {lines[-1][:20_000]}\n{child.stderr[-3000:]}"
    assert child.returncode == 0, told
    assert lines[-1].startswith("done "), told
    assert int(lines[-1].split()[1]) > cases // 20, told


def test_flipped_bits() -> None:
    read_flipped(300)


@pytest.mark.soak
def test_many_flipped_bits() -> None:
    read_flipped(10_000)
