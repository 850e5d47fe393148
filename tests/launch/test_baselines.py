"""`launch.baselines` as users call it."""

import json
import pathlib

import pytest


@pytest.mark.slow
def test_a_table_beside_the_baselines_without_learning(tmp_path: pathlib.Path, launch, tiny_config) -> None:
    (tmp_path / "tiny.py").write_text(tiny_config)
    small = ("--sasrec.dim", "8", "--sasrec.epochs", "2", "--sasrec.heads", "1", "--ease.regularization", "5", "50")
    asked = ("baselines", "tiny.py", "--systems", "sasrec", "ease", "--seeds", "0", "1", *small)
    code, out, err = launch(*asked, folder=tmp_path)
    assert code == 0, err
    assert "SASRec" in out
    assert "transitions" in out
    assert "EASE: NDCG@10 on the validation items, by seed: 0." in out
    assert "valid/ndcg@10" in err
    joined = json.loads((tmp_path / "runs/tiny_baselines/results.json").read_text())
    assert joined["command"].startswith("python -m launch.baselines tiny.py --systems sasrec ease")
    assert joined["runs"]["EASE"][1]["settings"] == {"regularization": [5.0, 50.0]}
    code, _, err = launch("baselines", "tiny.py", "--systems", "nothing", folder=tmp_path)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: baselines nothing: give some of")
