"""Prompt vectors (POD): prompts that are answered have no words, in a run, its store and its export."""

import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.config.checks import check_config
from jaxrec.export.whole_system import export
from jaxrec.system import loading
from jaxrec.system import run as runs
from jaxrec.system.model import make_model


@pytest.mark.long
def test_a_run_learns_them_and_asks_without_words(tiny: Config, tmp_path: pathlib.Path) -> None:
    config = tiny.replace(out=str(tmp_path / "run"), task__prompt_vectors=3, train__steps=4)
    system, _ = experiment.train(config)
    vocabulary = system.vocabulary
    assert vocabulary.new_tokens[-6:] == tuple(f"<{task}:{n}>" for task in ("sequential", "direct") for n in (1, 2, 3))

    codes = system.user_codes(system.split.known, np.arange(2))
    for task, history in (("sequential", True), ("direct", False)):
        numbers = [vocabulary.first_oov + vocabulary.new_tokens.index(f"<{task}:{n}>") for n in (1, 2, 3)]
        row = system.asker(system.split.known, codes, task, "seen")(np.arange(2))[1]
        items = system.item_tokens[system.split.known.of(1)[-config.task.max_history :]] if history else []
        wanted = [*numbers, *vocabulary.ids("<User>", codes).tokens[1], *np.ravel(items), vocabulary.end]
        assert row[row != 0].tolist() == [int(token) for token in wanted]

    first = vocabulary.first_oov + len(vocabulary.new_tokens) - 6
    fresh = make_model(runs.reopen(tmp_path / "run"), system.ids, system.embedding.vectors, untrained=True)[1]
    tables = [np.asarray(model.embedding.whole()[first : first + 6]) for model in (system.model, fresh)]
    assert (np.abs(tables[0] - tables[1]).max(axis=1) > 0).all(), "each is trained"
    lists = [s.recommend(np.arange(5), 5).items for s in (system, loading.load(tmp_path / "run"))]
    np.testing.assert_array_equal(*map(jax.device_get, lists))

    out = export(system, tmp_path / "out", samples=3)
    checked = subprocess.run([sys.executable, out / "recommend.py", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("changed", [{"eval__prompt": "both"}, {"task__tasks": ("autoregressive",)}])
def test_what_has_no_words_to_distil_is_refused(tiny: Config, changed: dict) -> None:
    with pytest.raises(ValueError, match=r"task\.prompt_vectors=2 replaces the words"):
        check_config(tiny.replace(task__prompt_vectors=2, **changed))
