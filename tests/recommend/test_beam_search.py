"""Beam search against a search worked by hand, exhaustive scoring and a plain search over a set of prefixes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.recommend.beam_search import beam_search, open_nodes
from jaxrec.recommend.decoding_steps import children, leaves_of
from jaxrec.tokenizers.trie import Trie

VOCAB = 9
search = jax.jit(beam_search, static_argnames=("beams", "k"))


def plain_search(log_prob, model, prompt, ids, beams, k):
    """A beam search over Python tuples; items and scores, best first."""
    prefixes = [()]
    for depth in range(ids.shape[1]):
        grown = sorted({tuple(row[: depth + 1]) for row in ids.tolist() if tuple(row[:depth]) in prefixes})
        scores = [log_prob(model, prompt, prefix) for prefix in grown]
        best = np.argsort(scores)[::-1][:beams]
        prefixes = [grown[i] for i in best]
    items = [ids.tolist().index(list(prefix)) for prefix in prefixes[:k]]
    return items, [scores[i] for i in best[:k]]


@pytest.fixture
def by_hand(make_tables):
    """P(3)=.5 P(4)=.4 (.1 on tokens of no id); P(5|3)=.3 P(6|3)=.3; P(5|4)=.9 P(6|4)=.05."""
    first = np.full(VOCAB, 0.1 / 7)
    first[[3, 4]] = 0.5, 0.4
    then_3 = np.full(VOCAB, 0.4 / 7)
    then_3[[5, 6]] = 0.3
    then_4 = np.full(VOCAB, 0.05 / 7)
    then_4[[5, 6]] = 0.9, 0.05
    after = np.zeros((2, VOCAB, VOCAB), np.float32)
    after[0, 0] = np.log(first)
    after[1, 3], after[1, 4] = np.log(then_3 / first), np.log(then_4 / first)
    model = type(make_tables(VOCAB, 2))(jnp.zeros((VOCAB, VOCAB)), jnp.asarray(after))
    return model, Trie.build(np.array([[3, 5], [4, 6], [3, 6], [4, 5]])), np.array([[1]])


@pytest.mark.slow
def test_by_hand(by_hand) -> None:
    model, trie, source = by_hand
    greedy = beam_search(model, source, trie, beams=1, k=1)
    assert greedy.items.tolist() == [[0]]  # .5 * .3, a tie with item 2, which stands behind it in the trie
    np.testing.assert_allclose(np.exp(greedy.scores), [[0.15]], rtol=1e-5)
    full = beam_search(model, source, trie, beams=4, k=4)
    assert full.items.tolist() == [[3, 0, 2, 1]]
    np.testing.assert_allclose(np.exp(full.scores), [[0.36, 0.15, 0.15, 0.02]], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_enough_beams_are_exhaustive(make_tables, make_ids, log_prob, prompts, length, prefix) -> None:
    ids = make_ids(1 if prefix and length == 1 else 7, length, VOCAB, prefix=prefix)
    model = make_tables(VOCAB, length)
    actual = search(model, prompts, Trie.build(ids), beams=20, k=len(ids))
    for b, prompt in enumerate(prompts):
        scores = np.array([log_prob(model, prompt, row) for row in ids])
        order = np.argsort(-scores)
        np.testing.assert_array_equal(actual.items[b], order)
        np.testing.assert_allclose(actual.scores[b], scores[order], atol=1e-4)


@pytest.mark.parametrize("beams", [1, 3, 6])
def test_few_beams_equal_a_plain_search(make_tables, make_ids, log_prob, prompts, beams) -> None:
    ids, model = make_ids(40, 4, VOCAB), make_tables(VOCAB, 4)
    actual = search(model, prompts, Trie.build(ids), beams=beams, k=beams)
    for b, prompt in enumerate(prompts):
        items, scores = plain_search(log_prob, model, prompt, ids, beams, beams)
        np.testing.assert_array_equal(actual.items[b], items)
        np.testing.assert_allclose(actual.scores[b], scores, atol=1e-4)


def test_seen_items_equal_a_trie_without_them(make_tables, make_ids, log_prob, prompts) -> None:
    """Whole clusters are seen, and some items twice; few beams, so a beam spent on a dead end would show."""
    ids, model, rng = make_ids(40, 4, VOCAB), make_tables(VOCAB, 4), np.random.default_rng(1)
    seen = np.full((len(prompts), 30), -1, np.int32)
    for row, prompt in zip(seen, prompts):
        best, _ = plain_search(log_prob, model, prompt, ids, 5, 5)
        cluster = np.flatnonzero(ids[:, 1] == ids[best[0], 1])
        row[: len(cluster) + 6] = rng.permutation([*cluster, *best, best[1]])
    actual = search(model, prompts, Trie.build(ids), beams=3, k=3, seen=seen)
    for b, prompt in enumerate(prompts):
        left = np.setdiff1d(np.arange(len(ids)), seen[b])
        items, scores = plain_search(log_prob, model, prompt, ids[left], 3, 3)
        np.testing.assert_array_equal(actual.items[b], left[items])
        np.testing.assert_allclose(actual.scores[b], scores, atol=1e-4)


def test_counts_of_unseen_items() -> None:
    """By hand: below depth 1 stand items {3, 1}, {2, 0}, {4}; a node is open while one of its items is not seen."""
    trie = jax.tree.map(jnp.asarray, Trie.build(np.array([[4, 2], [3, 9], [4, 1], [3, 5], [6, 1]])))
    seen = jnp.array([[1, 3, -1, 1], [4, 0, -1, -1]])
    np.testing.assert_array_equal(leaves_of(trie, seen), [[0, 1, 5, 5], [3, 4, 5, 5]])
    nodes, is_child = children(trie, 0, jnp.zeros((2, 1), jnp.int32))
    assert is_child.all()
    is_open = open_nodes(trie, seen, None)
    np.testing.assert_array_equal(is_open(1, nodes), [[[False, True, True]], [[True, True, False]]])
    allowed = jnp.array([[True, True, False, True, False], [True, False, False, True, True]])
    is_open = open_nodes(trie, seen, allowed)  # left: item 0; item 3
    np.testing.assert_array_equal(is_open(1, nodes), [[[False, True, False]], [[True, False, False]]])
    assert open_nodes(trie, None, None) is None


@pytest.mark.slow
def test_allowed_items_equal_a_trie_of_them_alone(make_tables, make_ids, log_prob, prompts) -> None:
    """A few allowed items of 40, some of them seen: the search is that of a trie without all the others."""
    ids, model, rng = make_ids(40, 4, VOCAB), make_tables(VOCAB, 4), np.random.default_rng(1)
    for share in (0.1, 0.5, 1.0):
        allowed, seen = rng.random((len(prompts), 40)) < share, rng.integers(-1, 40, (len(prompts), 6)).astype(np.int32)
        actual = search(model, prompts, Trie.build(ids), beams=3, k=3, seen=seen, allowed=allowed)
        masked = search(model, prompts, Trie.build(ids), beams=3, k=3, allowed=allowed)
        for b, prompt in enumerate(prompts):
            for top, left in ((actual, np.setdiff1d(np.flatnonzero(allowed[b]), seen[b])), (masked, allowed[b])):
                left = np.flatnonzero(left) if left.dtype == bool else left
                items, scores = plain_search(log_prob, model, prompt, ids[left], 3, 3) if len(left) else ([], [])
                fill = 3 - len(items)
                assert fill == max(0, 3 - len(left))
                np.testing.assert_array_equal(top.items[b], np.pad(left[items], (0, fill), constant_values=-1))
                expected = np.pad(np.array(scores, float), (0, fill), constant_values=-np.inf)
                np.testing.assert_allclose(top.scores[b], expected, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 11), min_size=12, max_size=12), min_size=4, max_size=4))
def test_never_a_seen_a_repeated_or_an_invented_item(make_tables, prompts, seen) -> None:
    ids = np.column_stack([np.full(12, 2), 1 + np.arange(12) % 5, 3 + np.arange(12) // 5])
    actual = search(make_tables(VOCAB, 3), prompts, Trie.build(ids), beams=8, k=8, seen=np.array(seen, np.int32))
    for items, scores, left_out in zip(np.asarray(actual.items), np.asarray(actual.scores), seen):
        allowed = set(range(12)) - set(left_out)
        listed = items[items >= 0].tolist()
        assert len(listed) == len(set(listed)) == min(8, len(allowed))
        assert set(listed) <= allowed
        assert (items[len(listed) :] == -1).all()
        assert np.isfinite(scores[: len(listed)]).all()
        assert np.isneginf(scores[len(listed) :]).all()
        assert (np.diff(scores[: len(listed)]) <= 0).all()


def test_fewer_items_than_asked_for(make_tables, make_ids, prompts) -> None:
    ids, model = make_ids(3, 3, VOCAB), make_tables(VOCAB, 3)
    actual = search(model, prompts, Trie.build(ids), beams=6, k=5)
    assert actual.items.shape == actual.scores.shape == (4, 5)
    assert (np.sort(actual.items[:, :3]) == np.arange(3)).all()
    assert (np.asarray(actual.items[:, 3:]) == -1).all()
    assert np.isneginf(actual.scores[:, 3:]).all()
    everything = np.tile(np.arange(3, dtype=np.int32), (4, 1))
    nothing = search(model, prompts, Trie.build(ids), beams=6, k=5, seen=everything)
    assert (np.asarray(nothing.items) == -1).all()
    assert np.isneginf(nothing.scores).all()


def test_ties_stand_in_the_order_of_leaves(make_tables, make_ids, prompts) -> None:
    trie, model = Trie.build(make_ids(20, 3, VOCAB)), jax.tree.map(jnp.zeros_like, make_tables(VOCAB, 3))
    actual = search(model, prompts, trie, beams=20, k=20)
    np.testing.assert_array_equal(actual.items, np.tile(trie.items, (4, 1)))


def test_batch_equals_loop_and_items_may_be_renamed(make_tables, make_ids, prompts) -> None:
    ids, model = make_ids(30, 3, VOCAB), make_tables(VOCAB, 3)
    together = search(model, prompts, Trie.build(ids), beams=5, k=5)
    order = np.random.default_rng(2).permutation(30)
    renamed = search(model, prompts, Trie.build(ids[order]), beams=5, k=5)
    np.testing.assert_array_equal(order[renamed.items], together.items)
    for b in range(len(prompts)):
        alone = search(model, prompts[b : b + 1], Trie.build(ids), beams=5, k=5)
        np.testing.assert_array_equal(alone.items[0], together.items[b])
        np.testing.assert_allclose(alone.scores[0], together.scores[b], atol=1e-5)


@pytest.mark.slow
def test_jit_equals_no_jit_and_traces_once(make_tables, make_ids, prompts) -> None:
    trie, model = Trie.build(make_ids(30, 3, VOCAB)), make_tables(VOCAB, 3)
    seen = np.array([[0, 1], [2, -1], [-1, -1], [3, 3]], np.int32)
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(lambda *args: beam_search(*args[:3], beams=5, k=4, seen=args[3]), n=1))
    for rolled in (0, 1):
        source = np.roll(prompts, rolled, axis=0)
        plain = beam_search(model, source, trie, beams=5, k=4, seen=seen)
        compiled = traced(model, source, trie, seen)
        np.testing.assert_array_equal(plain.items, compiled.items)
        np.testing.assert_allclose(plain.scores, compiled.scores, atol=1e-5)


def test_gradients_of_the_scores_are_finite(make_tables, make_ids, prompts) -> None:
    trie, model = Trie.build(make_ids(30, 3, VOCAB)), make_tables(VOCAB, 3)
    gradient = jax.grad(lambda model: search(model, prompts, trie, beams=5, k=5).scores.sum())(model)
    chex.assert_tree_all_finite(gradient)
    assert all(jnp.abs(x).sum() > 0 for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize("k", [0, 6])
def test_k_beyond_the_beams(make_tables, make_ids, prompts, k) -> None:
    with pytest.raises(ValueError, match=rf"k={k} is not in 1\.\.5"):
        beam_search(make_tables(VOCAB, 3), prompts, Trie.build(make_ids(9, 3, VOCAB)), beams=5, k=k)
