"""Downloads over HTTP that resume, verify size and checksum, and write files atomically."""

from __future__ import annotations

import hashlib
import http.client
import os
import pathlib
import re
import struct
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from typing import Any

from jaxrec.files import whole_file, write_whole
from jaxrec.progress import Progress, logger
from jaxrec.text import listed, quoted
from jaxrec.types import DataError

CHUNK = 1 << 18
SECONDS_OF_SILENCE = 30.0
ATTEMPTS = 5
SHA256 = ".sha256"
LOCAL = ("localhost", "127.0.0.1", "::1")
LARGE, RATIO = 1 << 30, 100  # bytes, and times its packed size, above which a file is not unpacked
QUIET = 0.5  # seconds before the first progress line


def fetch(
    url: str,
    file: pathlib.Path,
    *,
    md5: str | None = None,
    attempts: int = ATTEMPTS,
    pause: float = 1.0,
) -> pathlib.Path:
    """Downloads `url` to `file`; does nothing if `file` exists.

    Received bytes are kept in `file`.part. A later call completes them by a Range request if the server's file is
    unchanged (its ETag or date is kept in `file`.tag). Then size and checksum are compared and the part is renamed. Its
    SHA-256 is noted in `file`.sha256, and a later call, or another download of the same file, is compared with it.

    Args:
      url: https; http only of this machine.
      file: the destination.
      md5: the publisher's checksum; None compares the size alone.
      attempts: how many times to connect before giving up.
      pause: seconds before the second attempt, twice as many before each further one.

    Raises:
      ValueError: the server reports an error or can't be reached, the connection broke `attempts` times, or size or
        checksum differ.
    """
    _check_address(url)
    noted = _beside(file, SHA256)
    if file.exists():
        _compare(file, noted, "the file has changed since it was fetched: delete it, and it is fetched again")
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    part, tag = _beside(file, ".part"), _beside(file, ".tag")
    for path in (part, tag):
        if path.is_symlink():  # what comes would be written elsewhere
            path.unlink()
    for attempt in range(attempts):
        try:
            size = _receive(url, part, tag)
        except urllib.error.HTTPError as error:
            error.close()
            raise ValueError(f"{url}: the server answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:  # URLError, time-outs, resets
            problem: object = error
        else:
            received = part.stat().st_size
            if size is None and md5 is None and not noted.exists():
                part.unlink()
                raise ValueError(f"{url}: the server names no length, so a file that is cut off would go unnoticed")
            if size is None or received == size:
                break
            problem = f"the connection closed after {received:,} of {size:,} bytes"
        if attempt + 1 == attempts:
            raise ValueError(f"{url}: {problem}; what has come is kept, the same command goes on from there")
        logger.warning("%s; trying again", problem)
        time.sleep(pause * 2**attempt)
    tag.unlink(missing_ok=True)
    if md5 is not None and (digest := _digest(part, "md5")) != md5:
        part.unlink()
        raise ValueError(f"{url}: the checksum is {digest}, the publisher's is {md5}; the file was dropped, try again")
    if _is_page(part) and not file.name.endswith((".html", ".htm")):
        part.unlink()
        raise ValueError(f"{url}: a web page came instead of the file (a login or error page?); look at the address")
    _compare(part, noted, f"the publisher's file is another one than was fetched first; delete {noted} to take it")
    os.replace(part, file)
    write_whole(noted, _digest(file, "sha256") + "\n")
    logger.info("%s: %s bytes", file, f"{file.stat().st_size:,}")
    return file


def fetch_md5(url: str) -> str:
    """The checksum in a publisher's .md5 file, whatever else its line holds.

    Raises:
      ValueError: it can't be fetched, or holds no checksum.
    """
    _check_address(url)
    try:
        with urllib.request.urlopen(url, timeout=SECONDS_OF_SILENCE) as response:
            text = response.read(4096).decode("ascii", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"{url}: {error}") from error
    match = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    if match is None:
        raise ValueError(f"{url}: no MD5 checksum in {text[:60]!r}")
    return match.group().lower()


def unpack(archive: pathlib.Path, names: tuple[str, ...], folder: pathlib.Path) -> list[pathlib.Path]:
    """Extracts the named files of a zip archive, from any folder in it, into `folder`; each is written atomically.

    Raises:
      ValueError: the archive is damaged or holds no file of that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    try:
        with zipfile.ZipFile(archive) as zip_file:
            for name in names:
                members = [m for m in zip_file.infolist() if pathlib.PurePosixPath(m.filename).name == name]
                if not members:
                    raise DataError(f"{archive}: holds no {name}; it has {listed(zip_file.namelist())}")
                _check_members(archive, name, members)
                with (
                    zip_file.open(members[0]) as source,
                    whole_file(folder / name) as part,
                    part.open("wb") as target,
                ):
                    while block := source.read(CHUNK):
                        target.write(block)
                files.append(folder / name)
    except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, struct.error, UnicodeDecodeError) as error:
        raise DataError(f"{archive}: a damaged zip archive ({error}); delete it and fetch it again") from error
    return files


def _check_members(archive: pathlib.Path, name: str, members: list[zipfile.ZipInfo]) -> None:
    """Raises DataError if a file of an archive is there twice, encrypted, or packed as no data are."""
    (member, *others) = members
    if others:
        raise DataError(f"{archive}: holds {len(members)} files named {name}: {listed(m.filename for m in members)}")
    if member.flag_bits & 1:
        raise DataError(f"{archive}: {quoted(member.filename)} is encrypted; unpack it yourself")
    if member.file_size > max(LARGE, RATIO * member.compress_size):
        raise DataError(
            f"{archive}: {quoted(member.filename)} would unpack to {member.file_size:,} bytes from "
            f"{member.compress_size:,}; unpack it yourself if that is right"
        )


def _receive(url: str, part: pathlib.Path, tag: pathlib.Path) -> int | None:
    """One attempt: append to `part` what is missing. Returns the size of the whole file, None if unknown."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    received = part.stat().st_size if part.exists() and tag.exists() else 0
    if received:
        request.add_header("Range", f"bytes={received}-")
        request.add_header("If-Range", tag.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS_OF_SILENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        whole = _whole_size(error.headers)  # the part already has all bytes, or more
        if whole != received:
            part.unlink()
            raise ConnectionError(f"the part has {received:,} bytes, the file {whole}; it starts anew") from error
        return whole
    with response:
        _check_address(response.url)  # after redirections
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
        if not goes_on:
            received = 0
            _remember(response.headers, tag)
        length = response.headers.get("Content-Length")
        total = received + int(length) if length is not None else None
        _write(response, part, "ab" if goes_on else "wb", received, total)
        if total is None and response.chunked:  # whose end is marked
            total = part.stat().st_size
    return total


def _write(response: Any, part: pathlib.Path, mode: str, received: int, total: int | None) -> None:
    name, megabytes = part.name.removesuffix(".part"), None if total is None else total / 1e6
    with part.open(mode) as target, Progress(name, megabytes, unit="MB", quiet=QUIET) as progress:
        progress.update(received / 1e6)
        while block := response.read1(CHUNK):
            target.write(block)
            received += len(block)
            progress.update(received / 1e6)
        target.flush()
        os.fsync(target.fileno())


def _remember(headers: Any, tag: pathlib.Path) -> None:
    """Stores the validator for If-Range; weak ETags do not guarantee equal bytes (RFC 9110, 13.1.5)."""
    mark = headers.get("ETag")
    if mark is None or mark.startswith("W/"):
        mark = headers.get("Last-Modified")
    if mark is None:
        tag.unlink(missing_ok=True)
    else:
        tag.write_text(mark)


def _whole_size(headers: Any) -> int | None:
    """The size in "Content-Range: bytes */123"."""
    size = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _digest(file: pathlib.Path, kind: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _compare(file: pathlib.Path, noted: pathlib.Path, problem: str) -> None:
    """Raises DataError if a file's SHA-256 is another one than the noted one."""
    if noted.exists() and noted.read_text(encoding="utf-8", errors="replace").strip() != _digest(file, "sha256"):
        raise DataError(f"{file}: its SHA-256 is not that in {noted.name}: {problem}")


def _is_page(file: pathlib.Path) -> bool:
    """Whether a file begins as a page of HTML does."""
    with file.open("rb") as opened:
        start = opened.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _check_address(url: str) -> None:
    """Raises ValueError unless an address is of https, or of http on this machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and (parts.scheme, parts.hostname in LOCAL) != ("http", True):
        raise ValueError(f"{quoted(url)}: only https is fetched")


def _beside(file: pathlib.Path, suffix: str) -> pathlib.Path:
    return file.with_name(file.name + suffix)
