"""Every format by hand, plain and gzip; every kind of damage names file and line."""

import gzip
import json
import pathlib

import polars as pl
import pytest

from jaxrec.data.readers.registry import READERS, read_events, recognise
from jaxrec.data.source_file import open_source

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
    "user without items": ("A x y\nB\nC x\n", 2, "a user without items"),
    "user with two lines": ("A x y\n\nB x\nA z\n", 4, "user 'A' has a line already"),
    "movielens letters": ("1\t2\t3\t4\n1\tx\tgood\t5\n", 2, "the rating 'good' is not a number"),
    "movielens short": ("1::2::3::4\n1::2::3\n", 2, "3 fields where 4 are expected"),
    "json cut": (jsonl(AMAZON_2014) + '{"reviewerID": "C", "as\n' + jsonl(AMAZON_2014), 3, "not a JSON object"),
    "json first line": ("{'reviewerID': 'A'}\n", 1, "old Amazon files hold Python literals"),
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
    with pytest.raises(ValueError, match=r"events:3: byte 0xe9 is not utf-8; convert the file"):
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
