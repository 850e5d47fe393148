"""The scripts as users call them: train, killed and called again, evaluate, recommend."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

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


def launch(script: str, *arguments: str, folder: pathlib.Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax-tests"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": "",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", f"launch.{script}", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finished(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def records(folder: pathlib.Path) -> list[dict]:
    """metrics.jsonl without the rates, which no two runs share."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    kept = [{k: v for k, v in json.loads(line).items() if not k.endswith("per_second")} for line in lines]
    return [record for record in kept if len(record) > 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a trained run in runs/tiny."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.py").write_text(CONFIG)
    code, out, err = finished(launch("train", "tiny.py", "--show", folder=folder))
    assert code == 0, err
    assert "tiny world, strict protocol, test part" in out
    assert "recommendations, log-probability" in out
    return folder


@pytest.mark.slow
def test_killed_in_mid_training_the_same_command_gives_the_same_losses(folder: pathlib.Path) -> None:
    killed = launch("train", "tiny.py", "--out", "runs/killed", folder=folder)
    file = folder / "runs" / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:  # past the first validation, so that there is a checkpoint
        if file.is_file() and '"step": 25' in file.read_text():
            break
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert finished(killed)[0] == -signal.SIGKILL
    assert not (folder / "runs" / "killed" / "results.json").exists()
    code, _, err = finished(launch("train", "tiny.py", "--out", "runs/killed", folder=folder))
    assert code == 0, err
    assert "goes on" in err
    assert records(folder / "runs" / "killed") == records(folder / "runs" / "tiny")


def test_evaluate_again(folder: pathlib.Path) -> None:
    code, out, err = finished(launch("evaluate", "runs/tiny", "--recommender", "exact", folder=folder))
    assert code == 0, err
    assert "META ID" in out
    assert "10 beams on 80 of these users" in out
    found = json.loads((folder / "runs/tiny/evaluations/test-exact-10-seen/results.json").read_text())
    assert found["rows"][0]["n_users"] == 80


def test_recommend(folder: pathlib.Path) -> None:
    names = (folder / "runs/tiny/ids/items.txt").read_text().split()[::2]
    code, out, err = finished(
        launch("recommend", "runs/tiny", "--history", ",".join(names[:3]), "-k", "4", folder=folder)
    )
    assert code == 0, err
    assert out.count("<Item>") == 3 + 4


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train", ["nothing.py"], "error: config nothing.py is not a file"),
        ("train", [], "error: the first argument is a config"),
        ("recommend", ["runs/none", "--user", "x"], "error: runs/none holds no run"),
        ("recommend", ["runs/none"], "error: give either --user NAME or --history"),
        ("evaluate", ["runs/none"], "error: runs/none holds no run"),
    ],
)
def test_errors_are_one_line(script: str, arguments: list[str], message: str, tmp_path: pathlib.Path) -> None:
    code, _, err = finished(launch(script, *arguments, folder=tmp_path))
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(message)
    assert "Traceback" not in err
