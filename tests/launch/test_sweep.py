"""`launch.sweep` as users call it: trained once, chosen on validation, and mistakes in one line."""

import json
import pathlib

import pytest


@pytest.mark.slow
def test_a_sweep_is_trained_once_and_chooses(tmp_path: pathlib.Path, launch, tiny_config: str) -> None:
    (tmp_path / "tiny.py").write_text(tiny_config.replace("steps=60", "steps=6"))
    asked = ("sweep", "tiny.py", "--grid", "train.learning_rate=1e-6,1e-2", "train.warmup=0.1")
    code, out, err = launch(*asked, folder=tmp_path)
    assert code == 0, err
    assert "strict protocol, seeds 0: chosen on the validation items" in out
    assert out.count("<- chosen") == 1
    assert "95% paired bootstrap over 80 users" in out
    folder = tmp_path / "runs/tiny_sweep"
    found = json.loads((folder / "sweep.json").read_text())
    values = [row["validation"][0] for row in found["rows"]]
    assert values == sorted(values, reverse=True)
    for row in found["rows"]:
        name = "".join(c if c.isalnum() else "_" for c in row["name"].lower())
        best = [json.loads(line) for line in (folder / f"{name}-0" / "metrics.jsonl").read_text().splitlines()]
        assert row["validation"] == [max(r["valid/ndcg@10"] for r in best if "valid/ndcg@10" in r)]
        assert (folder / f"{name}-0" / "results.json").is_file() == (row["name"] == found["chosen"])
    code, again, err = launch(*asked, folder=tmp_path)
    assert code == 0, err
    assert "training:" not in err
    assert again == out


def test_mistakes_are_one_line(tmp_path: pathlib.Path, refused, tiny_config: str) -> None:
    (tmp_path / "tiny.py").write_text(tiny_config)
    told = refused("sweep", "tiny.py", "--grid", "train.rate=1", folder=tmp_path)
    assert told.startswith("error: --grid: train has no field 'rate'; it has epochs")
