"""Every format by hand, plain and gzip; every kind of damage names file and line."""

import gzip
import json
import pathlib

import polars as pl
import pytest

from jaxrec.data.readers.registry import READERS, read, read_events, recognise
from jaxrec.data.source_file import open_source
from jaxrec.types import DataError

AMAZON_2014 = [
    {"reviewerID": "A", "asin": "x", "helpful": [0, 1], "reviewText": "Fine, é!", "overall": 5.0, "summary": "Good"}
    | {"unixReviewTime": 1393545600, "reviewTime": "02 28, 2014"},
    {"reviewerID": "B", "asin": "y", "helpful": [0, 0], "reviewText": "", "overall": 2.0, "summary": "So"}
    | {"unixReviewTime": 1363392000},
]
AMAZON_2018 = [
    {
        "overall": 5.0,
        "vote": "3",
        "reviewerID": "A",
        "asin": "x",
        "style": {"Size:": "L"},
        "unixReviewTime": 1393545600,
    },
    {"overall": 2.0, "reviewerID": "B", "asin": "y", "reviewText": "hm", "unixReviewTime": 1363392000},
]
AMAZON_2023 = [
    {"rating": 5.0, "title": "Good", "text": "Fine", "images": [], "asin": "x1", "parent_asin": "x", "user_id": "A"}
    | {"timestamp": 1393545600123, "helpful_vote": 0, "verified_purchase": True},
    {"rating": 2.0, "title": "So", "text": "", "images": [], "asin": "y1", "parent_asin": "y", "user_id": "B"}
    | {"timestamp": 1363392000456, "helpful_vote": 0, "verified_purchase": True},
]


def jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


GOOD = {
    "sequence": ("sequence", "A x\nB y\n"),
    "movielens-100k": ("movielens-100k", "1\t7\t5\t1393545600\n2\t8\t2\t1363392000\n"),
    "movielens-dat": ("movielens-dat", "1::7::5::1393545600\n2::8::2::1363392000\n"),
    "movielens-csv": ("csv", "userId,movieId,rating,timestamp\n1,7,5.0,1393545600\n2,8,2.0,1363392000\n"),
    "recbole": (
        "recbole",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t5\t1393545600\n2\t8\t2\t1363392000\n",
    ),
    "amazon-2014": ("json", jsonl(AMAZON_2014)),
    "amazon-2018": ("json", jsonl(AMAZON_2018)),
    "amazon-2023": ("json", jsonl(AMAZON_2023)),
    "amazon-2023-csv": ("csv", "user_id,parent_asin,rating,timestamp\nA,x,5.0,1393545600123\nB,y,2.0,1363392000456\n"),
    "semicolons": ("csv", "user;item;stars;time\r\nA;x;5;1393545600\r\nB;y;2;1363392000\r\n"),
    "tabs": ("csv", "userID\tartistID\trating\ttimestamp\nA\tx\t5\t1393545600000\nB\ty\t2\t1363392000000\n"),
}


def write(tmp_path: pathlib.Path, text: str | bytes, packed: bool = False) -> pathlib.Path:
    data = text.encode() if isinstance(text, str) else text
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", GOOD)
def test_formats_are_recognised_and_agree(name: str, packed: bool, tmp_path: pathlib.Path) -> None:
    format, text = GOOD[name]
    path = write(tmp_path, text, packed)
    assert recognise(open_source(path)) == format
    frame = read_events(path)
    assert frame.equals(read_events(path, format))
    assert frame["user"].to_list() in (["A", "B"], ["1", "2"])
    assert frame["item"].to_list() in (["x", "y"], ["7", "8"])
    if name != "sequence":
        assert frame["rating"].to_list() == [5.0, 2.0]
        assert [t // 1000 for t in frame["time"].to_list()] == [1393545600, 1363392000]


def test_blank_lines_byte_order_mark_and_line_ends_do_no_harm(tmp_path: pathlib.Path) -> None:
    for text in ("\ufeffA x z\r\n\r\nB  y\tz \r\n\n", "\ufeffuser,item\r\nA,x\r\nA,z\r\n\r\nB,y\r\nB,z\r\n\r\n"):
        frame = read_events(write(tmp_path, text))
        assert frame.rows() == [("A", "x"), ("A", "z"), ("B", "y"), ("B", "z")]


def test_texts_of_amazon(tmp_path: pathlib.Path) -> None:
    frame = read_events(write(tmp_path, jsonl(AMAZON_2014)))
    assert (frame["review"].to_list(), frame["summary"].to_list()) == (["Fine, é!", ""], ["Good", "So"])
    frame = read_events(write(tmp_path, jsonl(AMAZON_2018[::-1])))
    assert frame["review"].to_list() == ["hm", ""]  # not every review of 2018 has a text
    frame = read_events(write(tmp_path, jsonl(AMAZON_2023)))
    assert (frame["review"].to_list(), frame["summary"].to_list()) == (["Fine", ""], ["Good", "So"])


def test_quoted_fields_may_hold_separators_and_line_ends(tmp_path: pathlib.Path) -> None:
    frame = read_events(write(tmp_path, 'user,item,review\nA,x,"one, two\nthree ""four"""\nB,y,five\n'))
    assert frame["review"].to_list() == ['one, two\nthree "four"', "five"]


def test_columns_can_be_named(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "who,what,item\nA,x,q\nB,y,q\n")
    assert read_events(path, columns=("user=who", "item=what")).rows() == [("A", "x"), ("B", "y")]
    with pytest.raises(ValueError, match="there is no column 'whom'; the columns are who, what, item"):
        read_events(path, columns=("user=whom",))
    with pytest.raises(ValueError, match="columns='who' is not ROLE=COLUMN with a role of user, item"):
        read_events(path, columns=("who",))


def test_parquet(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events.parquet"
    when = pl.Series(["2014-02-28", "2013-03-16"]).str.to_date()
    pl.DataFrame({"user": [1, 2], "item": ["x", "y"], "rating": [5, 2], "time": when}).write_parquet(path)
    frame = read_events(path)
    assert frame.rows() == [("1", "x", 5.0, 1393545600000), ("2", "y", 2.0, 1363392000000)]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="a damaged Parquet file"):
        read_events(path)


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_unit_of_times_is_told_by_size(scale: int, tmp_path: pathlib.Path) -> None:
    text = f"user,item,time\nA,x,{1393545600 * scale}\nB,y,{1363392000 * scale}\n"
    assert read_events(write(tmp_path, text))["time"].to_list() == [1393545600000, 1363392000000]


BAD = {
    "empty file": ("", None, "the file is empty"),
    "only blanks": ("\n \n", None, "the file is empty"),
    "only a header": ("user,item\n", 1, "a header and no event"),
    "no user column": ("person,item\nA,x\n", 1, "no column is the user; the columns are person, item"),
    "no item column": ("user,thing\nA,x\n", 1, "no column is the item"),
    "name twice in the header": ("user,item,item\nA,x,y\n", 1, "the header names 'item' more than once"),
    "header again": ("user,item\nA,x\nuser,item\nB,y\n", 3, "the header is repeated here"),
    "header again, with ratings": ("user,item,rating\nA,x,1\nuser,item,rating\n", 3, "'rating' is not a number"),
    "too many fields": ("user,item\nA,x\nB,y,z\n", 3, "3 fields where 2 are expected"),
    "too few fields": ("user,item,rating\nA,x,1\n\nB,y\n", 4, "2 fields where 3 are expected"),
    "no review, not even empty": ("user,item,review\nA,x,\nB,y\n", 3, "2 fields where 3 are expected"),
    "every field empty": ("user,item\nA,x\n,\nB,y\n", 3, "every field is empty"),
    "no item in a row": ("user,item,rating\nA,x,1\nB,,2\n", 3, "the item is missing"),
    "open quotation mark": ('user,item,review\nA,x,"fine"\nB,y,"never\nends\n', 3, "never closed"),
    "bad number after a quoted line end": (
        'user,review,item,rating\nA,"a\nb",x,1\nB,c,y,?\n',
        4,
        "'\\?' is not a number",
    ),
    "infinite rating": ("user,item,rating\nA,x,inf\n", 2, "'inf' is not a number"),
    "words for times": ("user,item,time\nA,x,5\nA,y,last week\n", 3, "the time 'last week' is not a number"),
    "no user with items": ("A\nB\n", None, "no user has an item"),
    "commas between names": ("A: x, y, z\nB: x, y\n", 1, "commas or colons stand between the names"),
    "lone carriage return in a sequence": ("A x y\nB x\ry\n", 2, "a carriage return without a line feed"),
    "NUL": ("user,item\nA,x\nB,\0\n", 3, "a NUL byte"),
    "user with two lines": ("A x y\n\nB x\nA z\n", 4, "user 'A' has a line already"),
    "movielens letters": ("1\t2\t3\t4\n1\tx\tgood\t5\n", 2, "the rating 'good' is not a number"),
    "movielens with a third colon": ("1::2::3::4\n1:::2::3::4\n", 2, "more of ':' than the separator"),
    "a user twice with one item each": ("A x\nB y\nA z\n", 3, "say --data.format pairs"),
    "no header": ("u\ti\t3\nv\tj\t4\n", 1, "give positions: --data.columns user=1 item=2 rating=3 time=4"),
    "movielens short": ("1::2::3::4\n1::2::3\n", 2, "3 fields where 4 are expected"),
    "json cut": (jsonl(AMAZON_2014) + '{"reviewerID": "C", "as\n' + jsonl(AMAZON_2014), 3, "not a JSON object"),
    "python literal": ("{'user': 'A', 'item': 'x'}\n{'user': 'A', 'item': y}\n", 2, "a Name is neither a text"),
    "json list": (jsonl(AMAZON_2014) + "\n[1, 2]\n", 4, "not a JSON object"),
    "json without item": (
        jsonl(AMAZON_2014) + '{"reviewerID": "C", "overall": 1.0, "unixReviewTime": 3}\n',
        3,
        "the item",
    ),
    "json with a word for a rating": (
        '{"user": "A", "item": "x", "rating": 1}\n\n{"user": "A", "item": "y", "rating": "good"}\n',
        3,
        "'good' is not a number",
    ),
}


def test_errors_name_the_format_that_was_guessed_and_why(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "A x\nB y\nA z\n")
    guessed = r"\(read as sequence, as no other format fits its first line; --data.format takes another of pairs, csv"
    with pytest.raises(DataError, match=guessed):
        read_events(path)
    assert read_events(path, "pairs").rows() == [("A", "x"), ("B", "y"), ("A", "z")]
    with pytest.raises(DataError) as caught:
        read_events(path, "sequence")
    assert "read as" not in str(caught.value)


def test_users_without_items_are_left_out_and_counted(tmp_path: pathlib.Path) -> None:
    events = read(write(tmp_path, "A x y\nB\n\nC x\nA\n"))
    assert events.frame.rows() == [("A", "x"), ("A", "y"), ("C", "x")]
    assert events.notes == ("2 users have no items and were left out",)


def test_names_are_separated_by_spaces_and_tabs_alone(tmp_path: pathlib.Path) -> None:
    odd = [f"x{character}y" for character in "\x0b\x0c\x1c\x85\u2028\xa0\u3000"]
    for format, text in (("sequence", f"A {' '.join(odd)}\r\n"), ("pairs", "".join(f"A\t{name} \n" for name in odd))):
        assert read_events(write(tmp_path, text), format)["item"].to_list() == odd


@pytest.mark.parametrize("mark", "\t,;|")
def test_separators_are_found(mark: str, tmp_path: pathlib.Path) -> None:
    text = "# exported\n\nuser,item,time\nA,x,1393545600\nB,y,1363392000\n".replace(",", mark)
    events = read(write(tmp_path, text))
    assert events.frame.rows() == [("A", "x", 1393545600000), ("B", "y", 1363392000000)]
    assert events.notes == ("1 lines that begin with # stand before the table and were left out",)


def test_separators_can_be_named(tmp_path: pathlib.Path) -> None:
    expected = [("A,1", "x"), ("B,2", "y")]
    for word, text in (
        ("pipe", "user|item\nA,1|x\nB,2|y\n"),
        ("^", "user^item\nA,1^x\nB,2^y\n"),
        ("blanks", "user  item\nA,1 x\nB,2\t y\n"),
        ("||", "user||item\nA,1||x\nB,2||y\n"),
    ):
        assert read(write(tmp_path, text), separator=word).frame.rows() == expected
    for word in ("a", '"', "", "\n"):
        with pytest.raises(ValueError, match="can't be one"):
            read(write(tmp_path, "user,item\nA,x\n"), separator=word)


@pytest.mark.parametrize("mark", ["\t", ",", "|", "::", " "])
def test_columns_by_position_keep_the_first_line(mark: str, tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "A,x,5,1393545600\nA,y,2,1363392000\n".replace(",", mark))
    columns = ("user=1", "item=2", "rating=3", "time=4")
    assert read_events(path, columns=columns).rows() == [("A", "x", 5, 1393545600000), ("A", "y", 2, 1363392000000)]
    assert read_events(path, columns=("item=1", "user=3")).rows() == [("5", "A"), ("2", "A")]
    with pytest.raises(DataError, match="events:1: time=5 is given, and the line has 4 fields"):
        read_events(path, columns=("user=1", "item=2", "time=5"))
    for wrong in (("user=1", "item=1"), ("user=0", "item=1"), ("user=1",), ("user=1", "item=name")):
        with pytest.raises(ValueError, match="position"):
            read_events(path, columns=wrong)


def test_a_header_is_no_event_and_an_event_no_header(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="events:1: a header, while columns are given by position"):
        read_events(write(tmp_path, "user_id,item_id\nA,x\n"), columns=("user=1", "item=2"))
    with pytest.raises(DataError, match="events:3: the user is 'A', which also names the column"):
        read_events(write(tmp_path, "A,x\nB,y\nA,z\n"), columns=("user=A", "item=x"))


def test_numbers_with_blanks_between_them_are_events_if_the_last_can_be_a_time(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "1 7 5 1393545600\n2 8  2 1363392000\n")
    assert read_events(path).rows() == [("1", "7", 5.0, 1393545600000), ("2", "8", 2.0, 1363392000000)]
    assert read_events(write(tmp_path, "1 7 5 3\n2 8 2\n"))["item"].to_list() == ["7", "5", "3", "8", "2"]


def test_iso_times_in_every_format(tmp_path: pathlib.Path) -> None:
    for text in (
        "user,item,time\nA,x,2014-02-28 00:00:00\n",
        '{"user": "A", "item": "x", "time": "2014-02-28T02:00:00+02:00"}\n',
        "user_id:token\titem_id:token\ttimestamp:token\nA\tx\t2014-02-28\n",
    ):
        assert read_events(write(tmp_path, text)).rows() == [("A", "x", 1393545600000)]


def test_encodings(tmp_path: pathlib.Path) -> None:
    text = "user,item\nA,x\nB,café\n"
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        assert read_events(write(tmp_path, text.encode(encoding)))["item"].to_list() == ["x", "café"]
    path = write(tmp_path, text.encode("cp1252"))
    assert read(path, encoding="cp1252").frame["item"].to_list() == ["x", "café"]
    assert read(write(tmp_path, text.encode("utf-16-le")), encoding="utf-16-le").frame.height == 2
    with pytest.raises(ValueError, match="encoding='cp0' is not known"):
        read(path, encoding="cp0")
    with pytest.raises(DataError, match="events:3: byte 0xe9 is not ascii"):
        read(path, encoding="ascii")
    with pytest.raises(DataError, match="events:1: a NUL byte: not a text file, or text in an encoding to name"):
        read_events(write(tmp_path, text.replace("é", "e").encode("utf-16-le")))


def test_a_folder_of_part_files_is_one_table(tmp_path: pathlib.Path) -> None:
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-0.csv.crc").write_bytes(b"\0")
    (tmp_path / "part-1.csv").write_text("user,item\nB,y\n")
    (tmp_path / "part-0.csv.gz").write_bytes(gzip.compress(b"user,item\nA,x\n"))
    events = read(tmp_path)
    assert events.frame.rows() == [("A", "x"), ("B", "y")]
    assert events.notes == ("2 part files were read as one",)
    (tmp_path / "part-2.csv").write_text("user,item,rating\nB,y,1\n")
    with pytest.raises(DataError, match=r"part-2.csv has the columns user, item, rating, and part-0.csv.gz beside it"):
        read(tmp_path)
    (tmp_path / "part-2.parquet").touch()
    with pytest.raises(DataError, match="a folder with part files of several kinds, as 'part-0"):
        read(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none: a folder without part files"):
        read(tmp_path / "none")


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_their_line(name: str, tmp_path: pathlib.Path) -> None:
    text, line, problem = BAD[name]
    path = write(tmp_path, text)
    place = f"{path}: " if line is None else f"{path}:{line}: "
    with pytest.raises(ValueError, match=problem) as caught:
        read_events(path)
    assert str(caught.value).startswith(place)
    if line is not None:
        start = text.split("\n")[line - 1][:20]
        assert f"the line starts {start!r}"[:-1] in str(caught.value)


def test_wrong_encoding_names_the_line(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "user,item\nA,x\nB,café\n".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"events:3: byte 0xe9 is not utf-8; name the encoding, as in --data.encoding latin-1"
    ):
        read_events(path)


def test_truncated_gzip_names_the_line_it_breaks_off_at(tmp_path: pathlib.Path) -> None:
    text = "".join(f"user{i} item{i * 7919 % 1000} item{i * 104729 % 997}\n" for i in range(3000))
    path = tmp_path / "events.gz"
    whole = gzip.compress(text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="the gzip file is cut off or damaged") as caught:
        read_events(path)
    line = int(str(caught.value).removeprefix(f"{path}:").split(":")[0])
    assert 500 < line < 2500
    assert f"'user{line - 1}"[:6] in str(caught.value)
    damaged = bytearray(whole)
    damaged[-6] ^= 0xFF  # the checksum
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="the gzip file is cut off or damaged"):
        read_events(path)


def test_unknown_format_lists_all(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="format='xml' is not known") as caught:
        read_events(write(tmp_path, "A x\n"), "xml")
    assert all(name in str(caught.value) for name in READERS)


@pytest.mark.parametrize(
    ("file", "rows", "users", "items"),
    [
        ("amazon-beauty/user_sequence.txt.gz", 198_502, 22_363, 12_101),
        ("lastfm/user_sequence.txt.gz", 52_551, 1_090, 3_646),
        ("lastfm/tokenrec_test.txt.gz", None, 1_090, 3_646),
        ("ml-100k/ml-100k.inter.gz", 100_000, 943, 1_682),
        ("amazon-instruments/reviews_Musical_Instruments_part.json.gz", 5_050, 1_381, 392),
    ],
)
def test_real_files_have_the_sizes_that_their_readme_gives(
    file: str, rows: int | None, users: int, items: int, real_data: pathlib.Path
) -> None:
    frame = read_events(real_data / file)
    assert rows is None or frame.height == rows
    assert (frame["user"].n_unique(), frame["item"].n_unique()) == (users, items)
