"""One user with very many events makes rows of a block of his own, and changes nobody's ranks."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.evaluate import full_ranking, seen_items
from jaxrec.evaluate.full_ranking import evaluate_recommender, evaluate_scores
from jaxrec.evaluate.seen_items import blocks, padded_width, rank_among_unseen
from jaxrec.types import Histories, Split, TopK

USERS, ITEMS = 300, 400


def split_of(lengths: np.ndarray, *, seed: int = 0) -> Split:
    """Random histories of these lengths; a long one repeats items."""
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = random.integers(ITEMS, size=offsets[-1]).astype(np.int32)
    targets = random.integers(-1, ITEMS, size=(2, len(lengths))).astype(np.int32)
    nothing = Histories(np.zeros(len(offsets), np.int64), np.zeros(0, np.int32), ITEMS)
    return Split.of(Histories(offsets, items, ITEMS), targets[0], targets[1], nothing, "strict")


@pytest.fixture(scope="module")
def split() -> Split:
    lengths = np.random.default_rng(1).integers(1, 20, size=USERS)
    lengths[[7, 123]] = 30_000, 900
    return split_of(lengths)


def score(histories: Histories, users: np.ndarray) -> np.ndarray:
    """Scores with many ties, a function of user and item alone."""
    return ((np.asarray(users)[:, None] * 31 + np.arange(ITEMS) * 17) % 23).astype(np.float32)


def test_blocks_hold_every_row_once_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_items, "MOST_CELLS", 4096)
    lengths = np.random.default_rng(0).integers(0, 300, size=200)
    lengths[3] = 10**6
    parts = blocks(lengths)
    assert sorted(np.concatenate(parts)) == list(range(200))
    assert all(len(part) == 1 or len(part) * padded_width(int(lengths[part].max())) <= 4096 for part in parts)
    assert [3] in [part.tolist() for part in parts]
    assert len(parts) < 40
    assert [part.tolist() for part in blocks(np.full(8, 5))] == [list(range(8))]
    assert [part.tolist() for part in blocks(np.zeros(0, np.int64))] == [[]]


@pytest.mark.parametrize("cells", [64, 8192, 200_000])
def test_ranks_of_scores_do_not_depend_on_blocks(split: Split, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_scores("x", score, split, "test", batch_users=128)
    monkeypatch.setattr(seen_items, "MOST_CELLS", cells)
    blocked = evaluate_scores("x", score, split, "test", batch_users=128)
    np.testing.assert_array_equal(blocked.ranks, whole.ranks)
    np.testing.assert_array_equal(blocked.tied, whole.tied)


@pytest.mark.parametrize("cells", [64, 8192, 200_000])
def test_lists_do_not_depend_on_blocks(split: Split, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()

    def recommend(source, seen, k: int) -> TopK:
        shapes.add(seen.shape)
        scores = score(split.train, source[:, 0])
        for row, items in enumerate(seen):
            scores[row, items[items >= 0]] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return TopK(jnp.asarray(best, jnp.int32), jnp.asarray(np.take_along_axis(scores, best, axis=1)))

    def ranks() -> np.ndarray:
        return evaluate_recommender("x", recommend, lambda users: users[:, None], split, "test", batch_users=64).ranks

    whole = ranks()
    shapes.clear()
    monkeypatch.setattr(full_ranking, "MOST_CELLS", cells)
    np.testing.assert_array_equal(ranks(), whole)
    assert max(np.prod(shape) for shape in shapes) <= max(cells, 30_000 + 2)


def test_very_many_events_of_one_user_take_little_memory() -> None:
    lengths = np.full(600, 5)
    lengths[300] = 200_000
    split = split_of(lengths)
    cells = []
    original = seen_items.seen_rows

    def counted(histories: Histories, users: np.ndarray, width: int) -> np.ndarray:
        cells.append(len(users) * width)
        return original(histories, users, width)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_items, "seen_rows", counted)
        result = evaluate_scores("x", score, split, "test")
    assert max(cells) <= seen_items.MOST_CELLS < 512 * 200_000
    assert sum(cells) < 2 * seen_items.MOST_CELLS
    user = np.array([300])
    alone, _ = rank_among_unseen(score(split.train, user), split.test[user], split.history("test"), user)
    np.testing.assert_array_equal(alone, result.ranks[user])
