import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.embedders import fold_in
from jaxrec.types import Histories


def make(sizes: list[int], seed: int = 0) -> tuple[Histories, np.ndarray]:
    draw = np.random.default_rng(seed)
    items = draw.integers(0, 7, sum(sizes)).astype(np.int32)
    return Histories(np.concatenate([[0], np.cumsum(sizes)]), items, 7), draw.normal(size=(7, 3)).astype(np.float32)


def test_by_hand() -> None:
    histories = Histories(np.array([0, 0, 3]), np.array([0, 1, 0], np.int32), 2)
    item = np.array([[2.0, 0.0], [0.0, 5.0]], np.float32)
    np.testing.assert_allclose(fold_in.before_each_event(histories, item), [[0, 0], [1, 0], [0.5, 0.5]])
    np.testing.assert_allclose(fold_in.of_each_user(histories, item), [[0, 0], [2 / 3, 1 / 3]], rtol=1e-6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_against_a_loop(sizes: list[int]) -> None:
    histories, item = make(sizes)
    units = item / np.linalg.norm(item, axis=1, keepdims=True)
    before = fold_in.before_each_event(histories, item)
    whole = fold_in.of_each_user(histories, item)
    for user in range(histories.n_users):
        rows = units[histories.of(user)]
        for place in range(len(rows)):
            want = rows[:place].mean(0) if place else np.zeros(3)
            np.testing.assert_allclose(before[histories.offsets[user] + place], want, atol=1e-6)
        np.testing.assert_allclose(whole[user], rows.mean(0) if len(rows) else np.zeros(3), atol=1e-6)


def test_an_event_never_sees_itself_or_later_ones() -> None:
    histories, item = make([4, 4])
    changed = Histories(histories.offsets, histories.items.copy(), 7)
    changed.items[2] = (changed.items[2] + 1) % 7
    first, second = (fold_in.before_each_event(h, item) for h in (histories, changed))
    np.testing.assert_allclose(first[:3], second[:3])
    np.testing.assert_allclose(first[4:], second[4:], atol=1e-7)


def test_zero_vectors_stay() -> None:
    np.testing.assert_array_equal(fold_in.unit_rows(np.zeros((2, 3), np.float32)), 0)


def test_an_item_is_the_mean_of_its_users() -> None:
    histories, _ = make([3, 0, 4])
    user = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    units = fold_in.unit_rows(user)
    actual = fold_in.of_each_item(histories, user)
    for item in range(histories.n_items):
        rows = units[histories.users[histories.items == item]]
        np.testing.assert_allclose(actual[item], rows.mean(0) if len(rows) else np.zeros(5), atol=1e-6)
