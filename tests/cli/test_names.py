"""Names of items on the command line: with commas, repeated, as JSON."""

import pytest

from jaxrec.cli.arguments import names, parsed
from jaxrec.cli.ask import Arguments as AskArguments
from jaxrec.cli.recommend import Arguments


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        (["a"], ["a"]),
        (["a, b ,c"], ["a", "b", "c"]),
        (["Paris, Texas", "Yi Yi"], ["Paris, Texas", "Yi Yi"]),
        (['["Paris, Texas"]'], ["Paris, Texas"]),
        (['["a", 3]'], ['["a"', "3]"]),
        (["[odd"], ["[odd"]),
        (["3"], ["3"]),
        ([" a ", ""], [" a ", ""]),
    ],
)
def test_names_of_an_option(values: list[str], expected: list[str]) -> None:
    assert names(values) == expected


def test_options_are_repeated_and_their_absence_is_seen() -> None:
    argv = ["runs/x", "--history", "a, b", "--history", "c", "--exclude", "d,e", "-k", "3"]
    arguments = parsed(Arguments, "recommend", argv)
    assert (arguments.history, arguments.exclude, arguments.k) == (("a, b", "c"), ("d,e",), 3)
    assert parsed(Arguments, "recommend", ["runs/x", "--user", "u"]).history == ()
    assert parsed(Arguments, "recommend", ["runs/x", "--user", "u", "--allow", "a", "--allow", "b"]).allow == ("a", "b")
    assert parsed(Arguments, "recommend", ["runs/x", "--history", ""]).history == ("",)
    asked = parsed(AskArguments, "ask", ["runs/x", "rating", "--user", "u", "--items", "a,b", "--items", "c"])
    assert asked.items == ("a,b", "c")
