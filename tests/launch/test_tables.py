"""`launch.tables` as users call it: runs are made once, shown again, and what is wrong is one line."""

import json
import pathlib

import pytest


@pytest.mark.slow
def test_a_table_is_filled_and_shown_again(tmp_path: pathlib.Path, launch, tiny_config) -> None:
    study = tiny_config.replace("steps=60", "steps=6") + 'study = {"META ID": config}\n'
    (tmp_path / "mine.py").write_text(study)
    asked = ("tables", "meta_id", "8", "--study", "mine.py", "--out", "out")
    code, out, err = launch(*asked, "--budget", "0.01s", folder=tmp_path)
    assert code == 0, err
    assert "1 run is missing; in this order, with about how long each takes:" in err
    assert "the budget is spent; the same command goes on" in err
    assert "META ID: not run" in out
    code, out, err = launch(*asked, "--only", "meta id", "--budget", "1h", folder=tmp_path)
    assert code == 0, err
    assert "META ID, table 8: Independent ids (IID)" in out
    assert "IID: not in this study" in out
    results = json.loads((tmp_path / "out/mine/meta_id-0/results.json").read_text())
    found = json.loads((tmp_path / "out/META_ID-8.json").read_text())
    assert found["rows"][1]["cells"]["HR@10"] == {"ours": [results["rows"][0]["hr@10"]], "paper": "0.0689"}
    assert f"{results['rows'][0]['hr@10']:.4f} (0.0689)" in out
    durations = json.loads((tmp_path / "out/durations.json").read_text())
    assert [known["finished"] for known in durations.values()] == [True]
    code, again, err = launch(*asked, "--finished-only", folder=tmp_path)
    assert code == 0, err
    assert again == out
    assert found["rows"] == json.loads((tmp_path / "out/META_ID-8.json").read_text())["rows"]
    code, _, err = launch(*asked, "--budget", "tomorrow", folder=tmp_path)
    assert code == 2
    assert "budget 'tomorrow' is no duration above 0" in err.splitlines()[-1]
    code, _, err = launch("tables", "meta_id", "7", folder=tmp_path)
    assert code == 2
    assert "Traceback" not in err
    assert "META ID has no table of results 7" in err.splitlines()[-1]
