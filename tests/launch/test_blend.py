"""`launch.blend` and `launch.recommend` of a blend, as users call them."""

import json
import pathlib


def test_a_baseline_is_blended_with_counts_and_recommends(tmp_path: pathlib.Path, launch, tiny_config, refused) -> None:
    (tmp_path / "tiny.py").write_text(tiny_config)
    code, _, err = launch("baselines", "tiny.py", "--systems", "ease", "--out", "tables", folder=tmp_path)
    assert code == 0, err
    wanted = ("blend", "tables/ease-0", "--with", "transitions", "item-knn", "--out", "mine", "--users", "0")
    code, out, err = launch(*wanted, folder=tmp_path)
    assert code == 0, err
    assert "EASE + counts" in out
    assert "ties count half" in out
    assert "folder: mine  (jaxrec recommend mine --user NAME)" in out
    stored = json.loads((tmp_path / "mine" / "blend.json").read_text())
    assert stored["command"].startswith("python -m launch.blend tables/ease-0 --with transitions item-knn")
    assert [part["name"] for part in stored["parts"]] == ["EASE", "transitions", "item-kNN"]
    user = "user" + "7".zfill(2)
    code, out, err = launch("recommend", "mine", "--user", user, "-k", "4", folder=tmp_path)
    assert code == 0, err
    assert "recommendations, weighted log-probability of EASE + counts:" in out
    assert "%" in out
    assert refused("recommend", "mine", "--user", user, "--task", "direct", folder=tmp_path).startswith(
        "error: a blend"
    )
    assert "which only recommends" in refused("report", "mine", folder=tmp_path)
