"""A run notices any change of its data, says what changed, and goes on only where that can be right."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

import jaxrec
from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.data.interactions import Notes
from jaxrec.data.synthetic import generate_world
from jaxrec.system import run_data
from jaxrec.system.data_digest import DataDigest, check_data, differences, digest_of, store_digest
from jaxrec.system.system import System
from jaxrec.types import DataError, Interactions


@pytest.fixture(scope="module")
def data(tiny: Config) -> Interactions:
    world = generate_world(tiny.data.world, seed=3)
    texts = np.array([f"review {n}" for n in range(world.n_events)], object)
    time = np.arange(world.n_events)
    return dataclasses.replace(world, text={"review": texts}, time=time, item_titles=world.item_names.copy())


def changed(column: np.ndarray, row: int, value: object) -> np.ndarray:
    column = column.copy()
    column[row] = value
    return column


def swapped(data: Interactions, row: int) -> Interactions:
    """Two neighbouring events of a user, the other way round."""
    order = np.arange(data.n_events)
    order[[row, row + 1]] = row + 1, row
    assert data.user[row] == data.user[row + 1]
    return dataclasses.replace(data, item=data.item[order])


def without(data: Interactions, row: int) -> Interactions:
    keep = np.arange(data.n_events) != row
    return dataclasses.replace(
        data,
        user=data.user[keep],
        item=data.item[keep],
        rating=None if data.rating is None else data.rating[keep],
        time=data.time[keep],
        text={"review": data.text["review"][keep]},
    )


CHANGES: dict[str, tuple[Callable[[Interactions], Interactions], str]] = {
    "an item": (
        lambda d: dataclasses.replace(d, item=changed(d.item, 7, (d.item[7] + 1) % d.n_items)),
        "1 users have other events than before (1 as many, altered or in another order)",
    ),
    "the order": (lambda d: swapped(d, 4), "1 users have other events"),
    "a rating": (lambda d: dataclasses.replace(d, rating=changed(d.rating, 7, 0.25)), "1 users have other events"),
    "a time": (lambda d: dataclasses.replace(d, time=changed(d.time, 7, 1)), "1 users have other events"),
    "a text": (
        lambda d: dataclasses.replace(d, text={"review": changed(d.text["review"], 7, "r")}),
        "1 users have other events",
    ),
    "an event less": (lambda d: without(d, 7), "1 users have other events than before (1 fewer)"),
    "a title": (
        lambda d: dataclasses.replace(d, item_titles=changed(d.item_titles, 7, "t")),
        "1 items have another title",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_one_value_is_seen_and_may_be_accepted(
    data: Interactions, tmp_path: pathlib.Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    if data.rating is None:
        data = dataclasses.replace(data, rating=np.full(data.n_events, 4, np.float32))
    alter, message = CHANGES[change]
    store_digest(tmp_path, data)
    check_data(tmp_path, data, accept_events=False)
    with pytest.raises(DataError, match="have changed since it was trained") as error:
        check_data(tmp_path, alter(data), accept_events=False)
    assert message in str(error.value)
    assert "update command; --accept-new-data goes on" in str(error.value)
    check_data(tmp_path, alter(data), accept_events=True)
    assert message in caplog.text


@pytest.mark.parametrize("entity", ["user", "item"])
def test_other_names_are_never_accepted(data: Interactions, tmp_path: pathlib.Path, entity: str) -> None:
    store_digest(tmp_path, data)
    names = getattr(data, f"{entity}_names")
    for other, message in (
        (changed(names, 3, "somebody else"), f"1 {entity}s are gone, 1 {entity}s are new"),
        (names[::-1].copy(), f"{entity}s have another order"),
    ):
        with pytest.raises(DataError, match=message) as error:
            check_data(tmp_path, dataclasses.replace(data, **{f"{entity}_names": other}), accept_events=True)
        assert "--accept-new-data can't help" in str(error.value)


def test_digits_that_trade_places_are_other_names() -> None:
    """Sums of letters times places can't tell such names apart."""
    names = np.array([f"item{n}" for n in range(1000)], object)
    world = Interactions(np.zeros(1000, np.int32), np.arange(1000, dtype=np.int32), np.array(["u"], object), names)
    digest = digest_of(world)
    assert len(np.unique(digest.items)) == 1000
    assert isinstance(digest, DataDigest)
    assert differences(digest, digest) == ([], False)


def test_other_attributes_are_noticed_where_both_have_some(data: Interactions, tmp_path: pathlib.Path) -> None:
    attributes = data.item_attributes
    assert attributes is not None
    names = changed(attributes.names, 0, "another kind")
    other = dataclasses.replace(data, item_attributes=dataclasses.replace(attributes, names=names))
    n_items = sum(0 in attributes.of(item) for item in range(data.n_items))
    assert differences(digest_of(data), digest_of(other)) == ([f"{n_items} items have other attributes"], False)
    fields = dataclasses.replace(attributes, fields=("kind", "feel"))
    renamed = dataclasses.replace(data, item_attributes=fields)
    assert differences(digest_of(data), digest_of(renamed))[0] == [f"{data.n_items} items have other attributes"]
    none = dataclasses.replace(data, item_attributes=None)
    assert differences(digest_of(none), digest_of(data)) == ([], False)
    store_digest(tmp_path, none)
    check_data(tmp_path, data, accept_events=False)


def test_recommend_evaluate_report_and_resume_refuse_changed_data(
    finished_run: Callable[[str, pathlib.Path], System], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = finished_run("META ID", tmp_path / "run")
    now = [swapped(system.data, 0)]
    monkeypatch.setattr(run_data, "load_interactions", lambda *_, **__: (now[0], Notes("generated", now[0].n_events)))
    for use in (
        lambda: jaxrec.load(tmp_path / "run"),  # which `jaxrec recommend` and `jaxrec report` begin with
        lambda: jaxrec.evaluate_run(tmp_path / "run"),
        lambda: experiment.train(dataclasses.replace(system.config, out=str(tmp_path / "run"))),
    ):
        with pytest.raises(DataError, match="1 users have other events than before"):
            use()
    run = jaxrec.load(tmp_path / "run", accept_new_data=True)
    assert len(run.recommend(str(system.data.user_names[0]), 3)) == 3
    now[0] = dataclasses.replace(system.data, user_names=changed(system.data.user_names, 3, "anna"))
    with pytest.raises(DataError, match="1 users are gone, 1 users are new"):
        jaxrec.load(tmp_path / "run", accept_new_data=True)
