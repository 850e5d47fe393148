"""The scripts as users call them, and a config small enough to be trained in one."""

import contextlib
import importlib
import importlib.util
import io
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIG = """
from jaxrec.config import *
config = Config(
    name="tiny",
    data=DataConfig(name="tiny world", world=WorldConfig(users=80, items=48, events_per_user=9.0, tastes=4)),
    walks=WalkConfig(rounds=2, length=12),
    skipgram=SkipGramConfig(dim=8, epochs=2, batch_walks=64),
    ids=IdConfig(clusters=6, restarts=1, spare=4),
    model=ModelConfig(t5=T5Config(d_model=16, d_kv=8, heads=2, d_ff=32, encoder_layers=1, decoder_layers=1)),
    task=TaskConfig(max_history=6),
    train=TrainConfig(steps=60, rows=8, source_length=96, target_length=16, validate_every=0.5, validate_users=20,
                      log_every=1, patience=0),
    eval=EvalConfig(beams=10, batch_users=32),
)
"""


@pytest.fixture(scope="session")
def tiny_config() -> str:
    """The text of a config file."""
    return CONFIG


@pytest.fixture(scope="session")
def launch() -> Callable[..., tuple[int, str, str]]:
    """Runs a script as `python -m launch.NAME ...` would, in this process, where what is compiled once stays so.

    ("train", "tiny.py", ..., folder=here) gives its exit code, output and errors.
    """
    return _launch


@pytest.fixture(scope="session")
def started() -> Callable[..., subprocess.Popen]:
    """Starts a script in a process of its own: ("train", "tiny.py", ..., folder=here)."""
    return _started


@pytest.fixture(scope="session")
def finished() -> Callable[[subprocess.Popen], tuple[int, str, str]]:
    """Waits for a started script: exit code, output, errors."""
    return _finished


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a script says as it ends in this process: ("train", "nothing.py", folder=here)."""

    def of(script: str, *arguments: str, folder: pathlib.Path) -> str:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [f"launch.{script}", *arguments])
        err = io.StringIO()
        with pytest.raises(SystemExit) as caught, contextlib.redirect_stderr(err):
            importlib.import_module(f"launch.{script}").main()
        assert caught.value.code in (2, 3)
        return err.getvalue().splitlines()[-1]

    return of


def _launch(script: str, *arguments: str, folder: pathlib.Path) -> tuple[int, str, str]:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [f"launch.{script}", *arguments])
        patch.setattr(sys.modules["__main__"], "__spec__", importlib.util.find_spec(f"launch.{script}"))
        try:
            importlib.import_module(f"launch.{script}").main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            err.write(f"{ended.code}\n" if isinstance(ended.code, str) else "")
    return code, out.getvalue(), err.getvalue()


def _started(script: str, *arguments: str, folder: pathlib.Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax-tests"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", f"launch.{script}", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _finished(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err
