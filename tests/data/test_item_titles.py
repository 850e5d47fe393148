"""Titles of items from each file that carries them."""

import pathlib

import pytest

from jaxrec.data.item_titles import Titles, read_titles

FILES = {
    "recbole": b"item_id:token\tmovie_title:token_seq\trelease_year:token\n1\tToy Story\t1995\n2\tL\xc3\xa9on\t1994\n",
    "u.item": b"1|Toy Story|01-Jan-1995||http://x/?a|0|1\n2|L\xe9on|01-Jan-1994||http://x/?b|0|1\n",
    "movies.dat": b"1::Toy Story::Animation|Comedy\n2::L\xe9on::Crime\n",
    "movies.csv": b"movieId,title,genres\n1,Toy Story,Animation\n2,L\xc3\xa9on,Crime\n",
    "json": b'{"asin": "1", "title": "Toy Story"}\n{"asin": "2", "title": "L\\u00e9on"}\n{"asin": "3"}\n',
    "artists.dat": b"id\tname\turl\n1\tToy Story\thttp://x\n2\tL\xc3\xa9on\thttp://y\n",
}


@pytest.mark.parametrize("name", FILES)
def test_titles(name: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert read_titles(path) == Titles({"1": "Toy Story", "2": "Léon"}, several=0)


def test_latin_1_elsewhere_is_a_mistake(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_bytes(b"movieId,title\n1,Toy Story\n2,L\xe9on\n")
    with pytest.raises(ValueError, match=r"movies.csv:3: byte 0xe9 is not utf-8"):
        read_titles(path)


def test_missing_columns(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items"
    path.write_bytes(b"movieId,genres\n1,Crime\n")
    with pytest.raises(ValueError, match="no column is the title; the columns are movieId, genres"):
        read_titles(path)
    path.write_bytes(b"film,title\n1,Toy Story\n")
    with pytest.raises(ValueError, match="no column is the item"):
        read_titles(path)


def test_of_two_titles_the_first_is_used_and_counted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item,title\na,One\nb,Two\na,Another\na,One\nb,Two\n c ,Three\nd,\n")
    assert read_titles(path) == Titles({"a": "One", "b": "Two", "c": "Three"}, several=1)


def test_pipes_under_a_header_and_in_another_encoding(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items"
    path.write_bytes("item|title|year|genre\n1|Léon|1994|Crime\n".encode("utf-16"))
    assert read_titles(path).of == {"1": "Léon"}
    path.write_bytes("item,title\n1,Léon\n".encode("cp1252"))
    assert read_titles(path, encoding="cp1252").of == {"1": "Léon"}
