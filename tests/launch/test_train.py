"""The scripts as users call them: train, killed and called again, evaluate, recommend."""

import json
import pathlib
import signal
import time

import pytest


def records(folder: pathlib.Path) -> list[dict]:
    """metrics.jsonl without the rates, which no two runs share."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    kept = [{k: v for k, v in json.loads(line).items() if not k.endswith("per_second")} for line in lines]
    return [record for record in kept if len(record) > 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, launch, tiny_config) -> pathlib.Path:
    """A folder with a trained run in runs/tiny."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.py").write_text(tiny_config)
    code, out, err = launch("train", "tiny.py", "--show", folder=folder)
    assert code == 0, err
    assert "tiny world, strict protocol, test part" in out
    assert "recommendations, log-probability" in out
    return folder


@pytest.mark.long
def test_killed_in_mid_training_the_same_command_gives_the_same_losses(
    folder: pathlib.Path, launch, started, finished
) -> None:
    killed = started("train", "tiny.py", "--out", "runs/killed", folder=folder)
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
    code, _, err = launch("train", "tiny.py", "--out", "runs/killed", folder=folder)
    assert code == 0, err
    assert "goes on" in err
    assert records(folder / "runs" / "killed") == records(folder / "runs" / "tiny")


@pytest.mark.slow
def test_evaluate_again(folder: pathlib.Path, launch) -> None:
    code, out, err = launch("evaluate", "runs/tiny", "--recommender", "exact", folder=folder)
    assert code == 0, err
    assert "META ID" in out
    assert "10 beams on 80 of these users" in out
    found = json.loads((folder / "runs/tiny/evaluations/test-exact-10-seen/results.json").read_text())
    assert found["rows"][0]["n_users"] == 80


@pytest.mark.slow
def test_recommend(folder: pathlib.Path, launch) -> None:
    names = (folder / "runs/tiny/ids/items.txt").read_text().split()[::2]
    code, out, err = launch("recommend", "runs/tiny", "--history", ",".join(names[:3]), "-k", "4", folder=folder)
    assert code == 0, err
    assert out.count("<Item>") == 3 + 4


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train", [], "error: the first argument is a config"),
        ("recommend", ["runs/none", "--user", "x"], "error: runs/none holds no run"),
        ("recommend", ["runs/none"], "error: give either --user NAME or --history"),
        ("evaluate", ["runs/none"], "error: runs/none holds no run"),
    ],
)
def test_errors_are_one_line(script: str, arguments: list[str], message: str, tmp_path: pathlib.Path, refused) -> None:
    told = refused(script, *arguments, folder=tmp_path)
    assert told.startswith(message)
    assert len(told.splitlines()) == 1


def test_an_error_ends_the_script(tmp_path: pathlib.Path, started, finished) -> None:
    code, _, err = finished(started("train", "nothing.py", folder=tmp_path))
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("error: config nothing.py is neither a file nor a preset")
    assert "Traceback" not in err
