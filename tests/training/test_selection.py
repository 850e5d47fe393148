"""The best validation, by hand."""

import pytest

from jaxrec.training.selection import Selection


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_best_and_patience_by_hand(mode, sign) -> None:
    selection = Selection("score", mode, patience=2)
    actual = [selection.update(step, {"score": sign * value}) for step, value in enumerate([1, 3, 3, 4, 2, 4], 1)]
    assert actual == [True, True, False, True, False, False]
    assert (selection.best_step, selection.best_value, selection.exhausted) == (4, sign * 4, True)


def test_no_patience_never_stops() -> None:
    selection = Selection("score", "max", patience=0)
    for step in range(100):
        selection.update(step, {"score": 0.0})
    assert not selection.exhausted


def test_goes_on_where_it_was() -> None:
    first = Selection("score", "max", patience=2)
    first.update(1, {"score": 2.0})
    first.update(2, {"score": 1.0})
    second = Selection("score", "max", patience=2)
    second.resume(first.progress())
    assert second == first


def test_bad_values_are_refused() -> None:
    selection = Selection("score", "max", patience=2)
    with pytest.raises(ValueError, match="not among the metrics of validation: hr, mrr"):
        selection.update(1, {"hr": 1.0, "mrr": 1.0})
    with pytest.raises(ValueError, match="score=nan"):
        selection.update(1, {"score": float("nan")})
