"""The recommender gives each user what a search for that user alone gives, and compiles once a shape."""

import chex
import jax
import numpy as np
import pytest

from jaxrec.recommend import trie_recommender as module
from jaxrec.recommend.beam_search import beam_search
from jaxrec.recommend.exact_scoring import exact_top_k
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.tokenizers.trie import Trie

VOCAB = 9
REFERENCES = {
    "beam": jax.jit(beam_search, static_argnames=("beams", "k")),
    "exact": jax.jit(exact_top_k, static_argnames="k"),
}


@pytest.fixture
def world(make_tables, make_ids):
    """Model, trie, 23 prompts of length 0..40, seen items."""
    rng = np.random.default_rng(0)
    source = rng.integers(1, VOCAB, (23, 40)).astype(np.int32)
    source *= np.arange(40)[None] < rng.integers(0, 41, 23)[:, None]
    return make_tables(VOCAB, 3), Trie.build(make_ids(30, 3, VOCAB)), source, rng.integers(-1, 30, (23, 9))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["beam", "exact"])
@pytest.mark.parametrize("masked", [True, False])
def test_equals_one_search_for_all(world, mode, masked) -> None:
    model, trie, source, seen = world
    seen = seen if masked else None
    actual = TrieRecommender(model, trie, mode=mode, beams=4, batch_users=4)(source, seen, 4)
    arguments = {"exact": {"k": 4}, "beam": {"k": 4, "beams": 4}}[mode]
    expected = REFERENCES[mode](model, source, trie, seen=seen, **arguments)
    assert type(actual.items) is type(actual.scores) is np.ndarray
    np.testing.assert_array_equal(actual.items, expected.items)
    np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["beam", "exact"])
def test_masks_go_with_their_prompts(world, mode) -> None:
    model, trie, source, seen = world
    allowed = np.random.default_rng(3).random((23, 30)) < 0.3
    actual = TrieRecommender(model, trie, mode=mode, beams=6, batch_users=4)(source, seen, 6, allowed)
    arguments = {"exact": {"k": 6}, "beam": {"k": 6, "beams": 6}}[mode]
    expected = REFERENCES[mode](model, source, trie, seen=seen, allowed=allowed, **arguments)
    np.testing.assert_array_equal(actual.items, expected.items)
    for row, mask, left_out in zip(actual.items, allowed, seen):
        may = set(np.flatnonzero(mask)) - set(left_out.tolist())
        assert set(row[row >= 0].tolist()) <= may
        assert (row >= 0).sum() == min(6, len(may))


@pytest.mark.slow
@pytest.mark.parametrize("users", [0, 1, 3, 4, 5])
def test_any_number_of_users(world, users) -> None:
    model, trie, source, seen = world
    recommend = TrieRecommender(model, trie, beams=4, batch_users=4)
    actual, all_found = recommend(source[:users], seen[:users], 3), recommend(source, seen, 3)
    assert actual.items.shape == actual.scores.shape == (users, 3)
    np.testing.assert_array_equal(actual.items, all_found.items[:users])


def test_more_items_than_beams(world) -> None:
    model, trie, source, _ = world
    actual = TrieRecommender(model, trie, beams=2)(source, None, 12)
    assert (actual.items >= 0).all()


def test_newer_parameters_and_other_lengths_compile_nothing_again(world, monkeypatch) -> None:
    model, trie, source, seen = world
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(lambda *args: beam_search(*args[:3], beams=4, k=4, seen=args[3]), n=3)
    monkeypatch.setattr(
        module,
        "_recommend",
        jax.jit(lambda m, s, t, x, _, *, mode, beams, k: counted(m, s, t, x), static_argnames=("mode", "beams", "k")),
    )
    recommend = TrieRecommender(model, trie, beams=4, batch_users=4)
    before = recommend(source, seen, 4)  # prompts of up to 16, 32 and 48 tokens: three traces
    recommend(source[:, :35], seen[:, :5], 4)
    recommend.model = jax.tree.map(lambda x: -x, model)
    assert (recommend(source, seen, 4).items != before.items).any()


def test_clear_errors(world) -> None:
    model, trie, source, seen = world
    recommend = TrieRecommender(model, trie)
    with pytest.raises(ValueError, match=r"source must be i32\[B,S\]"):
        recommend(source[0], None, 3)
    with pytest.raises(ValueError, match="with B=23"):
        recommend(source, seen[:2], 3)
    with pytest.raises(ValueError, match=r"items are 0\.\.29"):
        recommend(source, np.full((23, 1), 30), 3)
    with pytest.raises(ValueError, match=r"allowed must be bool\[23, 30\].*got int64\[2, 30\]"):
        recommend(source, None, 3, np.ones((2, 30), int))
    with pytest.raises(ValueError, match="k=0"):
        recommend(source, None, 0)
    with pytest.raises(ValueError, match="mode='greedy'"):
        TrieRecommender(model, trie, mode="greedy")  # pyright: ignore[reportArgumentType]
