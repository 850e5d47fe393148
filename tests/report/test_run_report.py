"""Reports of tiny runs: all sections, one file, and numbers that a loop finds again."""

import dataclasses
import json
import pathlib
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.inference import service
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.report.answer_attention import answer_attention
from jaxrec.report.run_report import write_report
from jaxrec.system.system import System

HOSTILE = "\"&'<script>alert(1)</script>"
SECTIONS = ("results", "curves", "ids", "leaks", "alike", "served", "attention", "recommendations", "about")


@pytest.fixture(scope="module", params=["META ID", "TokenRec"])
def trained(request: pytest.FixtureRequest, finished_run, tmp_path_factory: pytest.TempPathFactory) -> System:
    return finished_run(request.param, tmp_path_factory.mktemp("runs") / "run")


def body(file: pathlib.Path) -> ET.Element:
    match = re.search(r"<body>.*</body>", file.read_text(), re.DOTALL)
    assert match is not None
    return ET.fromstring(match[0])


@pytest.mark.slow
def test_a_run_leaves_a_page_with_every_section(trained: System) -> None:
    file = trained.folder / "report.html"
    text, page = file.read_text(), body(file)
    assert len(text) < 2_000_000
    assert tuple(s.get("id") for s in page.iter("section")) == SECTIONS
    assert [a.get("href") for a in page.iter("a")] == [f"#{name}" for name in SECTIONS]
    assert not re.search(r"""(src|href)=["']?https?:""", text)
    assert str(trained.folder.parent) not in text
    report = json.loads((trained.folder / "results.json").read_text())
    lines = [["".join(c.itertext()) for c in r] for r in page.findall(".//section[@id='results']//tr")]
    cells = {line[0]: line[4] for line in lines if len(line) == len(lines[0])}
    for row in report["rows"]:
        assert cells[row["system"]] == f"{row['hr@10']:.4f}"


@pytest.mark.slow
def test_it_is_written_where_it_is_asked_for_and_the_same(trained: System, tmp_path: pathlib.Path) -> None:
    file = experiment.write_run_report(trained, tmp_path / "new" / "page.html")
    assert file == tmp_path / "new" / "page.html"
    assert file.read_text() == (trained.folder / "report.html").read_text()


def test_recommendations_are_those_of_the_system(trained: System) -> None:
    page = body(trained.folder / "report.html").find(".//section[@id='recommendations']")
    assert page is not None
    heads = [h.text or "" for h in page.iter("h3")]
    assert len(heads) == 3
    name = re.match(r"user (\w+)", heads[0])
    assert name is not None
    listed = page.findall(".//div[@class='grid']/div")[0].findall("ol/li/span/code")
    shown = service.recommend(trained, 10, user=name[1])
    assert [c.text for c in listed] == [item[1] for item in shown.items]


def test_a_run_without_results_is_told(trained: System, tmp_path: pathlib.Path) -> None:
    elsewhere = dataclasses.replace(trained, folder=tmp_path)
    with pytest.raises(ValueError, match="is not measured yet"):
        experiment.write_run_report(elsewhere)


def test_attention_adds_up_and_names_every_id(trained: System) -> None:
    user = int(np.flatnonzero(trained.split.test >= 0)[3])
    attention = answer_attention(trained, user)
    assert attention is not None
    assert attention.shares.shape == (len(attention.pieces), len(attention.answer))
    np.testing.assert_allclose(attention.shares.sum(axis=0), 1, atol=1e-5)
    history = trained.histories.of(user)[-trained.config.task.max_history :]
    assert sum(p.startswith("<Item>") for p in attention.pieces) == len(history)
    assert sum(p.startswith("<User>") for p in attention.pieces) == 1
    for piece, item in zip(attention.pieces, attention.items):
        assert item < 0 or trained.item_name(int(item)) == piece


@pytest.mark.slow
def test_hostile_names_are_text_in_every_section(trained: System, tmp_path: pathlib.Path) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    report = json.loads((folder / "results.json").read_text())
    ranks = dict(np.load(folder / "ranks.npz"))
    rename = {row["system"]: f"{HOSTILE} {row['system']}" for row in report["rows"]}
    for row in [*report["rows"], *report.get("intervals", [])]:
        row |= {key: rename[row[key]] for key in ("system", "baseline") if row.get(key) in rename}
    report |= {"dataset": HOSTILE, "device": HOSTILE, "command": f"train {HOSTILE}"}
    (folder / "results.json").write_text(json.dumps(report))
    np.savez(folder / "ranks.npz", **{rename.get(str(name), str(name)): values for name, values in ranks.items()})
    (folder / "sums.json").unlink()
    data = dataclasses.replace(
        trained.data,
        user_names=np.array([f"{HOSTILE} user {n}" for n in range(trained.data.n_users)]),
        item_titles=np.array([f"{HOSTILE} {n}\x07" for n in range(trained.data.n_items)]),
    )
    config = dataclasses.replace(trained.config, data=dataclasses.replace(trained.config.data, path=HOSTILE))
    hostile = dataclasses.replace(trained, folder=folder, data=data, config=config)
    recommended = RecommendationList(
        f"user {HOSTILE}", [(HOSTILE, HOSTILE)], [(HOSTILE, HOSTILE, -1.5, True)], HOSTILE, [0]
    )
    file = write_report(hostile, [recommended], tmp_path / "page.html")
    source, page = file.read_text(), body(file)  # a name that broke out of its element would be no XML
    assert "<script" not in source
    assert "\x07" not in source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    texts = {section.get("id"): "".join(section.itertext()) for section in page.iter("section")}
    for name in ("results", "alike", "served", "attention", "recommendations", "about"):
        assert HOSTILE in texts[name], name  # as it is, so neither cut short nor escaped twice
    assert HOSTILE in "".join(page.find("header").itertext())  # pyright: ignore[reportOptionalMemberAccess]
    assert {element.tag.rpartition("}")[2] for element in page.iter()}.isdisjoint({"script", "iframe", "img"})
