"""Id files: written, edited, read back; what is wrong is named with file and line."""

import gzip
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.tokenizers.id_files import read_codes, write_codes
from jaxrec.tokenizers.meta_id import LEVELS
from jaxrec.types import Codes

NAMES = np.array(["a", "two words", "c"])
CODES = Codes(np.array([[0, 1], [3, 0], [0, 0]], np.int32), (4, 2), LEVELS)


def test_written_lines_are_as_people_read_them(tmp_path: pathlib.Path) -> None:
    write_codes(tmp_path / "ids", CODES, NAMES, "<Item>")
    assert (tmp_path / "ids").read_text().splitlines() == [
        "a <Item><CT0><CI1>",
        "two words <Item><CT3><CI0>",
        "c <Item><CT0><CI0>",
    ]


NAME = st.one_of(st.text(max_size=8), st.text('"\\ \n\r\t\x0b\x85\u2028\xa0,<>a\ud800', max_size=5))


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAME, st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1), st.randoms())
def test_what_was_written_is_read_in_any_order(tmp_path_factory: pytest.TempPathFactory, ids: dict, random) -> None:
    rows = {code: name for name, code in ids.items()}  # one name an id
    names, values = list(rows.values()), np.array(list(rows), np.int32)
    path = tmp_path_factory.mktemp("ids") / "ids"
    write_codes(path, Codes(values, (100, 100), LEVELS), np.array(names, object), "<User>")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    random.shuffle(lines)
    path.write_text("\n\n".join(lines), encoding="utf-8", newline=random.choice(["\n", "\r\n"]))
    np.testing.assert_array_equal(read_codes(path, np.array(names, object), "<User>", LEVELS).values, values)


def test_odd_names_are_json_and_the_others_as_they_are(tmp_path: pathlib.Path) -> None:
    odd = ["line\nbreak", " x", '"quoted" one', "", "<Item><CT1><CI1>", "a, b", "é", "\u2028", 'b "c"']
    codes = Codes(np.array([[0, n] for n in range(len(odd))], np.int32), (1, len(odd)), LEVELS)
    write_codes(tmp_path / "ids", codes, np.array(odd, object), "<Item>")
    assert [line.rpartition(" ")[0] for line in (tmp_path / "ids").read_text(encoding="utf-8").split("\n")[:-1]] == [
        r'"line\nbreak"',
        '" x"',
        r'"\"quoted\" one"',
        '""',
        "<Item><CT1><CI1>",
        "a, b",
        "é",
        r'"\u2028"',
        'b "c"',
    ]


def test_names_of_older_files_are_as_they_stand(tmp_path: pathlib.Path) -> None:
    old = ['"x"', '"', '"a" b', "back\\slash", r'"a\b"', '"""']
    (tmp_path / "ids").write_text("".join(f"{name} <Item><CT0><CI{n}>\n" for n, name in enumerate(old)))
    codes = read_codes(tmp_path / "ids", np.array(old, object), "<Item>", LEVELS)
    assert codes.values[:, 1].tolist() == list(range(len(old)))


def test_two_columns_and_gzip(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ids.gz"
    with gzip.open(path, "wt") as file:
        file.write("c <CT79><1220>\n\ntwo words\t<CT1><7>\na <CT0><7>\n")
    codes = read_codes(path, NAMES, "<Item>", LEVELS)
    np.testing.assert_array_equal(codes.values, [[0, 7], [1, 7], [79, 1220]])
    assert codes.sizes == (80, 1221)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <CT0><CI0>\nb\n", "line 2: 'b' is not of the form NAME <Item><CT3><CI17>"),
        ("<CT0><CI0>\n", "line 1: '<CT0><CI0>' is not of the form"),
        ("a <CT0><CIx>\n", "line 1: 'a <CT0><CIx>' is not of the form"),
        ("a <User><CT0><CI0>\n", "line 1: 'a' has the prefix <User> in a file of <Item>"),
        ("z <CT0><CI0>\n", "line 1: 'z' is not in the data"),
        ("a <CT0><CI0>\na <CT0><CI1>\n", "line 2: 'a' has an id already, in line 1"),
        ("a <CT0><CI0>\nc <CT0><CI0>\n", "line 2: <CT0><CI0> of 'c' is that of 'a' in line 1"),
        ("a <CT4><CI0>\n", "line 1: <CT4><CI0> is out of range; <CTN> below 4, <CIN> below 2"),
        ("a <CT0><CI0>\n", "has no id for 2 of 3 names, the first is 'two words'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"ids\.txt") as error:
        read_codes(path, NAMES, "<Item>", LEVELS, sizes=(4, 2))
    assert message in str(error.value)


def test_names_have_to_be_as_many_as_ids(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="2 names for 3 ids"):
        write_codes(tmp_path / "ids", CODES, NAMES[:2], "<Item>")


@pytest.mark.parametrize(("kind", "count"), [("items", 12_101), ("users", 22_363)])
def test_the_released_ids_are_read(real_data: pathlib.Path, kind: str, count: int) -> None:
    path = real_data / "amazon-beauty" / f"meta_id_released_{kind}.txt.gz"
    with gzip.open(path, "rt") as file:
        rows = [line.split() for line in file]
    codes = read_codes(path, np.array([name for name, _ in rows]), "<Item>" if kind == "items" else "<User>", LEVELS)
    assert codes.values.shape == (count, 2)
    for (_, text), (cluster, rank) in zip(rows[:200], codes.values[:200].tolist()):
        assert text == f"<CT{cluster}><{rank}>"


def test_a_file_that_is_damaged_or_missing_is_named(tmp_path) -> None:
    whole = gzip.compress(b"a <CT0><0>\nb <CT0><1>\n" * 500)
    for name, content in (("cut.gz", whole[:-12]), ("plain.gz", b"a <CT0><0>\n"), ("latin.txt", b"\xe9 <CT0><0>\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.*"):
            read_codes(tmp_path / name, np.array(["a", "b"]), "<Item>", LEVELS)
    with pytest.raises(ValueError, match=r"nothing.txt can't be read after line 0"):
        read_codes(tmp_path / "nothing.txt", np.array(["a"]), "<Item>", LEVELS)
