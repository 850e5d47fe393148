"""JSON objects: the strict reader's rules, and pyarrow giving the same answers."""

import json
import pathlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.data.readers import json_objects
from jaxrec.data.readers.json_fast import read_fast
from jaxrec.data.readers.registry import read_events
from jaxrec.data.source_file import SourceFile
from jaxrec.types import DataError

ROLES = {"user": "user", "rating": "rating"}


def source(text: str) -> SourceFile:
    return SourceFile(pathlib.Path("events"), text.encode("utf-8", "surrogatepass"))


def strict(text: str) -> list[tuple] | str:
    try:
        return json_objects.read_strictly(source(text), ROLES).rows()
    except DataError as error:
        return str(error)


def fast(text: str) -> list[tuple] | None:
    try:
        first = list(json_objects.objects(source(text)))[:1]
    except DataError:
        first = [(1, {"user": "a", "rating": 1})]
    examples = {role: first[0][1].get(key) if first else None for role, key in ROLES.items()}
    frame = read_fast(source(text), ROLES, examples, json_objects.DEEPEST)
    if frame is None:
        return None
    return [tuple(None if value is None else str(value) for value in row) for row in frame.rows()]


def comparable(rows: list[tuple]) -> list[tuple]:
    return [(user, number(rating)) for user, rating in rows]


def number(text: str | None) -> float | str | None:
    try:
        return text if text is None else float(text)
    except ValueError:
        return text


VALUES = st.sampled_from(
    r"""
    "a"; "b c"; "\u00e9"; "\ud83d\ude00"; "\ud83d"; "\ude00\ud83d"; "\\ud83d"; "\u0000"; "\x"; "a" "b"; 'a'; "5"; "";
    1; 1.5; -2; 1e3; 01; 1.; +1; 5.0; -0; 12345678901234567890123; 1 2; NaN; Infinity; null; true; []; [1]; {};
    {"user": "z"}; "	"
    """.replace(";\n", ";")
    .strip()
    .split("; ")
)
PAIRS = st.tuples(st.sampled_from(["user", "rating", "other", "us\\u0065r"]), VALUES).map(lambda p: f'"{p[0]}": {p[1]}')
GOOD = st.tuples(st.sampled_from(['"a"', '"b"', '"\\ud83d\\ude00"']), st.sampled_from(["1", "2.5", "null"])).map(
    lambda p: f'{{"user": {p[0]}, "rating": {p[1]}, "other": [{{"user": 1}}]}}'
)
LINES = st.one_of(
    st.lists(PAIRS, max_size=4).map(lambda pairs: "{" + ", ".join(pairs) + "}"),
    GOOD,
    st.sampled_from(
        ["{}", "{}{}", '{"user": "a"}{"user": "b"}', '{"user":', '"a"}', "[]", "", " ", "{", "}", "1", "null"]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(GOOD, LINES), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\n\n", "\r", " "]))
def test_pyarrow_is_asked_only_where_it_answers_like_the_strict_reader(lines: list[str], end: str) -> None:
    text = end.join(lines)
    answer = fast(text)
    if answer is not None:
        expected = strict(text)
        assert isinstance(expected, list), expected
        assert comparable(answer) == comparable(expected)


def test_the_fast_way_is_taken_for_what_files_usually_hold() -> None:
    assert fast('{"user": "a", "rating": 1}\r\n{"rating": 2.5, "user": "\\ud83d\\ude00"}\n') == [
        ("a", "1.0"),
        ("😀", "2.5"),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"user": st.text(min_size=1, max_size=5), "rating": st.floats(-1e6, 1e6)}),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_what_pythons_json_writes_is_read_in_lines_and_in_an_array(
    events: list[dict], ascii: bool, indent: int | None
) -> None:
    expected = [(event["user"], repr(event["rating"])) for event in events]
    lines = "".join(json.dumps(event, ensure_ascii=ascii) + "\n" for event in events)
    assert strict(lines) == strict(json.dumps(events, ensure_ascii=ascii, indent=indent)) == expected


REFUSED = {
    "NaN": ('{"user": "a", "item": "x"}\n{"user": NaN, "item": "x"}\n', 2, "'NaN is no JSON value'"),
    "twice": ('{"user": "a", "item": "x"}\n{"user": "a", "item": "x", "user": "b"}', 2, "the key 'user' is there more"),
    "half a pair": ('{"user": "a", "item": "x"}\n{"user": "\\ud800", "item": "x"}', 2, "half of a surrogate pair"),
    "truth": ('{"user": "a", "item": "x"}\n{"user": true, "item": "x"}', 2, "the user .* is true, which it can't be"),
    "a list": ('{"user": "a", "item": ["x"]}', 1, "the item .* is a list"),
    "an object": ('{"user": {"id": 1, "n": 2}, "item": "x"}', 1, r"an object with the keys 'id', 'n'; .* user=user.id"),
    "parts": ('{"user": "a", "item": "x"}\n{"user": 1.5, "item": "x"}', 2, "1.5 is not a whole number"),
    "no user": ('{"user": "a", "item": "x"}\n{"item": "x"}', 2, "the user is missing"),
    "NUL": ('{"user": "a", "item": "x"}\n{"user": "\\u0000", "item": "x"}', 2, "the user holds a NUL character"),
    "two a line": ('{"user": "a", "item": "x"}\n{"user": "a", "item": "x"} {}', 2, "something follows the object"),
    "deep": ('{"user": "a", "item": "x"}\n{"user": ' + "[" * 100_000 + "\n", 2, "nested more than 100 levels deep"),
    "deep elsewhere": ('{"user": "a", "item": "x"}\n{"o": ' + "[" * 101 + "]" * 101 + "}", 2, "more than 100 levels"),
    "array cut": ('[{"user": "a", "item": "x"},\n{"user": "a"', 2, "not a JSON object"),
    "array not closed": ('[{"user": "a", "item": "x"}\n', 2, "not followed by a comma or the array's end"),
    "array with a comma at the end": ('[{"user": "a", "item": "x"},\n]', 2, "not a JSON object"),
    "array of something else": ('[{"user": "a", "item": "x"},\n[]]', 2, "not a JSON object but a list"),
    "after the array": ('[{"user": "a", "item": "x"}]\n[]', 1, "something follows the array"),
    "empty array": ("[\n]", 1, "the array is empty"),
    "deep array": ('[{"user": "a", "item": "x"},\n{"user": ' + "[" * 100_000, 2, "nested more than 100 levels deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_line(name: str, tmp_path: pathlib.Path) -> None:
    text, line, problem = REFUSED[name]
    path = tmp_path / "events"
    path.write_text(text)
    with pytest.raises(DataError, match=problem) as caught:
        read_events(path)
    assert re.match(rf"{re.escape(str(path))}:{line}: ", str(caught.value))
    assert len(str(caught.value)) < 1000


def test_nested_keys(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events"
    path.write_text('{"who": {"id": 7}, "item": 1.0, "time": {"$date": 1600000430}, "a.b": "x"}\n')
    columns = ("user=who.id", "time=time.$date")
    assert read_events(path, columns=columns).rows() == [("7", "1", 1_600_000_430_000)]
    assert read_events(path, columns=("user=a.b", *columns[1:]))["user"].to_list() == ["x"]
    with pytest.raises(DataError, match=r"the columns are who, who.id, item, time, time.\$date, a.b: name it"):
        read_events(path)


def test_an_array_over_many_lines(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events"
    events = [{"user": f"u{n}", "item": n, "time": 1_600_000_430 + n} for n in range(3)]
    path.write_text(json.dumps(events, indent=1))
    assert read_events(path).rows() == [(f"u{n}", str(n), (1_600_000_430 + n) * 1000) for n in range(3)]
    path.write_text(json.dumps([*events, {"user": "u3", "item": 3, "time": "soon"}], indent=1))
    with pytest.raises(DataError, match="events:17: the time 'soon' is"):
        read_events(path)


def test_a_key_that_the_first_object_lacks_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events"
    path.write_text('{"user": "a", "item": "x"}\n{"user": "b", "item": "y", "text": "fine"}\n')
    assert read_events(path).rows() == [("a", "x", ""), ("b", "y", "fine")]
