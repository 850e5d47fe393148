"""A disk that is full ends in one error that says so; with room again, the same command ends as if nothing had been."""

import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from jaxrec.config import Config, to_json
from tests.hostile.conftest import assert_same_results

SMALL_RUN = pathlib.Path(__file__).parents[1] / "training" / "small_run.py"
SCRIPT = """
    import importlib.util, pathlib, resource, sys
    import jax
    import numpy as np
    from jaxrec.files import check_sums, write_kept

    jax.config.update("jax_platforms", "cpu")
    folder = pathlib.Path(sys.argv[1])

    def room(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    write_kept(folder / "a.txt", "old")
    room(100)
    try:
        write_kept(folder / "a.txt", "new" * 100)
    except OSError as error:
        print("told:", error)
    assert sorted(file.name for file in folder.iterdir()) == ["a.txt", "sums.json"]
    assert (folder / "a.txt").read_text() == "old" and check_sums(folder)

    spec = importlib.util.spec_from_file_location("small_run", sys.argv[2])
    small = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(small)
    room(resource.RLIM_INFINITY)
    whole = small.train(folder / "whole", steps=12)
    for size in map(int, sys.argv[3:]):
        room(size)
        try:
            small.train(folder / str(size), steps=12)
        except OSError as error:
            print("told:", error)
        room(resource.RLIM_INFINITY)
        again = small.train(folder / str(size), steps=12)
        assert small.losses(again.history) == small.losses(whole.history)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again.best_params, whole.best_params))
"""


@pytest.mark.slow
def test_a_full_disk_is_told_and_survived(tmp_path: pathlib.Path) -> None:
    """As far as a test may fill a disk: no file can grow beyond a size."""
    sizes = ["300", "1000", "3000"]
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), tmp_path, SMALL_RUN, *sizes]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("told:")]
    assert len(told) == 1 + len(sizes), done.stdout
    assert all("File too large" in line for line in told)
    assert all("the same command goes on from" in line for line in told[1:]), told


@pytest.mark.soak
@pytest.mark.parametrize("size", [500, 5_000, 20_000, 60_000])
def test_a_whole_run_survives_a_full_disk(
    finished_run: Callable, tiny: Config, tmp_path: pathlib.Path, start: Callable, size: int
) -> None:
    expected = finished_run("META ID", tmp_path / "expected")
    (tmp_path / "run.json").write_text(to_json(tiny.replace(out=str(tmp_path / "run"))))
    process = start("train", tmp_path / "run", size)
    errors = process.communicate(timeout=500)[1]
    assert process.returncode == 1
    assert "File too large" in errors.splitlines()[-1]
    process = start("train", tmp_path / "run")
    errors = process.communicate(timeout=500)[1]
    assert process.returncode == 0, errors
    assert_same_results(tmp_path / "run", expected)
