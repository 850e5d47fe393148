"""Histories as packed sequences, and models that learn a planted order from them."""

import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
from flax import nnx

from jaxrec.baselines.bert4rec import Bert4Rec, Bert4RecConfig, cloze_loss
from jaxrec.baselines.caser import Caser, CaserConfig
from jaxrec.baselines.cl4srec import Cl4SRec, Cl4SRecConfig, cl4srec_loss
from jaxrec.baselines.counted import popularity_scorer
from jaxrec.baselines.ease import EaseConfig, choose_ease
from jaxrec.baselines.gru4rec import Gru4Rec, Gru4RecConfig
from jaxrec.baselines.hgn import Hgn, HgnConfig, hgn_loss
from jaxrec.baselines.ncf import NcfConfig, train_ncf
from jaxrec.baselines.next_item_training import Sequences, batches_of, train_next_item
from jaxrec.baselines.sasrec import SasRec, SasRecConfig
from jaxrec.config import AugmentConfig, WorldConfig
from jaxrec.data.split import make_split
from jaxrec.data.synthetic import generate_world
from jaxrec.evaluate.full_ranking import evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.types import Histories, Split

SMALL = {
    "dim": 32,
    "length": 20,
    "rows": 8,
    "row_length": 32,
    "learning_rate": 5e-3,
    "validate_every": 3.0,
    "patience": 0,
    "dropout": 0.1,
    "compute_dtype": "float32",
}


def histories_of(rows: list[list[int]], n_items: int) -> Histories:
    return Histories(
        np.cumsum([0, *map(len, rows)]), np.array([item for row in rows for item in row], np.int32), n_items
    )


@pytest.fixture(scope="module")
def split() -> Split:
    world = WorldConfig(users=400, items=60, events_per_user=12.0, tastes=4)
    return make_split(generate_world(world, seed=0))


def rows_of(values: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    return [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def test_histories_are_cut_from_their_ends_and_every_event_but_the_first_is_a_target() -> None:
    histories = histories_of([[1, 2, 3, 4, 5], [6], [], [7, 8]], 9)
    examples = Sequences(histories, 3)
    source, source_offsets, target, target_offsets = examples.build(np.arange(len(examples)), 0)
    actual = list(zip(rows_of(source - 1, source_offsets), rows_of(target - 1, target_offsets)))
    assert actual == [([2, 3, 4], [3, 4, 5]), ([1], [2]), ([7], [8])]
    np.testing.assert_array_equal(examples.lengths(0), [[3, 1, 1]] * 2)
    examples = Sequences(histories, 3, ahead=0)
    source, offsets, target, _ = examples.build(np.array([1, 0, 2]), 0)
    assert rows_of(source - 1, offsets) == [[1, 2], [3, 4, 5], [6]]
    np.testing.assert_array_equal(source, target)


def test_sequences_of_users_begin_with_them_and_the_first_item_is_a_target() -> None:
    examples = Sequences(histories_of([[1, 2, 3, 4, 5], [6], [7, 8]], 9), 3, users=True)
    order = np.array([2, 0, 1])
    source, source_offsets, target, target_offsets = examples.build(order, 0)
    assert rows_of(source, source_offsets) == [[12, 8], [10, 3, 4, 5], [10, 2]]
    assert rows_of(target - 1, target_offsets) == [[7, 8], [2, 3, 4, 5], [1, 2]]
    np.testing.assert_array_equal(examples.lengths(0)[0][order], np.diff(source_offsets))


def test_what_cannot_be_learned_from_is_named() -> None:
    with pytest.raises(ValueError, match="no history holds 2 events"):
        Sequences(histories_of([[1], [2], []], 3), 5)
    with pytest.raises(ValueError, match="row_length=8"):
        batches_of(Sequences(histories_of([[0, 1, 2]], 3), 50), SasRecConfig(dim=4, row_length=8), seed=0)


def hit_rate(score, split: Split) -> float:
    return metrics(evaluate_scores("it", score, split, "test").ranks, (10,))["hr@10"]


def sequence_model(name: str, split: Split, epochs: float, folder: pathlib.Path | None = None):
    n_items, rngs = split.train.n_items, nnx.Rngs(0)
    small = {**SMALL, "epochs": epochs}
    if name == "sasrec":
        return train_next_item(name, SasRec(SasRecConfig(**small), n_items, rngs=rngs), split, seed=0, folder=folder)
    if name == "gru4rec":
        return train_next_item(name, Gru4Rec(Gru4RecConfig(hidden=32, **small), n_items, rngs=rngs), split, seed=0)
    if name == "bert4rec":
        model = Bert4Rec(Bert4RecConfig(inner=64, **small), n_items, rngs=rngs)
        return train_next_item(name, model, split, seed=0, loss=cloze_loss, ahead=0)
    if name == "cl4srec":
        return train_next_item(
            name, Cl4SRec(Cl4SRecConfig(**small), n_items, rngs=rngs), split, seed=0, loss=cl4srec_loss
        )
    if name.startswith("hgn"):
        config = HgnConfig(window=3, loss="bpr" if name == "hgn bpr" else "softmax", **small)
        model = Hgn(config, n_items, split.train.n_users, rngs=rngs)
        return train_next_item(name, model, split, seed=0, loss=hgn_loss, users=True)
    config = CaserConfig(window=3, horizontal=8, **small)
    return train_next_item(name, Caser(config, n_items, split.train.n_users, rngs=rngs), split, seed=0, users=True)


def test_augmented_sequences_predict_the_event_after_each() -> None:
    histories = histories_of([list(range(1, 11)), [11, 12, 13, 14]], 20)
    examples = Sequences(histories, 20, augment=AugmentConfig(drop=0.3, shuffle=0.5), seed=1)
    seen = set()
    for epoch in range(4):
        sizes, _ = examples.lengths(epoch)
        source, starts, target, _ = examples.build(np.arange(2), epoch)
        np.testing.assert_array_equal(np.diff(starts), sizes)
        for row in range(2):
            part = slice(starts[row], starts[row + 1])
            np.testing.assert_array_equal(source[part][1:], target[part][:-1])
        seen.add(tuple(source))
    assert len(seen) == 4
    with pytest.raises(ValueError, match="augment varies histories whose next item is predicted"):
        Sequences(histories, 20, ahead=0, augment=AugmentConfig(drop=0.3))
    with pytest.raises(ValueError, match=r"augment\.crop is 2; it must be at least 0 and below 1"):
        Sequences(histories, 20, augment=AugmentConfig(crop=2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs"),
    [("sasrec", 15), ("gru4rec", 15), ("bert4rec", 30), ("caser", 15), ("cl4srec", 15), ("hgn", 15), ("hgn bpr", 30)],
)
def test_a_planted_order_is_learned(split: Split, name: str, epochs: float) -> None:
    actual = hit_rate(sequence_model(name, split, epochs), split)
    assert actual > 1.5 * hit_rate(popularity_scorer(split.train), split)


@pytest.mark.slow
def test_tastes_are_learned_without_an_order(split: Split) -> None:
    least = 1.3 * hit_rate(popularity_scorer(split.train), split)
    assert hit_rate(choose_ease(split, EaseConfig(regularization=(1.0, 10.0, 100.0)))[1], split) > least
    config = NcfConfig(dim=16, hidden=(32, 16), batch=256, learning_rate=5e-3, epochs=15, patience=0)
    assert hit_rate(train_ncf(split, config, seed=0), split) > least


def test_the_best_lambda_is_that_of_validation(split: Split) -> None:
    one, best = (choose_ease(split, EaseConfig(regularization=r))[1] for r in ((1e6,), (10.0, 1e6)))
    histories, users = split.history("valid"), np.arange(5)
    assert not np.allclose(one(histories, users), best(histories, users))
    np.testing.assert_array_equal(
        best(histories, users), choose_ease(split, EaseConfig(regularization=(10.0,)))[1](histories, users)
    )


@pytest.mark.slow
def test_held_out_items_change_nothing_that_is_learned(split: Split) -> None:
    n_items, one = split.train.n_items, {}
    other = dataclasses.replace(split, test=(split.test + 1) % n_items, between=split.between)
    for name, data in (("one", split), ("other", other)):
        score = sequence_model("sasrec", data, 1)
        one[name] = score(split.history("test"), np.arange(20))
    np.testing.assert_array_equal(one["one"], one["other"])


@pytest.mark.slow
def test_a_run_goes_on_in_its_folder(split: Split, tmp_path: pathlib.Path) -> None:
    whole, kept, again = (sequence_model("sasrec", split, 1, folder) for folder in (None, tmp_path, tmp_path))
    histories, users = split.history("test"), np.arange(20)
    np.testing.assert_array_equal(whole(histories, users), kept(histories, users))
    np.testing.assert_array_equal(whole(histories, users), again(histories, users))
    with pytest.raises(ValueError, match="over 7 items"):
        whole(histories_of([[0]], 7), np.array([0]))
