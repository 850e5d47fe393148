"""Downloads against a server of our own that breaks off, changes its file, ignores ranges and lies."""

import gzip
import hashlib
import http.server
import io
import pathlib
import threading
import zipfile
from collections.abc import Iterator

import pytest

from jaxrec.cli import download
from jaxrec.data import public_datasets
from jaxrec.data.download import fetch, fetch_md5, unpack
from jaxrec.data.public_datasets import PublicDataset
from jaxrec.progress import messages_to
from jaxrec.types import DataError

CONTENT = bytes(range(256)) * 4000  # 1 MB


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; what it was asked is kept in `asked`."""

    files: dict[str, bytes]
    tag = '"v1"'
    ranges = True
    break_after: int | None = None
    """Bytes after which the next answer breaks off, once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {"/file.bin": CONTENT}, []

    def url(self, path: str = "/file.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.path not in self.server.files:
            self.send_error(404)
            return
        data, start = self.server.files[self.path], 0
        if wanted and self.server.ranges and self.headers.get("If-Range") == self.server.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", self.server.tag)
        self.end_headers()
        cut, self.server.break_after = self.server.break_after, None
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_whole_file(server: Server, tmp_path: pathlib.Path) -> None:
    messages: list[str] = []
    with messages_to(messages.append):
        file = fetch(server.url(), tmp_path / "new" / "file.bin", md5=hashlib.md5(CONTENT).hexdigest())
    assert file.read_bytes() == CONTENT
    assert sorted(f.name for f in file.parent.iterdir()) == ["file.bin", "file.bin.sha256"]
    assert messages[-1] == f"{file}: 1,024,000 bytes"
    fetch(server.url(), file)
    assert len(server.asked) == 1  # there already


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, tmp_path: pathlib.Path) -> None:
    server.break_after = 300_000
    messages: list[str] = []
    with messages_to(messages.append):
        file = fetch(server.url(), tmp_path / "file.bin", pause=0.01)
    assert file.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]
    assert "the connection closed after 300,000 of 1,024,000 bytes; trying again" in messages


def test_a_later_run_goes_on_where_the_last_one_stopped(server: Server, tmp_path: pathlib.Path) -> None:
    server.break_after = 300_000
    with pytest.raises(ValueError, match=r"300,000 of 1,024,000 bytes; what has come is kept"):
        fetch(server.url(), tmp_path / "file.bin", attempts=1)
    assert not (tmp_path / "file.bin").exists()
    assert (tmp_path / "file.bin.part").stat().st_size == 300_000
    assert fetch(server.url(), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


def test_a_changed_file_starts_anew(server: Server, tmp_path: pathlib.Path) -> None:
    server.break_after = 300_000
    with pytest.raises(ValueError, match="what has come is kept"):
        fetch(server.url(), tmp_path / "file.bin", attempts=1)
    server.files["/file.bin"], server.tag = CONTENT[::-1], '"v2"'
    assert fetch(server.url(), tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: pathlib.Path) -> None:
    server.ranges, server.break_after = False, 300_000
    assert fetch(server.url(), tmp_path / "file.bin", pause=0.01).read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(server: Server, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (tmp_path / "file.bin.tag").write_text(server.tag)
    assert fetch(server.url(), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == ["bytes=1024000-"]


def test_a_part_that_is_too_long_is_dropped(server: Server, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.bin.tag").write_text(server.tag)
    assert fetch(server.url(), tmp_path / "file.bin", pause=0.01).read_bytes() == CONTENT


def test_a_part_of_unknown_origin_is_not_trusted(server: Server, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"something else")
    assert fetch(server.url(), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [None]


def test_wrong_checksum_leaves_no_file(server: Server, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"the publisher's is 0{32}; the file was dropped"):
        fetch(server.url(), tmp_path / "file.bin", md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_missing_address_and_silent_server(server: Server, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="the server answers 404"):
        fetch(server.url("/none"), tmp_path / "file.bin")
    url = server.url()
    server.server_close()
    server.shutdown()
    with pytest.raises(ValueError, match="refused"):
        fetch(url, tmp_path / "file.bin", attempts=2, pause=0.01)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_unpack(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "set.zip"
    archive.write_bytes(zipped({"ml/u.data": b"events", "ml/u.item": b"titles", "ml/README": b"long"}))
    done = unpack(archive, ("u.data", "u.item"), tmp_path / "out")
    assert [f.read_bytes() for f in done] == [b"events", b"titles"]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["u.data", "u.item"]
    with pytest.raises(ValueError, match=r"holds no ratings.csv; it has 'ml/u.data'"):
        unpack(archive, ("ratings.csv",), tmp_path / "out")
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(ValueError, match="a damaged zip archive"):
        unpack(archive, ("u.data",), tmp_path / "out")


@pytest.mark.parametrize("text", ["MD5 (a.zip) = {}\n", "{}  a.zip\n", "{}"])
def test_md5_files(text: str, server: Server) -> None:
    sum = hashlib.md5(b"x").hexdigest()
    server.files["/a.md5"] = text.format(sum).encode()
    assert fetch_md5(server.url("/a.md5")) == sum
    server.files["/a.md5"] = b"not found"
    with pytest.raises(ValueError, match="no MD5 checksum in 'not found'"):
        fetch_md5(server.url("/a.md5"))


def test_sets_have_official_addresses() -> None:
    assert {"ml-100k", "ml-1m", "ml-20m", "lastfm", "amazon-beauty", "amazon-toys-and-games"} <= set(
        public_datasets.PUBLIC_DATASETS
    )
    hosts = {wanted.url.split("/")[2] for wanted in public_datasets.PUBLIC_DATASETS.values()}
    assert hosts == {"files.grouplens.org", "snap.stanford.edu"}
    assert all(wanted.url.startswith("https://") for wanted in public_datasets.PUBLIC_DATASETS.values())


def test_the_script_fetches_checks_and_unpacks_once(
    server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = zipped({"ml/u.data": b"1\t2\t3\t4\n", "ml/u.item": b"2|Two|x|y\n"})
    server.files |= {"/ml.zip": data, "/ml.zip.md5": hashlib.md5(data).hexdigest().encode()}
    server.files["/reviews.json.gz"] = gzip.compress(b"{}")
    sets = {
        "small": PublicDataset(server.url("/ml.zip"), "u.data", "u.item", server.url("/ml.zip.md5")),
        "reviews": PublicDataset(server.url("/reviews.json.gz"), "reviews.json.gz"),
    }
    monkeypatch.setattr(public_datasets, "PUBLIC_DATASETS", sets)
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["download", "small", "--folder", str(tmp_path)])
        download.main()
        assert f"events: {tmp_path}/small/u.data\ntitles: {tmp_path}/small/u.item\n" in capsys.readouterr().out
    assert (tmp_path / "small" / "u.data").read_bytes() == b"1\t2\t3\t4\n"
    assert len(server.asked) == 2
    monkeypatch.setattr("sys.argv", ["download", "reviews", "--folder", str(tmp_path)])
    download.main()
    assert (tmp_path / "reviews" / "reviews.json.gz").exists()
    monkeypatch.setattr("sys.argv", ["download", "nothing"])
    with pytest.raises(SystemExit, match="2"):
        download.main()
    assert "data set 'nothing' is not known; there are: small, reviews" in capsys.readouterr().err


def test_a_page_is_no_file(server: Server, tmp_path: pathlib.Path) -> None:
    server.files["/file.bin"] = b"\n <!DOCTYPE HTML><html><body>Log in</body></html>"
    with pytest.raises(ValueError, match="a web page came instead of the file"):
        fetch(server.url(), tmp_path / "file.bin", pause=0)
    assert not list(tmp_path.glob("file.bin*"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://example.org/a.zip", "ftp://example.org/a", "a.zip", ""])
def test_only_https_is_fetched(url: str, tmp_path: pathlib.Path) -> None:
    for get in (lambda: fetch(url, tmp_path / "a.zip", pause=0), lambda: fetch_md5(url)):
        with pytest.raises(ValueError, match="only https is fetched"):
            get()
    assert not list(tmp_path.iterdir())


def test_what_was_fetched_first_is_what_counts(server: Server, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file.bin"
    fetch(server.url(), file, pause=0)
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"file.bin: its SHA-256 .* the file has changed since it was fetched"):
        fetch(server.url(), file, pause=0)
    file.unlink()
    server.files["/file.bin"] = CONTENT[::-1]
    with pytest.raises(DataError, match="the publisher's file is another one than was fetched first"):
        fetch(server.url(), file, pause=0)
    server.files["/file.bin"], server.tag = CONTENT, '"v2"'
    assert fetch(server.url(), file, pause=0).read_bytes() == CONTENT


def test_no_link_is_written_through(server: Server, tmp_path: pathlib.Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("dear")
    for name in ("file.bin.part", "file.bin.tag"):
        (tmp_path / name).symlink_to(mine)
    assert fetch(server.url(), tmp_path / "file.bin", pause=0).read_bytes() == CONTENT
    assert mine.read_text() == "dear"


def test_odd_archives_are_named(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "set.zip"
    archive.write_bytes(zipped({"a/u.data": b"events", "b/u.data": b"others"}))
    with pytest.raises(DataError, match=r"set.zip: holds 2 files named u.data: 'a/u.data', 'b/u.data'"):
        unpack(archive, ("u.data",), tmp_path / "out")
    plain = zipped({"a/u.data": b"events"})
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # where each header has its flags
        at = plain.index(mark) + place
        plain = plain[:at] + bytes([plain[at] | 1]) + plain[at + 1 :]
    archive.write_bytes(plain)
    with pytest.raises(DataError, match=r"set.zip: 'a/u.data' is encrypted"):
        unpack(archive, ("u.data",), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_archives_that_grow_too_much_are_not_unpacked(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr("jaxrec.data.download.LARGE", 1000)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("u.data", bytes(1_000_000))
    with pytest.raises(DataError, match=r"'u.data' would unpack to 1,000,000 bytes from"):
        unpack(archive, ("u.data",), tmp_path / "out")
