"""What RecBole reads is our split, and its scores are ranked as ours are."""

import json
import pathlib
import stat
import sys

import numpy as np
import pytest

from benchmarks import baselines
from jaxrec.config import Config, to_json
from jaxrec.system.run_data import load_run_data

PEER = f"""#!{sys.executable}
import json, pathlib, sys
import numpy as np
folder, name, settings = pathlib.Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
events = [line.split() for line in (folder / "split" / "split.inter").read_text().splitlines()[1:]]
last = {{user: int(item) for user, item, _ in events}}
scores = np.zeros((len(last), settings["items"]), np.float32)
for row, item in enumerate(last.values()):
    scores[row, item] = 1
np.savez(folder / f"{{name}}.npz", users=np.array(list(map(int, last))), scores=scores)
print(json.dumps({{"epochs": 1, "seconds": 1.0, "targets": 10, "targets_per_second": 10.0}}))
"""


@pytest.fixture
def peer(tmp_path: pathlib.Path) -> pathlib.Path:
    """A Python whose RecBole knows each user's last event."""
    file = tmp_path / "python"
    file.write_text(PEER)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_its_last_two_events_of_a_user_are_held_out(tiny: Config, tmp_path: pathlib.Path) -> None:
    _, split, *_ = load_run_data(tiny, tmp_path)
    baselines.write_events(split, tmp_path / "split")
    rows = [line.split("\t") for line in (tmp_path / "split" / "split.inter").read_text().splitlines()]
    assert rows[0] == ["user_id:token", "item_id:token", "timestamp:float"]
    for user in range(split.train.n_users):
        events = [int(item) for name, item, _ in rows[1:] if name == str(user)]
        assert events == [*split.train.of(user), split.valid[user], split.test[user]]
    places = [int(place) for name, _, place in rows[1:] if name == "3"]
    assert places == list(range(len(places)))
    items = (tmp_path / "split" / "split.item").read_text().splitlines()
    assert items[0] == "item_id:token\tattributes:token_seq"
    assert len(items) == 1 + split.train.n_items


def test_both_sides_are_rows(tiny: Config, tmp_path: pathlib.Path, peer: pathlib.Path, capsys) -> None:
    config = tmp_path / "config.py"
    imports = "import json\nfrom jaxrec.config import Config, from_dict\n"
    config.write_text(f"{imports}config = from_dict(Config, json.loads({to_json(tiny)!r}))\n")
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    settings = ["--sasrec.epochs", "40", "--sasrec.validate-every", "20", "--sasrec.dim", "8", "--sasrec.inner", "8"]
    baselines.main([str(config), "--peer", str(peer), "--systems", "sasrec", *folders, *settings])
    (file,) = tmp_path.glob("recbole-*.json")
    ours, theirs = json.loads(file.read_text())["rows"]
    assert (ours["system"], theirs["system"]) == ("SASRec", "SASRec, RecBole")
    assert theirs["hr@10"] == theirs["ndcg@10"] == 1.0
    assert ours["ndcg@10"] < 1
    assert ours["minus_peer"]["difference"] == pytest.approx(ours["ndcg@10"] - 1, abs=1e-6)
    assert np.isfinite(ours["targets_per_second"])
    assert "SASRec, RecBole" in capsys.readouterr().out
