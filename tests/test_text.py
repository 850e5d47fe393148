"""Quoted input stays on one line, is cut, and can't change how a terminal shows the rest."""

import pytest

from jaxrec.text import listed, printable, quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("item 7", "'item 7'"),
        ("it's", '"it\'s"'),
        ("a\r\nb\x1b[31m", r"'a\r\nb\x1b[31m'"),
        ("abc\u202edef", r"'abc\u202edef'"),
        ("zero\u200bwidth", r"'zero\u200bwidth'"),
        ("\ud800", r"'\ud800'"),
        ("日本語 é", "'日本語 é'"),
        (12, "'12'"),
    ],
)
def test_quoted(value: object, shown: str) -> None:
    assert quoted(value) == shown


def test_long_input_is_cut() -> None:
    assert quoted("x" * 10_000_000) == f"'{'x' * 80}' ... (10,000,000 characters)"
    assert listed(range(12), shown=2) == "'0', '1' and 10 more"
    assert listed("ab") == "'a', 'b'"


def test_printable_keeps_lines_and_length() -> None:
    assert printable("a\nb\x07\u2028" + "x" * 100) == "a\nb\\x07\\u2028" + "x" * 100
