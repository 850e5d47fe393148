"""Attributes of items from each form of file that carries them, and what is said of files that can't be read."""

import gzip
import json
import pathlib

import numpy as np
import polars as pl
import pytest

from jaxrec.data.attributes import attributes_of, attributes_of_some
from jaxrec.data.item_attributes import parse_attributes, read_attributes
from jaxrec.data.item_file import GENRES
from jaxrec.data.item_titles import read_titles
from jaxrec.types import Attributes

ITEMS = np.array(["1", "2", "3"], object)
AMAZON_2014 = [
    {"asin": "1", "brand": "Acme", "categories": [["Beauty", "Hair Care"], ["Beauty", "Gifts"]], "price": 12.5},
    {"asin": "2", "title": 'A "b" isn\'t', "categories": [["Beauty"]], "related": {"bought": ["1"]}},
]
AMAZON_2023 = [
    {"parent_asin": "1", "categories": ["Beauty", "Hair"], "details": {"Brand": "Acme"}, "price": "$9.99"},
    {"parent_asin": "2", "categories": [], "details": {}, "price": None},
]


def flags(*genres: str) -> str:
    return "|".join("1" if genre in genres else "0" for genre in GENRES)


def jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(path: pathlib.Path, *columns: str, items: np.ndarray = ITEMS) -> tuple[dict[str, list[list[str]]], list[str]]:
    """{field: the values of each item} and the notes."""
    attributes, notes = read_attributes(path, parse_attributes(columns), items)
    return values_of(attributes), notes


def values_of(attributes: Attributes) -> dict[str, list[list[str]]]:
    return {
        name: [
            [str(attributes.names[v]) for v in attributes.of(item) if attributes.field[v] == field]
            for item in range(attributes.n_items)
        ]
        for field, name in enumerate(attributes.fields)
    }


FILES = {
    "recbole": (
        "item_id:token\tclass:token_seq\tyear:token\n1\tCrime Drama\t1995\n2\tComedy\t1994\n",
        ("class", "year"),
        {"class": [["Crime", "Drama"], ["Comedy"], []], "year": [["1995"], ["1994"], []]},
    ),
    "u.item": (
        f"1|Toy Story|01-Jan-1995||http://x/?a|{flags('Comedy', 'War')}\n2|L\xe9on|01-Jan-1994|||{flags()}\n",
        ("genres", "release_date"),
        {"genres": [["Comedy", "War"], [], []], "release_date": [["01-Jan-1995"], ["01-Jan-1994"], []]},
    ),
    "movies.dat": (
        "1::Toy Story::Animation|Comedy\n2::L\xe9on::Crime\n",
        ("genres",),
        {"genres": [["Animation", "Comedy"], ["Crime"], []]},
    ),
    "movies.csv": (
        'movieId,title,genres\n1,"Story, Toy",Animation|Comedy\n3,Heat, Crime |\n',
        ("genres", "title=words"),
        {"genres": [["Animation", "Comedy"], [], ["Crime"]], "title": [["story", "toy"], [], ["heat"]]},
    ),
    "separators": (
        "sku;tags;kinds\n1;a,b c, a ;x  y\n2;;z\n3;b,;\n".replace("sku", "item"),
        ("tags=comma", "kinds=blanks"),
        {"tags": [["a", "b c"], [], ["b"]], "kinds": [["x", "y"], ["z"], []]},
    ),
    "a row for each value": ("item,tag\n1,a\n2,b\n1,c\n1,a\n", ("tag",), {"tag": [["a", "c"], ["b"], []]}),
    "amazon 2014": (
        "".join(f"{row!r}\n" for row in AMAZON_2014),
        ("categories", "brand", "price"),
        {
            "categories": [["Beauty", "Hair Care", "Gifts"], ["Beauty"], []],
            "brand": [["Acme"], [], []],
            "price": [["12.5"], [], []],
        },
    ),
    "amazon 2018 in an array": (
        json.dumps([{"asin": "2", "category": ["A", "A|B"], "brand": "x"}, {"asin": "1", "category": [None, 3, True]}]),
        ("category", "brand"),
        {"category": [["3", "true"], ["A", "B"], []], "brand": [[], ["x"], []]},
    ),
    "amazon 2023": (
        jsonl(AMAZON_2023),
        ("categories", "details.Brand"),
        {"categories": [["Beauty", "Hair"], [], []], "details.Brand": [["Acme"], [], []]},
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_attributes(name: str, packed: bool, tmp_path: pathlib.Path) -> None:
    text, columns, expected = FILES[name]
    data = text.encode("latin-1" if name in ("u.item", "movies.dat") else "utf-8")
    path = tmp_path / "items"
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read(path, *columns)[0] == expected


def test_parquet_with_lists_texts_and_numbers(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.parquet"
    columns = {"item": [1, 3], "genres": [["a", None, "b"], None], "brand": ["x|y", ""], "year": [1995.0, None]}
    pl.DataFrame(columns | {"title": ["One", None], "box": [{"w": 1}, {"w": 2}]}).write_parquet(path)
    expected = {"genres": [["a", "b"], [], []], "brand": [["x", "y"], [], []], "year": [["1995"], [], []]}
    assert read(path, "genres", "brand", "year")[0] == expected
    assert read_titles(path).of == {"1": "One"}
    with pytest.raises(ValueError, match="the column 'box' is of the type 'struct"):
        read(path, "box")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="a damaged Parquet file"):
        read(path, "genres")


def test_python_literals_hold_titles_too(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text("".join(f"{row!r}\n" for row in AMAZON_2014))
    assert read_titles(path).of == {"2": 'A "b" isn\'t'}


def test_numbers_are_put_into_bins_of_about_as_many_items(tmp_path: pathlib.Path) -> None:
    path, rng = tmp_path / "items.csv", np.random.default_rng(0)
    prices = np.round(rng.gamma(2, 30, 200), 2)
    items = np.array([f"i{n}" for n in range(202)], object)
    rows = "".join(f'i{n},"${price:,.2f}"\n' for n, price in enumerate(prices))
    path.write_text("item,price\n" + rows + "i200,from 1\ni201,.a-box{margin:0}\n")
    by_field, notes = read(path, "price=4", items=items)
    bins: dict[str, list[float]] = {}
    for number, values in zip([*prices, 1.0], by_field["price"]):
        bins.setdefault(values[0], []).append(number)
    assert sorted(len(numbers) for numbers in bins.values()) == [50, 50, 50, 51]
    for name, numbers in bins.items():  # every price is between its bin's ends, and ends are prices
        assert name == f"{min(numbers):g} to {max(numbers):g}"
    assert by_field["price"][201] == []
    assert notes == ["1 values of 'price' are no numbers and were left out", "1 items have no attributes in items.csv"]
    path.write_text("item,price\n1,5\n2,5\n3,5\n")
    assert read(path, "price=4")[0] == {"price": [["5 to 5"]] * 3}


def test_other_items_and_items_without_values_are_counted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item,brand\n1,a\n9,b\n8,c\n9,d\n2,\n")
    by_field, notes = read(path, "brand")
    assert by_field == {"brand": [["a"], [], []]}
    assert notes == [
        "2 items of items.csv are not in the data and were left out",
        "2 items have no attributes in items.csv",
    ]


DAMAGE = {
    "no such column": (
        "item,brand\n1,a\n",
        "items:1: there is no column 'tags' of attributes; the columns are item",
    ),
    "no item": ("film,tags\n1,a\n", "items:1: no column is the item; the columns are film, tags"),
    "no item in a row": ("item,tags\n1,a\n,b\n", "items:3: the item is missing"),
    "fields": ("item,tags\n1,a\n2,b,c\n", "items:3: 3 fields where 2 are expected"),
    "only others": ("item,tags\nx,a\ny,b\n", "none of its 2 items is one of the data, which has items like '1' where"),
    "nothing in it": ("item,tags\n1,\n2,\n", "the column 'tags' holds no value for any item of the data"),
    "not UTF-8": ("item,tags\n1,\xe9\n", "items:2: byte 0xe9 is not utf-8"),
    "empty": ("", "the file is empty"),
    "JSON that is cut": ('{"item": "1", "tags": ["a"]}\n{"item": "2", "ta', "items:2: not a JSON object"),
    "JSON without it": (
        '{"item": "1", "brand": "a"}\n',
        "items:1: there is no column 'tags' of attributes",
    ),
    "JSON without an item": ('{"item": "1", "tags": "a"}\n{"tags": "b"}\n', "items:2: the item is missing"),
    "JSON with a list for an item": ('{"item": ["1"], "tags": "a"}\n', r"items:1: the item \(key 'item'\): a list"),
    "JSON with a key twice": (
        '{"item": "1", "tags": "a", "tags": "b"}\n',
        "items:1: the key 'tags' is there more",
    ),
    "JSON with an object": (
        '{"item": "1", "tags": {"kind": "a"}}\n',
        r"items:1: the attribute \(key 'tags'\) is an object with the keys 'kind'; name one of them: --data.attributes "
        "tags.kind",
    ),
    "JSON with half a pair": ('{"item": "1", "tags": "\\ud83d"}\n', "items:1: .* half of a surrogate pair"),
    "JSON of nothing": ("[]", "items:1: the array is empty"),
    "no literal": ("{'item': '1', 'tags': open('x')}\n", "items:1: not a JSON object .*a Call is neither a text"),
    "bytes": ("{'item': '1', 'tags': b'x'}\n", "items:1: not a JSON object .*a Constant is neither a text"),
    "half a literal": ("{'item': '1', 'tags': ['x'\n", "items:1: not a JSON object .*no Python literal"),
    "a key that is a number": ("{'item': '1', 2: 'x'}\n", "items:1: not a JSON object .*a key is no text"),
    "a key of a literal twice": (
        "{'item': '1', 'tags': 'x', 'tags': 'y'}\n",
        "items:1: the key 'tags' is there more",
    ),
    "a deep literal": ("{'item': '1', 'tags': " + "[" * 200 + "]" * 200 + "}\n", "items:1: nested more than 100"),
    "a long chain": ("{'item': '1', 'tags': " + "-" * 50_000 + "1}\n", "items:1: "),
    "a genre that is no flag": (
        f"1|Heat|||x|{flags('War')[:-1]}2\n",
        "items:1: '2' of the genre Western is not 0 or 1",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_bad_files_are_named_with_their_line(name: str, tmp_path: pathlib.Path) -> None:
    text, message = DAMAGE[name]
    path = tmp_path / "items"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as caught:
        read(path, "genres" if "genre" in name else "tags")
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_cut_off(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.json.gz"
    path.write_bytes(gzip.compress(jsonl(AMAZON_2023 * 500).encode())[:-200])
    with pytest.raises(ValueError, match=r"items.json.gz:\d+: the gzip file is cut off or damaged"):
        read(path, "categories")


@pytest.mark.parametrize("columns", [("",), ("a", "a=comma"), ("a=",), ("a=1",), ("a=1001",), ("a=b",), ("=comma",)])
def test_columns_that_cannot_be(columns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"data.attributes"):
        parse_attributes(columns)


def test_values_are_numbered_by_field_and_name() -> None:
    attributes = attributes_of({"brand": [["z"], [], ["a"]], "genre": [["b", "a", "b"], [], ["a"]]})
    assert attributes.names.tolist() == ["a", "z", "a", "b"]
    np.testing.assert_array_equal(attributes.field, [0, 0, 1, 1])
    np.testing.assert_array_equal(attributes.offsets, [0, 3, 3, 5])
    np.testing.assert_array_equal(attributes.values, [1, 3, 2, 0, 2])
    np.testing.assert_array_equal(attributes.rows(8), [[2, 4, 3], [0, 0, 0], [1, 3, 0]])
    np.testing.assert_array_equal(attributes.rows(1), [[2], [0], [1]])
    assert (attributes.n_values, attributes.n_items) == (4, 3)
    kept = attributes_of_some(attributes, np.array([False, True, True]))
    assert values_of(kept) == {"brand": [[], ["a"]], "genre": [[], ["a"]]}
    assert kept.names.tolist() == ["a", "a"]
    nobody = attributes_of({"brand": [[], []]})
    np.testing.assert_array_equal(nobody.rows(3), [[0], [0]])
