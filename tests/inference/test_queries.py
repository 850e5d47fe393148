"""Requests with filters: the lists are those of all items in order, filtered; k items wherever k are left."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

import jaxrec
from jaxrec.inference import queries
from jaxrec.system.system import System

Finished = Callable[[str, pathlib.Path], System]


@pytest.fixture(scope="module", params=["META ID", "TokenRec"])
def run(request: pytest.FixtureRequest, finished_run: Finished, tmp_path_factory) -> jaxrec.TrainedRun:
    return jaxrec.TrainedRun(finished_run(request.param, tmp_path_factory.mktemp("runs") / "run"))


@pytest.mark.slow
def test_filters_are_exact(run: jaxrec.TrainedRun) -> None:
    """Asked for all items, beam search keeps all prefixes, so that the filtered list of all items is the right one."""
    data, rng = run._system_with_updates().data, np.random.default_rng(0)
    items = data.item_names.tolist()
    for _ in range(8):
        who = (
            {"user": str(rng.choice(data.user_names))}
            if rng.random() < 0.5
            else {"history": rng.choice(items, rng.integers(0, 9), replace=False).tolist()}
        )
        exclude = rng.choice(items, rng.integers(0, 20), replace=False).tolist()
        allow = None if rng.random() < 0.3 else rng.choice(items, rng.integers(0, 48), replace=False).tolist()
        everything = run.recommend(**who, k=48, include_seen=True)
        for seen in (True, False):
            history = set() if seen else {items[i] for i in asked_history(run, who)}
            expected = [
                (item.item, item.score)
                for item in everything
                if item.item not in exclude and item.item not in history and (allow is None or item.item in allow)
            ]
            actual = run.recommend(**who, k=48, exclude=exclude, allow=allow, include_seen=seen)
            assert [item.item for item in actual] == [name for name, _ in expected]
            np.testing.assert_allclose([item.score for item in actual], [score for _, score in expected], atol=1e-5)
            k = 6
            few = run.recommend(**who, k=k, exclude=exclude, allow=allow, include_seen=seen)
            assert len(few) == min(k, len(expected))
            assert (len(few) == k) == (few.note == "")
            assert {item.item for item in few} <= {name for name, _ in expected}


def asked_history(run: jaxrec.TrainedRun, who: dict) -> np.ndarray:
    system = run._system_with_updates()
    return queries.query(system, queries.Names.of(system), **who).history


@pytest.mark.slow
def test_many_at_once_are_answered_as_alone(run: jaxrec.TrainedRun) -> None:
    system = run._system_with_updates()
    names, items = queries.Names.of(system), system.data.item_names.tolist()
    asked = [
        queries.query(system, names, user=str(system.data.user_names[3])),
        queries.query(system, names, history=items[5:9], exclude=items[:20]),
        queries.query(system, names, history=[]),
        queries.query(system, names, user=str(system.data.user_names[7]), allow=items[10:14]),
    ]
    for task in system.config.task.ranking:
        together = queries.top_k(system, asked, 6, task)
        for n, one in enumerate(asked):
            alone = queries.top_k(system, [one], 6, task)
            np.testing.assert_array_equal(together.items[n], alone.items[0])
            np.testing.assert_allclose(together.scores[n], alone.scores[0], atol=1e-5)


def test_a_short_list_says_why(run: jaxrec.TrainedRun) -> None:
    items = [item.item for item in run.recommend(history=[], k=48)]
    assert run.recommend(history=items[:1], k=6, allow=items[:3]).note == "2 of 6 items: no other allowed item is left"
    assert run.recommend(history=[], k=6, allow=[]).note == "0 of 6 items: no other allowed item is left"
    excluded = run.recommend(history=[], k=6, exclude=items[2:])
    assert excluded.note.startswith("2 of 6 items: ")


def test_names_are_quoted_and_refused(run: jaxrec.TrainedRun) -> None:
    with pytest.raises(ValueError, match=r"item '\\x1b\[31mred' is not in this run's data; names look like: '"):
        run.recommend(history=[], allow=["\x1b[31mred"])
    with pytest.raises(ValueError, match="give either a user's name or a history"):
        run.recommend("somebody", history=[])
    with pytest.raises(ValueError, match="task 'nonsense' was not trained in this run; it knows "):
        run.recommend(history=[], task="nonsense")


def test_new_names_are_added_to_those_before(run: jaxrec.TrainedRun) -> None:
    system = run._system_with_updates()
    data = system.data
    fewer = dataclasses.replace(data, user_names=data.user_names[:-3], item_names=data.item_names[:-2])
    before = queries.Names.of(dataclasses.replace(system, data=fewer))
    after, anew = queries.Names.of(system, before), queries.Names.of(system)
    assert (after.users, after.items) == (anew.users, anew.items)
    assert len(before.users) == data.n_users - 3
    assert queries.Names.of(system, after).users is after.users  # nothing new, nothing copied
