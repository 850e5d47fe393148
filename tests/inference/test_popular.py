"""Popular items for unknown users: a count, filtered and labelled."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxrec.inference.popular import popular_items
from jaxrec.types import Histories


@pytest.fixture
def system() -> Any:
    """Four items with 2, 3, 0 and 2 events."""
    names = np.array(["a", "b", "c", "d"], object)
    items = np.array([0, 1, 3, 1, 0, 3, 1], np.int32)
    data = SimpleNamespace(
        n_items=4,
        item_names=names,
        user_names=np.array(["u", "v"], object),
        titles=lambda: np.char.upper(names.astype(str)),
    )
    return SimpleNamespace(
        data=data,
        histories=Histories(np.array([0, 3, 7]), items, 4),
        config=SimpleNamespace(eval=SimpleNamespace(mask_seen=True)),
        item_name=lambda item: f"<{item}>",
    )


def test_they_are_ordered_by_events_and_labelled(system: Any) -> None:
    shown = popular_items(system, 3, user="who\x1b")
    assert shown.numbers == [1, 0, 3]
    assert [(label, tokens, score) for label, tokens, score, _ in shown.items] == [
        ("B (b)", "<1>", 3.0),
        ("A (a)", "<0>", 2.0),
        ("D (d)", "<3>", 2.0),
    ]
    assert str(shown).startswith("user 'who\\x1b' is unknown, so these are the most popular items")
    assert shown.note == ""


def test_filters_hold_and_a_short_list_says_why(system: Any) -> None:
    assert popular_items(system, 2, user="x", exclude=["b"]).numbers == [0, 3]
    shown = popular_items(system, 4, user="x", allow=["c", "d"])
    assert (shown.numbers, shown.note) == ([3, 2], "2 of 4 items: no other allowed item is left")
    with pytest.raises(ValueError, match="item 'z' is not in"):
        popular_items(system, 2, user="x", exclude=["z"])
    with pytest.raises(ValueError, match="k=5 is not between 1 and the 4 items"):
        popular_items(system, 5, user="x")
