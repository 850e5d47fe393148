"""The trie against ids worked by hand, and against a dictionary of prefixes for any ids."""

import gzip
import pathlib
import re

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxrec.tokenizers.trie import Trie

BY_HAND = np.array([[7, 4, 2], [7, 3, 9], [7, 4, 1], [7, 3, 5], [7, 6, 1]])


def unique_ids() -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 30), st.integers(1, 4))
    tables = shapes.flatmap(lambda shape: hnp.arrays(np.int32, shape, elements=st.integers(1, 5)))
    shuffled = tables.flatmap(lambda ids: st.permutations(sorted(set(map(tuple, ids.tolist())))))
    return shuffled.map(lambda rows: np.array(rows, np.int32))


def test_by_hand() -> None:
    trie = Trie.build(BY_HAND)
    np.testing.assert_array_equal(trie.rows, [[7, 3, 5], [7, 3, 9], [7, 4, 1], [7, 4, 2], [7, 6, 1]])
    np.testing.assert_array_equal(trie.items, [3, 1, 2, 0, 4])
    np.testing.assert_array_equal(trie.leaves, [3, 1, 2, 0, 4])
    assert [s.tolist() for s in trie.starts] == [[0, 5], [0, 5], [0, 2, 4, 5], [0, 1, 2, 3, 4, 5]]
    assert [c.tolist() for c in trie.first_child] == [[0, 1], [0, 3], [0, 2, 4, 5]]
    assert trie.widths == (1, 3, 2)
    assert (trie.n_items, trie.depth, trie.stem) == (5, 3, 1)


@given(unique_ids())
def test_round_trip(ids: np.ndarray) -> None:
    trie = Trie.build(ids)
    np.testing.assert_array_equal(trie.rows[trie.leaves], ids)
    np.testing.assert_array_equal(trie.items[trie.leaves], np.arange(len(ids)))


@given(unique_ids())
def test_children_equal_a_dictionary_of_prefixes(ids: np.ndarray) -> None:
    trie = Trie.build(ids)
    children: dict[tuple[int, ...], set[int]] = {}
    for row in ids.tolist():
        for depth, token in enumerate(row):
            children.setdefault(tuple(row[:depth]), set()).add(token)
    walked = {}
    for depth in range(trie.depth):
        for node in range(trie.size(depth)):
            low, high = trie.starts[depth][node : node + 2]
            prefixes = {tuple(row) for row in trie.rows[low:high, :depth].tolist()}
            assert len(prefixes) == 1
            below = range(*trie.first_child[depth][node : node + 2])
            walked[prefixes.pop()] = {int(trie.rows[trie.starts[depth + 1][child], depth]) for child in below}
            assert len(below) <= trie.widths[depth]
    assert walked == children


def test_sizes_are_static_under_jit() -> None:
    trie = Trie.build(BY_HAND)
    sizes = jax.jit(lambda trie: (trie.rows.shape, [trie.size(d) for d in range(4)], trie.stem, trie.widths))(trie)
    assert sizes == ((5, 3), [1, 1, 3, 5], 1, (1, 3, 2))


def test_one_item_is_all_stem_but_its_last_token() -> None:
    assert Trie.build(np.array([[4, 2, 3]])).stem == 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[5, 1], [5, 2], [5, 1]], r"items 0 and 2 have the same id \[5, 1\]"),
        ([[5, 1], [5, 0]], r"the id of item 1 is \[5, 0\]"),
        ([[5.0, 1.0]], "must be integers"),
        ([5, 1], "must be integers of shape"),
        (np.zeros((0, 3), int), "I, L' > 0"),
    ],
)
def test_what_is_no_table_of_ids(ids: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trie.build(np.array(ids))


def test_released_ids_of_beauty(real_data: pathlib.Path) -> None:
    """Real ids, `<CTi><j>`: every item comes back from its leaf."""
    with gzip.open(real_data / "amazon-beauty" / "meta_id_released_items.txt.gz", "rt") as file:
        codes = np.array([[int(n) for n in re.findall(r"\d+", line.split()[1])] for line in file])
    ids = np.column_stack([np.full(len(codes), 3), codes + np.array([10, 200])])
    trie = Trie.build(ids)
    np.testing.assert_array_equal(trie.rows[trie.leaves], ids)
    assert (trie.n_items, trie.stem) == (12101, 1)
