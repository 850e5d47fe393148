"""Downloads over HTTP that resume, verify size and checksum, and write files atomically."""

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
    """Downloads `url` to `file`; does nothing if `file` exists.

    Received bytes are kept in `file`.part. A later call completes them by a Range request if the server's file is
    unchanged (its ETag or date is kept in `file`.tag). Then size and checksum are compared and the part is renamed.

    Args:
      url: http or https.
      file: the destination.
      md5: the publisher's checksum; None compares the size alone.
      attempts: how many times to connect before giving up.
      pause: seconds before the second attempt, twice as many before each further one.

    Raises:
      ValueError: the server reports an error or can't be reached, the connection broke `attempts` times, or size or
        checksum differ.
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
            received = part.stat().st_size
            if size is None or received == size:
                break
            problem = f"the connection closed after {received:,} of {size:,} bytes"
        if attempt + 1 == attempts:
            raise ValueError(f"{url}: {problem}; what has come is kept, the same command goes on from there")
        logger.warning("%s; trying again", problem)
        time.sleep(pause * 2**attempt)
    tag.unlink(missing_ok=True)
    if md5 is not None and (digest := _md5(part)) != md5:
        part.unlink()
        raise ValueError(f"{url}: the checksum is {digest}, the publisher's is {md5}; the file was dropped, try again")
    os.replace(part, file)
    logger.info("%s: %s bytes", file, f"{file.stat().st_size:,}")
    return file


def fetch_md5(url: str) -> str:
    """The checksum in a publisher's .md5 file, whatever else its line holds.

    Raises:
      ValueError: it can't be fetched, or holds no checksum.
    """
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
                members = [m for m in zip_file.namelist() if pathlib.PurePosixPath(m).name == name]
                if not members:
                    raise ValueError(f"{archive}: holds no {name}; it has {', '.join(zip_file.namelist()[:10])}")
                with (
                    zip_file.open(members[0]) as source,
                    whole_file(folder / name) as part,
                    part.open("wb") as target,
                ):
                    while block := source.read(CHUNK):
                        target.write(block)
                files.append(folder / name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive}: a damaged zip archive ({error}); delete it and fetch it again") from error
    return files


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
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
        if not goes_on:
            received = 0
            _remember(response.headers, tag)
        length = response.headers.get("Content-Length")
        total = received + int(length) if length is not None else None
        _write(response, part, "ab" if goes_on else "wb", received, total)
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


def _md5(file: pathlib.Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _beside(file: pathlib.Path, suffix: str) -> pathlib.Path:
    return file.with_name(file.name + suffix)
