"""Strict text tables: what RFC 4180 allows is read, the rest refused with its line; polars gives the same answers."""

import csv
import io
import pathlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.data.readers.delimited_text import BLANKS, Dialect, read_delimited, read_fast, read_strictly, records
from jaxrec.data.source_file import SourceFile
from jaxrec.types import DataError

COMMAS = Dialect(",", is_quoted=True, has_comments=True)


def source(data: bytes | str) -> SourceFile:
    return SourceFile(pathlib.Path("events"), data.encode() if isinstance(data, str) else data)


def rows(data: bytes | str, dialect: Dialect = COMMAS) -> list[tuple]:
    return read_delimited(source(data), dialect).frame.rows()


def outcome(data: bytes, dialect: Dialect, names: list[str] | None) -> tuple:
    """The strict parser's table, or its error."""
    try:
        first = next(records(source(data), dialect), None)
        if first is None:
            return ("empty",)
        start = first.end if names is None else first.start
        width = names or [str(i) for i in range(len(first.fields))]
        return ("rows", read_strictly(source(data), dialect, width, start).rows())
    except DataError as error:
        return ("error", str(error))


def fast_outcome(data: bytes, dialect: Dialect, names: list[str] | None) -> list[tuple] | None:
    try:
        first = next(records(source(data), dialect), None)
    except DataError:
        return None
    if first is None:
        return None
    width = names or [str(i) for i in range(len(first.fields))]
    frame = read_fast(source(data), dialect, width, first.end if names is None else first.start)
    return None if frame is None else frame.fill_null("").rows()


LONGER = ['""', ",,", "\r\n", "\n\n", "::", '"a"', '"a,b"', '"a\nb"', '"a\r\nb"', '"x""y"', "a,b\n", '"",""\n', "null"]
PIECES = st.sampled_from([*'",\n\r\t a#:|é\x0b\x1f\xa0\u2028-', *LONGER])
TEXTS = st.one_of(
    st.lists(PIECES, max_size=24).map("".join),
    st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(["a", "", "bc", " d", '"e"', '"f,g"', '"h\ni"', '"j""k"', '""', '"l\r"', "é"]),
                st.text(alphabet='a,"\n\r \té\x0c', max_size=3),
            ),
            min_size=2,
            max_size=2,
        ).map(",".join),
        min_size=1,
        max_size=6,
    ).map("\n".join),
)
DIALECTS = st.sampled_from(
    [COMMAS, Dialect(",", is_quoted=True), Dialect("\t"), Dialect("::"), Dialect("|", is_quoted=True), Dialect(BLANKS)]
)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, dialect=DIALECTS, has_header=st.booleans())
def test_polars_is_asked_only_where_it_answers_like_the_strict_parser(
    text: str, dialect: Dialect, has_header: bool
) -> None:
    data = text.replace(",", dialect.separator).encode() if dialect.separator != BLANKS else text.encode()
    names = None if has_header else ["x", "y"]
    fast = fast_outcome(data, dialect, names)
    if fast is not None:
        assert ("rows", fast) == outcome(data, dialect, names)


@settings(max_examples=120, deadline=None)
@given(
    table=st.lists(st.lists(st.text(max_size=6), min_size=2, max_size=3), min_size=1, max_size=5), every=st.booleans()
)
def test_what_pythons_csv_writes_is_read_back(table: list[list[str]], every: bool) -> None:
    table = [[*row, ""][:3] for row in table]
    table = [[field.replace("\0", "").encode("utf-8", "ignore").decode() for field in row] for row in table]
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL).writerows([["p", "q", "r"], *table])
    parsed = outcome(file.getvalue().encode(), COMMAS, None)
    if all(any(row) for row in table):
        assert parsed == ("rows", [tuple(row) for row in table])
    else:
        assert parsed[0] == "error"


def test_what_polars_would_read_otherwise_is_left_to_the_strict_parser() -> None:
    """Found by mutations: it takes a byte order mark away, and a separator at the end of quoted text."""
    assert rows("a,b\n\ufeffx,y\n") == [("\ufeffx", "y")]
    with pytest.raises(DataError, match="events:3: 3 fields where 2 are expected"):
        rows('a,b\n"x, y",z\nu,v,')
    with pytest.raises(DataError, match="events:3: 1 fields where 2 are expected"):
        rows("a,b\nx,y\nz\nu,v,")


def test_the_fast_way_is_taken_for_what_files_usually_hold() -> None:
    for text in (
        "a,b\nx,y\n\nz,w\n\n",
        'a,b\r\n"x, y","one\n\ntwo"\r\n"say ""z""",w\r\n',
        'a,b\n"",y\n',
        "# note\na,b\nx,y\n",
    ):
        assert fast_outcome(text.encode(), COMMAS, None) is not None
    assert fast_outcome(b"1::2::3::4\n5::6::7::8\n", Dialect("::"), list("abcd")) == [tuple("1234"), tuple("5678")]


REFUSED = {
    'a,b\nx,"b"c"d"\n': (2, "text after a closing quotation mark"),
    'a,b\nx,b"c"\n': (2, "a quotation mark inside a field"),
    'a,b\nx, "c"\n': (2, "a quotation mark inside a field"),
    'a,b\nx,"one\ntwo" \n': (3, "text after a closing quotation mark"),
    'a,b\n"x\n\ny",1\nz,"never\nends\n': (5, "never closed"),
    "a,b\nx,y\r\r\nz,w\n": (2, "a carriage return without a line feed"),
    "a,b\nx,y\nu\rv,w\n": (3, "a carriage return without a line feed"),
    "a,b\nx,y\r": (2, "a carriage return without a line feed"),
    'a,b\n"x\n\ny",1\nz,\r"w"\n': (5, "a carriage return without a line feed"),
    'a,b\n"x\ny",1\nz\n': (4, "1 fields where 2 are expected"),
    "a,b\nx\x0by\n": (2, "1 fields where 2 are expected"),
    "a,b\nx,y\n,\n": (3, "every field is empty"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_the_rest_is_refused_with_its_line(text: str) -> None:
    line, problem = REFUSED[text]
    with pytest.raises(DataError, match=problem) as caught:
        rows(text)
    assert str(caught.value).startswith(f"events:{line}: ")


def test_lines_end_nowhere_but_at_line_feeds() -> None:
    for character in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\xa0":
        assert rows(f"a,b\nx{character}y,z\n") == [(f"x{character}y", "z")]
    assert rows('a,b\n"x\r\ny","z\rw"\r\n') == [("x\r\ny", "z\rw")]


def test_separators_of_several_characters() -> None:
    colons = Dialect("::")
    assert rows("a::b\nx\ty::z:w\n", colons) == [("x\ty", "z:w")]
    with pytest.raises(DataError, match=r"events:2: more of ':' than the separator '::' has"):
        rows("a::b\n1:::2\n", colons)
    assert rows("a b\n x \t y \n", Dialect(BLANKS)) == [("x", "y")]


def test_line_of_a_row_after_quoted_line_ends_blank_lines_and_comments() -> None:
    table = read_delimited(source('# one\n# two\n\na,b\n"x\ny",1\n\nz,2\n'), COMMAS)
    assert table.frame.equals(pl.DataFrame({"a": ["x\ny", "z"], "b": ["1", "2"]}))
    assert [table.line_of(row) for row in range(2)] == [5, 8]
