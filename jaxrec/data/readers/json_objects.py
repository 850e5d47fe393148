"""JSON objects, one a line or in one array: Amazon's reviews of 2014, 2018 and 2023, or any with named fields.

Amazon's metadata of 2014 hold Python literals, a line each, which are read as well.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import polars as pl

from jaxrec.data.readers.columns import assign_columns, events_of
from jaxrec.data.readers.json_fast import read_fast
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.python_literals import is_literal, parse_literal
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.readers.values import name_of
from jaxrec.data.source_file import BadLine, NoEvents, SourceFile
from jaxrec.text import listed, quoted

DEEPEST = 100
"""Levels of arrays and objects in an object."""
LOOKED_AT = 1000
"""Objects whose keys are looked at for those that have a role."""
BLANK = " \t\r\n"
_BLANKS = re.compile("[ \t\r\n]*")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


class _Repeating(dict[str, Any]):
    """An object that has some keys more than once."""

    repeated: frozenset[str] = frozenset()


def read_json(source: SourceFile, choose: Callable[[list[str]], Mapping[str, str]]) -> NamedTable:
    """Reads the values of some keys as strings (numbers as such where all of a key are).

    Args:
      source: the file.
      choose: {role: key} from the keys of the first objects; a nested key is written "time.$date".

    Raises:
      DataError: the file holds something else than JSON objects, or a value that its role can't have.
    """
    first = list(itertools.islice(objects(source), LOOKED_AT))
    if not first:
        raise NoEvents(source.message(1, "the array is empty"))
    keys = list(dict.fromkeys(key for _, value in first for key in keys_of(value)))
    roles = choose(keys)
    examples = {role: _example(key, first) for role, key in roles.items()}
    frame, lines = None if is_array(source) else read_fast(source, roles, examples, DEEPEST), []
    if frame is None:
        frame = read_strictly(source, roles, lines)

    def line_of(row: int) -> int:
        return lines[row] if lines else next(itertools.islice(objects(source), row, None))[0]

    return NamedTable(source, frame, line_of)


def read_strictly(source: SourceFile, roles: Mapping[str, str], lines: list[int] | None = None) -> pl.DataFrame:
    """The values of the keys as strings, null where there is none; raises what `read_json` does.

    Args:
      source: the file, whose bad objects are left out if it says so.
      roles: {role: key}.
      lines: gets the line of each row.
    """
    columns: dict[str, list[str | None]] = {key: [] for key in roles.values()}
    for line, value in objects(source):
        try:
            texts = {key: _text(source, line, role, key, value) for role, key in roles.items()}
        except BadLine as bad:
            if not source.skips_bad_rows:
                raise
            source.refuse(line, bad.problem)
            continue
        for key, text in texts.items():
            columns[key].append(text)
        if lines is not None:
            lines.append(line)
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def objects(source: SourceFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with the lines at which they start.

    Raises:
      DataError: something else is there, or an object is nested too deeply; names the line.
    """
    return _of_array(source) if is_array(source) else _of_lines(source)


def is_array(source: SourceFile) -> bool:
    """Whether the file begins with an array."""
    return source.data.lstrip(BLANK.encode()).startswith(b"[")


def is_json(source: SourceFile) -> bool:
    """Whether the file begins with an object or with an array of objects."""
    return re.match(rb"[ \t\r\n]*(\{|\[[ \t\r\n]*[{\]])", source.data) is not None


def read_events(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of JSON objects; only the fields that have a role are read."""
    roles: dict[str, str] = {}

    def choose(keys: list[str]) -> Mapping[str, str]:
        roles.update(assign_columns(source, keys, options.columns))
        return roles

    table = read_json(source, choose)
    return events_of(table, options, roles=roles)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    repeating = _Repeating(value)
    keys = [key for key, _ in pairs]
    repeating.repeated = frozenset(key for key in value if keys.count(key) > 1)
    return repeating


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def _of_lines(source: SourceFile) -> Iterator[tuple[int, dict[str, Any]]]:
    number, start, data = 0, 0, source.data
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        text = data[start:end].decode("utf-8").strip(BLANK)
        start = end + 1
        if text:
            try:
                value, after = _decoded(source, text, 0, number)
            except BadLine as bad:
                if not source.skips_bad_rows:
                    raise
                source.refuse(number, bad.problem)
                continue
            if after < len(text):
                source.refuse(number, "not a JSON object a line: something follows the object")
            else:
                yield number, value


def _of_array(source: SourceFile) -> Iterator[tuple[int, dict[str, Any]]]:
    text = source.data.decode("utf-8")
    position, line, counted = text.index("[") + 1, 1, 0
    before = "["
    while True:
        position = _after_blanks(text, position)
        line, counted = line + text.count("\n", counted, position), position
        character = text[position : position + 1]
        if character == "]" and before != ",":
            if _after_blanks(text, position + 1) < len(text):
                source.fail(line, "something follows the array")
            return
        if before in "[,":
            value, position = _decoded(source, text, position, line)
            yield line, value
            before = "}"
        elif character == ",":
            before, position = ",", position + 1
        else:
            source.fail(line, "an object of the array is not followed by a comma or the array's end")


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    assert match is not None
    return match.end()


def _decoded(source: SourceFile, text: str, position: int, line: int) -> tuple[dict[str, Any], int]:
    """The object that starts at a position, and the position after it."""
    try:
        if position == 0 and is_literal(text):
            value, end = parse_literal(text, _object, DEEPEST), len(text)
        else:
            value, end = _DECODER.raw_decode(text, position)
    except RecursionError:
        source.fail(line, f"nested more than {DEEPEST} levels deep")
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            line, reason = line + text.count("\n", position, error.pos), error.msg
        else:
            reason = str(error)
        source.fail(line, f"not a JSON object ({quoted(reason)})")
    if not isinstance(value, dict):
        source.fail(line, f"not a JSON object but {_kind(value)}")
    if (
        text.count("[", position, end) + text.count("{", position, end) > DEEPEST
        and _depth(text[position:end]) > DEEPEST
    ):
        source.fail(line, f"nested more than {DEEPEST} levels deep")
    return value, end


def _depth(text: str) -> int:
    depth = deepest = 0
    for token in _TOKENS.findall(text):
        depth += (token in "[{") - (token in "]}")
        deepest = max(deepest, depth)
    return deepest


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"the value {quoted(json.dumps(value))}"


def keys_of(value: dict[str, Any], levels: int = 3) -> Iterator[str]:
    """The object's keys, and those of objects in it as "outer.inner"."""
    for key, inner in value.items():
        yield key
        if isinstance(inner, dict) and levels > 1:
            yield from (f"{key}.{name}" for name in keys_of(inner, levels - 1))


def _example(key: str, first: list[tuple[int, dict[str, Any]]]) -> object:
    """The first value of a key at the top that is not null; None if there is none."""
    return next((value[key] for _, value in first if value.get(key) is not None), None)


def look_up(value: dict[str, Any], key: str) -> tuple[Any, bool]:
    """What a key holds, None where it is missing, and whether it is there more than once."""
    if key in value:
        return value[key], isinstance(value, _Repeating) and key in value.repeated
    for place in (place for place, character in enumerate(key) if character == "."):
        inner = value.get(key[:place])
        if isinstance(inner, dict):
            found, repeats = look_up(inner, key[place + 1 :])
            outer = isinstance(value, _Repeating) and key[:place] in value.repeated
            return found, repeats or outer
    return None, False


def _text(source: SourceFile, line: int, role: str, key: str, value: dict[str, Any]) -> str | None:
    """The value of a key as a string, null where there is none."""
    found, repeats = look_up(value, key)
    if repeats:
        source.fail(line, f"the key {quoted(key)} is there more than once")
    if found is None:
        return None
    if isinstance(found, dict):
        keys = list(keys_of(found, 1))
        advice = f"; name one of them: --data.columns {role}={key}.{keys[0]}" if keys else ""
        source.fail(line, f"the {role} (key {quoted(key)}) is an object with the keys {listed(keys)}{advice}")
    if isinstance(found, list | bool):
        kind = "a list" if isinstance(found, list) else str(found).lower()
        source.fail(line, f"the {role} (key {quoted(key)}) is {kind}, which it can't be")
    if isinstance(found, str):
        refuse_half(source, line, role, key, found)
        return found
    try:
        return name_of(found) if role in ("user", "item") else repr(found)
    except ValueError as error:
        source.fail(line, f"the {role} (key {quoted(key)}) {error}")


def refuse_half(source: SourceFile, line: int, role: str, key: str, text: str) -> None:
    """Raises a DataError for a text that holds half of a surrogate pair, which no file can hold."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        source.fail(line, f"the {role} (key {quoted(key)}) holds half of a surrogate pair: {quoted(text)}")


READER = Reader(
    "JSON objects, one a line or in one array, such as Amazon reviews of 2014, 2018 and 2023",
    read_events,
    recognises=is_json,
    sign="it begins with an object or with an array of objects",
)
