"""Fetch a file over HTTP: it goes on where it was cut off, is checked, and appears whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import pathlib
import re
import time
import urllib.error
import urllib.request
import zipfile
from typing import Any

from jaxrec.files import whole_file
from jaxrec.progress import Progress, logger

CHUNK = 1 << 18
SECONDS_OF_SILENCE = 30.0
ATTEMPTS = 5
QUIET = 0.5  # seconds before the first progress line


def fetch(
    url: str,
    file: pathlib.Path,
    *,
    md5: str | None = None,
    attempts: int = ATTEMPTS,
    pause: float = 1.0,
) -> pathlib.Path:
    """Download `url` to `file`; where `file` is there already, nothing is fetched.

    What has come so far is kept in `file`.part and completed by a Range request, if the server still has the same
    file (its ETag or date, kept in `file`.tag); then size and checksum are compared and the part is renamed.

    Args:
      url: http or https.
      file: where to.
      md5: the publisher's checksum, or None: the size alone is compared.
      attempts: how often a broken connection is taken up again.
      pause: seconds before the second attempt, twice as many before each further one.

    Raises:
      ValueError: the address is not there, the server can't be reached, the connection broke `attempts` times, or
        size or checksum differ.
    """
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    part, tag = _beside(file, ".part"), _beside(file, ".tag")
    for attempt in range(attempts):
        try:
            size = _receive(url, part, tag)
        except urllib.error.HTTPError as error:
            error.close()
            raise ValueError(f"{url}: the server answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:  # URLError, time-outs, resets
            problem: object = error
        else:
            have = part.stat().st_size
            if size is None or have == size:
                break
            problem = f"the connection closed after {have:,} of {size:,} bytes"
        if attempt + 1 == attempts:
            raise ValueError(f"{url}: {problem}; what has come is kept, the same command goes on from there")
        logger.warning("%s; trying again", problem)
        time.sleep(pause * 2**attempt)
    tag.unlink(missing_ok=True)
    if md5 is not None and (found := _md5(part)) != md5:
        part.unlink()
        raise ValueError(f"{url}: the checksum is {found}, the publisher's is {md5}; the file was dropped, try again")
    os.replace(part, file)
    logger.info("%s: %s bytes", file, f"{file.stat().st_size:,}")
    return file


def fetch_md5(url: str) -> str:
    """The checksum in a publisher's .md5 file, whatever else its line says.

    Raises:
      ValueError: it can't be fetched, or holds no checksum.
    """
    try:
        with urllib.request.urlopen(url, timeout=SECONDS_OF_SILENCE) as answer:
            text = answer.read(4096).decode("ascii", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"{url}: {error}") from error
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    if found is None:
        raise ValueError(f"{url}: no MD5 checksum in {text[:60]!r}")
    return found.group().lower()


def unpack(archive: pathlib.Path, names: tuple[str, ...], folder: pathlib.Path) -> list[pathlib.Path]:
    """Take the named files out of a zip archive, from whatever folder of it; each appears whole or not at all.

    Raises:
      ValueError: the archive is damaged or holds no file of that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in names:
                members = [m for m in opened.namelist() if pathlib.PurePosixPath(m).name == name]
                if not members:
                    raise ValueError(f"{archive}: holds no {name}; it has {', '.join(opened.namelist()[:10])}")
                with (
                    opened.open(members[0]) as source,
                    whole_file(folder / name) as part,
                    part.open("wb") as sink,
                ):
                    while block := source.read(CHUNK):
                        sink.write(block)
                done.append(folder / name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive}: a damaged zip archive ({error}); delete it and fetch it again") from error
    return done


def _receive(url: str, part: pathlib.Path, tag: pathlib.Path) -> int | None:
    """One attempt: append to `part` what is missing. Returns the size of the whole file, None where nobody says it."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    have = part.stat().st_size if part.exists() and tag.exists() else 0
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text())
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS_OF_SILENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        whole = _whole_size(error.headers)  # the part reaches the end already, or past it
        if whole != have:
            part.unlink()
            raise ConnectionError(f"the part has {have:,} bytes, the file {whole}; it starts anew") from error
        return whole
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not goes_on:
            have = 0
            _remember(answer.headers, tag)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        _write(answer, part, "ab" if goes_on else "wb", have, total)
    return total


def _write(answer: Any, part: pathlib.Path, mode: str, have: int, total: int | None) -> None:
    name, megabytes = part.name.removesuffix(".part"), None if total is None else total / 1e6
    with part.open(mode) as sink, Progress(name, megabytes, unit="MB", quiet=QUIET) as progress:
        progress.update(have / 1e6)
        while block := answer.read1(CHUNK):
            sink.write(block)
            have += len(block)
            progress.update(have / 1e6)
        sink.flush()
        os.fsync(sink.fileno())


def _remember(headers: Any, tag: pathlib.Path) -> None:
    """Keep what tells the server's file from a later one; weak ETags can't vouch for bytes (RFC 9110, 13.1.5)."""
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


def _md5(file: pathlib.Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _beside(file: pathlib.Path, suffix: str) -> pathlib.Path:
    return file.with_name(file.name + suffix)
