"""`launch.compare` and `launch.update` as users call them, on TokenRec."""

import json
import pathlib

import pytest

STUDY = """
token_rec = dataclasses.replace(
    config,
    embedder="lightgcn",
    answer="vector",
    lightgcn=LightGcnConfig(dim=8, layers=2, epochs=10, batch=128),
    ids=IdConfig(kind="mq", users="static"),
    quantizer=QuantizerConfig(codebooks=2, codewords=8, width=8, hidden=(16, 16), epochs=10),
    task=TaskConfig(tasks=("collaborative", "direct"), max_history=6),
)
study = {"META ID": config, "TokenRec": token_rec}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, launch, tiny_config) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "both.py").write_text("import dataclasses\n" + (tiny_config + STUDY).replace("steps=60", "steps=6"))
    code, out, err = launch("compare", "both.py", "--show", "1", folder=folder)
    assert code == 0, err
    assert "recommendations, log-probability" in out
    assert "recommendations, cosine" in out
    assert out.count("ms per user for a list of ten") == 2
    for line in (line for line in out.splitlines() if line.startswith("report of ")):
        assert (folder / line.split(": ")[1]).read_text().startswith("<!DOCTYPE html>")
    assert out.count("report of ") == 2
    assert out.splitlines()[-1].startswith("a page to try them in: ")
    assert out.splitlines()[-1].endswith("jaxrec serve runs/both/meta_id-0 runs/both/tokenrec-0")
    systems = [row["system"] for row in json.loads((folder / "runs/both/results.json").read_text())["rows"]]
    assert {"META ID", "TokenRec", "LightGCN", "popularity", "item-kNN", "transitions"} <= set(systems)
    return folder


@pytest.mark.long
def test_new_events_are_taken_in_and_recommended_from(folder: pathlib.Path, launch) -> None:
    items = (folder / "runs/both/tokenrec-0/ids/items.txt").read_text().splitlines()
    one, other = (line.split()[0] for line in items[:2])
    (folder / "new.csv").write_text(f"user,item,time\nnew user,{one},1\nnew user,{other},2\nnew user,new item,3\n")
    code, out, err = launch("update", "runs/both/tokenrec-0", "--data", "new.csv", folder=folder)
    assert code == 0, err
    assert "3 new events, 1 new users, 1 new items" in out
    assert "nothing trained" in out
    assert "user new user, <User>" in out
    (folder / "more.txt").write_text(f"user|item|time\nnew user|{other}|never\nanother|{other}|2\nthird|{one}|3\n")
    options = ("--separator", "pipe", "--bad-rows", "skip", "--time-unit", "s", "--show", "0")
    code, out, err = launch("update", "runs/both/tokenrec-0", "--data", "more.txt", *options, folder=folder)
    assert code == 0, err
    assert "2 new events, 2 new users" in out
    assert "1 rows can't be read and were left out; the first are line 2: the time 'never'" in err
    asked = ("recommend", "runs/both/tokenrec-0", "-k", "3")
    code, out, err = launch(*asked, "--user", "new user", folder=folder)
    assert code == 0, err
    assert "new item" in out
    code, out, err = launch(*asked, "--history", f"new item,{one}", folder=folder)
    assert code == 0, err


def test_what_is_wrong_is_one_line(folder: pathlib.Path, refused) -> None:
    for arguments, message in (
        (("update", "runs/both/tokenrec-0", "--data", "nothing.csv"), "nothing.csv"),
        (("update", "runs/nothing", "--data", "new.csv"), "holds no run"),
        (("compare", "nothing.py"), "is neither a file nor a preset"),
        (("evaluate", "runs/both/tokenrec-0", "--beams", "30"), "searched without beams: leave out beams"),
    ):
        told = refused(*arguments, folder=folder)
        assert told.startswith("error: ")
        assert message in told
        assert len(told.splitlines()) == 1
