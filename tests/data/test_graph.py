"""The edge table against a plain search over the events."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.data.graph import Graph, bipartite_graph, build_graph
from jaxrec.types import Histories

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 3)), max_size=30)


def histories(events: list[tuple[int, int, int]], users: int = 5, items: int = 6, rated: bool = True) -> Histories:
    ordered = sorted(events, key=lambda e: e[0])
    counts = np.bincount([u for u, _, _ in ordered], minlength=users) if ordered else np.zeros(users, int)
    ratings = np.array([r for _, _, r in ordered], np.float32) if rated else None
    return Histories(
        np.concatenate([[0], np.cumsum(counts)]), np.array([i for _, i, _ in ordered], np.int32), items, ratings
    )


def follow(graph: Graph, edge: int) -> list[int]:
    """Nodes that the edges after `edge` lead to."""
    _, low, count, _ = graph.edges[edge]
    return sorted(graph.edges[low : low + count, 0].tolist())


def test_by_hand() -> None:
    # User 0 gave item 0 a 5 and item 1 a 3; user 1 gave item 0 a 5. Items are nodes 2 and 3.
    graph = bipartite_graph(histories([(0, 0, 5), (0, 1, 3), (1, 0, 5)], users=2, items=2))
    assert graph.degree.tolist() == [2, 1, 2, 1]
    assert graph.first.tolist() == [0, 2, 3, 5]
    from_user_1 = int(graph.first[1])
    assert graph.edges[from_user_1, 0] == 2
    assert follow(graph, from_user_1) == [0, 1]  # item 0 at rating 5: both users
    to_item_1 = next(e for e in (0, 1) if graph.edges[e, 0] == 3)
    assert follow(graph, to_item_1) == [0]  # item 1 at rating 3: user 0 alone


@settings(deadline=None, max_examples=50)
@given(EVENTS, st.booleans())
def test_what_follows_an_edge_are_the_events_of_its_rating(events: list, rated: bool) -> None:
    graph = bipartite_graph(histories(events), equal_ratings=rated)
    at = collections.defaultdict(list)
    for user, item, rating in events:
        relation = rating if rated else 0
        at[user, relation].append(5 + item)
        at[5 + item, relation].append(user)
    counts, expected = collections.Counter(), collections.Counter()
    for node in range(graph.n_nodes):
        for edge in range(graph.first[node], graph.first[node] + graph.degree[node]):
            counts[node, int(graph.edges[edge, 0]), tuple(follow(graph, edge))] += 1
    for (node, relation), targets in at.items():
        for target in targets:
            expected[node, target, tuple(sorted(at[target, relation]))] += 1
    assert counts == expected


def test_without_ratings_all_edges_are_one_relation() -> None:
    events = [(0, 0, 1), (0, 1, 2), (1, 1, 3)]
    plain = bipartite_graph(histories(events, rated=False), equal_ratings=True)
    ignored = bipartite_graph(histories(events), equal_ratings=False)
    np.testing.assert_array_equal(plain.edges, ignored.edges)


def test_another_meta_path_is_data() -> None:
    # user 0 - item 1 - brand 2 - item 3 - user 4: relations user-item, item-brand, brand-item, item-user.
    source, target = np.array([0, 1, 2, 2, 1, 3]), np.array([1, 2, 1, 3, 0, 4])
    graph = build_graph(source, target, np.array([0, 1, 2, 2, 3, 3]), 5, follows=np.array([1, 2, 3, 0]))
    assert follow(graph, int(graph.first[0])) == [2]  # from the item only on to its brand, not back to the user
    brand_to_item_3 = next(e for e in range(graph.first[2], graph.first[2] + 2) if graph.edges[e, 0] == 3)
    assert follow(graph, brand_to_item_3) == [4]
    assert follow(graph, int(graph.first[3])) == []  # user 4 has no user-item edge: a dead end


def test_numbers_out_of_range_are_named() -> None:
    zero = np.array([0])
    with pytest.raises(ValueError, match=r"target holds 7\.\.7, wanted 0\.\.1"):
        build_graph(zero, np.array([7]), zero, 2, follows=zero)
