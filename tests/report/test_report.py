"""Reports of tiny runs: all sections, one file, and numbers that a loop finds again."""

import dataclasses
import itertools
import json
import pathlib
import re
import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec import experiment
from jaxrec.config import (
    Config,
    LightGcnConfig,
    LlamaConfig,
    LoraConfig,
    OovConfig,
    QuantizerConfig,
    T5Config,
)
from jaxrec.models.llama import Llama
from jaxrec.models.t5 import T5
from jaxrec.report import attention, results
from jaxrec.serve import service
from jaxrec.system.system import System

SECTIONS = ("results", "curves", "ids", "leaks", "alike", "served", "attention", "recommendations", "about")


def token_rec(tiny: Config) -> Config:
    return dataclasses.replace(
        tiny,
        embedder="lightgcn",
        answer="vector",
        lightgcn=LightGcnConfig(dim=8, layers=2, epochs=10, batch=128, learning_rate=1e-2),
        quantizer=QuantizerConfig(codebooks=2, codewords=8, width=8, hidden=(16, 16), epochs=20),
        ids=dataclasses.replace(tiny.ids, kind="mq", users="static"),
        task=dataclasses.replace(tiny.task, tasks=("collaborative", "direct")),
        data=dataclasses.replace(tiny.data, unseen_users=0.1, unseen_items=0.1),
    )


@pytest.fixture(scope="module", params=["META ID", "TokenRec"])
def trained(request: pytest.FixtureRequest, tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    config = tiny if request.param == "META ID" else token_rec(tiny)
    return experiment.train(dataclasses.replace(config, out=str(tmp_path_factory.mktemp("runs") / "run")))[0]


def body(file: pathlib.Path) -> ET.Element:
    found = re.search(r"<body>.*</body>", file.read_text(), re.DOTALL)
    assert found is not None
    return ET.fromstring(found[0])


def test_a_run_leaves_a_page_with_every_section(trained: System) -> None:
    file = trained.folder / "report.html"
    text, page = file.read_text(), body(file)
    assert len(text) < 2_000_000
    assert tuple(s.get("id") for s in page.iter("section")) == SECTIONS
    assert [a.get("href") for a in page.iter("a")] == [f"#{name}" for name in SECTIONS]
    assert not re.search(r"""(src|href)=["']?https?:""", text)
    assert str(trained.folder.parent) not in text
    found = json.loads((trained.folder / "results.json").read_text())
    lines = [["".join(c.itertext()) for c in r] for r in page.findall(".//section[@id='results']//tr")]
    cells = {line[0]: line[4] for line in lines if len(line) == len(lines[0])}
    for row in found["rows"]:
        assert cells[row["system"]] == f"{row['hr@10']:.4f}"


def test_it_is_written_where_it_is_asked_for_and_the_same(trained: System, tmp_path: pathlib.Path) -> None:
    file = experiment.leave_report(trained, tmp_path / "new" / "page.html")
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
        experiment.leave_report(elsewhere)


def test_attention_adds_up_and_names_every_id(trained: System) -> None:
    user = int(np.flatnonzero(trained.split.test >= 0)[3])
    found = attention.answer_attention(trained, user)
    assert found is not None
    assert found.shares.shape == (len(found.pieces), len(found.answer))
    np.testing.assert_allclose(found.shares.sum(axis=0), 1, atol=1e-5)
    history = trained.histories.of(user)[-trained.config.task.max_history :]
    assert sum(p.startswith("<Item>") for p in found.pieces) == len(history)
    assert sum(p.startswith("<User>") for p in found.pieces) == 1
    for piece, item in zip(found.pieces, found.items):
        assert item < 0 or trained.item_name(int(item)) == piece


def test_a_key_that_is_all_alone_gets_all_of_the_decoders_attention() -> None:
    model = T5(T5Config(vocab=32, d_model=16, d_kv=8, heads=2, d_ff=16, encoder_layers=1, decoder_layers=2),
               OovConfig("none"), None, 32, rngs=nnx.Rngs(0))  # fmt: skip
    inputs = jnp.array([[0, 5, 6]])
    weights = attention.mean_attention(model, jnp.array([[4, 9, 7, 9]]), inputs)
    assert weights.shape == (3, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    for layer in model.decoder.layers:  # without queries every key counts alike
        layer.cross.query[...] = jnp.zeros_like(layer.cross.query[...])
    np.testing.assert_allclose(attention.mean_attention(model, jnp.array([[4, 9, 7, 9]]), inputs), 0.25, rtol=1e-5)


def test_a_decoder_only_models_attention_stays_causal_and_in_its_window() -> None:
    shape = LlamaConfig(vocab=32, d_model=16, d_kv=8, heads=4, kv_heads=2, d_ff=16, layers=2)
    source, inputs = jnp.array([[4, 9, 7, 8]]), jnp.array([[3, 5, 6]])

    def weights(**changed) -> jax.Array:
        model = Llama(
            dataclasses.replace(shape, **changed), OovConfig("none"), LoraConfig(), None, 32, 3, rngs=nnx.Rngs(0)
        )
        for layer in model.layers:
            layer.attention.query.kernel[...] = jnp.zeros_like(layer.attention.query.kernel[...])
        return attention.mean_attention(model, source, inputs)

    # Without queries all that is seen counts alike: the prompt's four, and the answer's tokens up to the one asked.
    np.testing.assert_allclose(weights(), np.repeat([[1 / 5], [1 / 6], [1 / 7]], 4, axis=1), rtol=1e-5)
    near = weights(window=3)
    np.testing.assert_allclose(near, np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]) / 3, atol=1e-6)
    half = weights(window=3, windowed=(1,))
    np.testing.assert_allclose(half, (np.asarray(near) + np.asarray(weights())) / 2, rtol=1e-5)


def test_groups_are_those_of_a_loop() -> None:
    draw = np.random.default_rng(0)
    ranks = draw.choice([1.0, 3.0, 10.5, 11.0, np.inf, np.nan], 500)
    numbers = draw.integers(0, 40, 500)
    groups = results.by_group(ranks, numbers, most=4)
    assert 2 <= len(groups) <= 4
    assert sum(g.users for g in groups) == int((~np.isnan(ranks)).sum())
    for before, after in itertools.pairwise(groups):
        assert before.high < after.low
    for group in groups:
        hits = [r < 11 for r, n in zip(ranks, numbers) if group.low <= n <= group.high and not np.isnan(r)]
        assert len(hits) == group.users
        assert group.rate == pytest.approx(np.mean(hits))
        assert 0 <= group.interval[0] < group.rate < group.interval[1] <= 1
    same = results.by_group(ranks, np.full(500, 7))
    assert [(g.low, g.high) for g in same] == [(7, 7)]
    assert results.by_group(np.full(3, np.nan), np.arange(3)) == []


def test_the_best_baseline_is_no_row_of_the_method() -> None:
    rows = [
        {"system": "META ID", "ndcg@10": 0.9},
        {"system": "META ID (user id only)", "ndcg@10": 0.8},
        {"system": "popularity", "ndcg@10": 0.1},
        {"system": "item-kNN", "ndcg@10": 0.2},
        {"system": "item-kNN, unseen users", "ndcg@10": 0.7},
    ]
    best = results.best_baseline({"rows": rows})
    assert best is not None
    assert best["system"] == "item-kNN"
    assert results.best_baseline({"rows": rows[:2]}) is None


def test_intervals_and_paths_as_they_are_shown() -> None:
    row = {"system": "META ID", "hr@10": 0.5, "n_users": 9, "baseline": False}
    interval = {"system": "META ID", "baseline": "item-kNN", "metric": "hr@10"}
    interval |= {"difference": 0.02, "low": 0.01, "high": 0.03, "n_users": 9}
    found = {"rows": [row], "mask_seen": True, "n_items": 5, "intervals": [interval]}
    _, _, markup = results.results(found)
    text = " ".join(ET.fromstring(markup).itertext())
    assert "+0.0200" in text
    assert "+0.0100 to +0.0300" in text
    assert 'class="good"' in markup
    assert results._short("launch.train configs/a.py --out /home/me/runs/x --data.path a/b.csv") == (
        "launch.train configs/a.py --out …/x --data.path a/b.csv"
    )
