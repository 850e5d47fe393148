"""Exact scoring against plain loops over items, whatever the block; the gap worked by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.recommend.beam_search import beam_search
from jaxrec.recommend.exact_scoring import beam_gap, exact_top_k, score_all
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import TopK

VOCAB = 9
rank_all = jax.jit(exact_top_k, static_argnames="k")
search = jax.jit(beam_search, static_argnames=("beams", "k"))
scores_of = jax.jit(score_all, static_argnames="block")


def test_by_hand(make_tables) -> None:
    """P(3)=.5 P(4)=.4 (.1 elsewhere), then P(5)=.3 after either."""
    first, then = np.full(VOCAB, 0.1 / 7), np.full(VOCAB, 0.7 / 8)
    first[[3, 4]], then[5] = (0.5, 0.4), 0.3
    after = np.zeros((2, VOCAB, VOCAB), np.float32)
    after[0, 0], after[1] = np.log(first), np.log(then / first)
    model = type(make_tables(VOCAB, 2))(jnp.zeros((VOCAB, VOCAB)), jnp.asarray(after))
    scores = score_all(model, np.array([[1]]), Trie.build(np.array([[4, 5], [3, 5]])))
    np.testing.assert_allclose(np.exp(scores), [[0.12, 0.15]], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 4, 64])
@pytest.mark.parametrize(("length", "prefix"), [(1, False), (3, True), (4, False)])
def test_equals_a_loop_over_items(make_tables, make_ids, log_prob, prompts, length, prefix, block) -> None:
    ids, model = make_ids(8 if length == 1 else 40, length, VOCAB, prefix=prefix), make_tables(VOCAB, length)
    scores = scores_of(model, prompts, Trie.build(ids), block=block)
    expected = [[log_prob(model, prompt, row) for row in ids] for prompt in prompts]
    np.testing.assert_allclose(scores, expected, atol=2e-4)


def test_ids_may_end_with_end_of_text(make_tables, make_ids, log_prob, prompts) -> None:
    ids, model = make_ids(20, 3, VOCAB - 1) + 1, make_tables(VOCAB, 4)
    ids = np.pad(ids, ((0, 0), (0, 1)), constant_values=1)
    scores = scores_of(model, prompts, Trie.build(ids))
    expected = [[log_prob(model, prompt, row) for row in ids] for prompt in prompts]
    np.testing.assert_allclose(scores, expected, atol=2e-4)


def test_probabilities_of_a_full_tree_sum_to_one(make_tables, prompts) -> None:
    """Every pair of tokens but padding is an id, and padding is never said."""
    ids = np.array([[a, b] for a in range(1, VOCAB) for b in range(1, VOCAB)])
    model = make_tables(VOCAB, 2)
    model = type(model)(model.prompt.at[:, 0].set(-1e9), model.after)
    np.testing.assert_allclose(jnp.exp(scores_of(model, prompts, Trie.build(ids))).sum(axis=1), 1, rtol=1e-4)


def test_exact_equals_a_beam_that_keeps_everything(make_tables, make_ids, prompts) -> None:
    trie, model = Trie.build(make_ids(40, 3, VOCAB)), make_tables(VOCAB, 3)
    seen = np.random.default_rng(0).integers(-1, 40, (4, 34)).astype(np.int32)
    for left_out in (None, seen):
        best = rank_all(model, prompts, trie, k=30, seen=left_out)
        actual = search(model, prompts, trie, beams=40, k=30, seen=left_out)
        np.testing.assert_array_equal(best.items, actual.items)
        np.testing.assert_allclose(best.scores, actual.scores, atol=1e-5)
    for items, left_out in zip(np.asarray(best.items), seen):
        assert set(items[items >= 0]) == set(range(40)) - set(left_out)


def test_allowed_items_alone_are_ranked(make_tables, make_ids, prompts) -> None:
    trie, model, rng = Trie.build(make_ids(40, 3, VOCAB)), make_tables(VOCAB, 3), np.random.default_rng(0)
    seen, allowed = rng.integers(-1, 40, (4, 9)).astype(np.int32), rng.random((4, 40)) < 0.4
    scores = np.array(scores_of(model, prompts, trie))
    for left_out in (None, seen):
        best = rank_all(model, prompts, trie, k=30, seen=left_out, allowed=allowed)
        for b, (items, mask) in enumerate(zip(np.asarray(best.items), allowed)):
            may = np.setdiff1d(np.flatnonzero(mask), [] if left_out is None else left_out[b])
            expected = may[np.argsort(-scores[b, may])]
            np.testing.assert_array_equal(items, np.pad(expected, (0, 30 - len(may)), constant_values=-1))
            np.testing.assert_allclose(best.scores[b, : len(may)], scores[b, expected], atol=1e-5)


def test_more_than_there_is(make_tables, make_ids, prompts) -> None:
    ids, model = make_ids(3, 3, VOCAB), make_tables(VOCAB, 3)
    best = rank_all(model, prompts, Trie.build(ids), k=5)
    assert (np.asarray(best.items[:, 3:]) == -1).all()
    assert np.isneginf(best.scores[:, 3:]).all()
    with pytest.raises(ValueError, match="k=0 must be at least 1"):
        exact_top_k(model, prompts, Trie.build(ids), k=0)


@pytest.mark.slow
def test_jit_equals_no_jit_traces_once_and_has_finite_gradients(make_tables, make_ids, prompts) -> None:
    trie, model = Trie.build(make_ids(30, 3, VOCAB)), make_tables(VOCAB, 3)
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(lambda *args: score_all(*args, block=4), n=1))
    for rolled in (0, 1):
        source = np.roll(prompts, rolled, axis=0)
        np.testing.assert_allclose(traced(model, source, trie), score_all(model, source, trie, block=4), atol=1e-5)
    gradient = jax.grad(lambda model: scores_of(model, prompts, trie, block=4).sum())(model)
    chex.assert_tree_all_finite(gradient)


def test_gap_by_hand() -> None:
    best = TopK(np.array([[5, 3, 1], [2, -1, -1]]), np.array([[-1.0, -2.0, -3.0], [-1.0, -np.inf, -np.inf]]))
    actual = TopK(np.array([[5, 1, 4], [2, -1, -1]]), np.array([[-1.0, -3.0, -3.5], [-1.0, -np.inf, -np.inf]]))
    recall, shortfall = beam_gap(actual, best)
    np.testing.assert_allclose(recall, [2 / 3, 1])
    np.testing.assert_allclose(shortfall, [0.5, 0])
    with pytest.raises(ValueError, match="same k"):
        beam_gap(TopK(actual.items[:, :2], actual.scores[:, :2]), best)
