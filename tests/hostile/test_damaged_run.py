"""Every file of a finished run, damaged in every way: the same answer as before, or one error that names the file."""

import json
import pathlib
import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from jaxrec.inference import newcomers
from jaxrec.system import loading
from jaxrec.system.system import System
from jaxrec.types import DataError

SEED = 15
UNREAD = ("report.html", "tensorboard", "run.lock", "walks", "lightgcn", "writer.lock", "results.json", "ranks.npz")
"""What opening and recommending do not read: for people, for resuming, and results."""


def damages(content: bytes, draw: random.Random) -> Iterator[tuple[str, bytes | None]]:
    yield "deleted", None
    yield "emptied", b""
    yield "truncated", content[: draw.randrange(len(content) or 1)]
    for _ in range(2):
        place = draw.randrange(len(content) or 1)
        flipped = bytes([content[place] ^ 1 << draw.randrange(8)]) if content else b"\x01"
        yield f"a bit of byte {place} flipped", content[:place] + flipped + content[place + 1 :]
    yield "other JSON", json.dumps({"version": 7, "rows": [1, 2, 3]}).encode()


def answers(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """What `jaxrec recommend` gives some users: items and scores."""
    system = newcomers.served(loading.load(folder))
    top = system.recommend(np.arange(4), 5)
    return np.asarray(top.items), np.asarray(top.scores)


def problem(folder: pathlib.Path, file: pathlib.Path, expected: tuple[np.ndarray, ...]) -> str | None:
    """What is wrong with how the damaged file was met; None if nothing is."""
    try:
        actual = answers(folder)
    except DataError as error:
        place = file.relative_to(folder).parts
        # The store is a database: its errors name its folder and the table.
        named = file.name in str(error) or (place[0] == "store" and place[1].split(".")[0] in str(error))
        named |= place[0] == "ids" and "users.txt or items.txt" in str(error)
        return None if named else f"an error that does not name it: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    same = all(np.array_equal(mine, theirs) for mine, theirs in zip(actual, expected, strict=True))
    return None if same else "other answers, in silence"


def escapes(folder: pathlib.Path, draw: random.Random, *, ways_each: int, of_checkpoints: int) -> list[str]:
    """Damages every file in turn, or, in checkpoints, some, in at most so many ways each."""
    expected = answers(folder)
    found = []
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    inside = [file for file in files if "checkpoints" in file.parts]
    left_out = set(draw.sample(inside, max(0, len(inside) - of_checkpoints)))
    for file in files:
        if file in left_out:
            continue
        place = file.relative_to(folder).as_posix()
        if place.startswith(UNREAD) or file.name in UNREAD:
            continue
        content = file.read_bytes()
        ways = list(damages(content, draw))
        for way, damaged in draw.sample(ways, min(ways_each, len(ways))):
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            if wrong := problem(folder, file, expected):
                found.append(f"{place} {way}: {wrong}")
            file.write_bytes(content)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("META ID", marks=pytest.mark.long), "TokenRec"])
def test_a_damaged_file_changes_no_answer_in_silence(
    finished_run: Callable[[str, pathlib.Path], System], tmp_path: pathlib.Path, method: str
) -> None:
    finished_run(method, tmp_path / "run")
    print("seed", SEED)
    assert escapes(tmp_path / "run", random.Random(SEED), ways_each=1, of_checkpoints=25) == []


@pytest.mark.soak
@pytest.mark.parametrize("method", ["META ID", "TokenRec"])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_damage_changes_an_answer_in_silence(
    finished_run: Callable[[str, pathlib.Path], System], tmp_path: pathlib.Path, method: str, seed: int
) -> None:
    finished_run(method, tmp_path / "run")
    print("seed", seed)
    assert escapes(tmp_path / "run", random.Random(seed), ways_each=9, of_checkpoints=999) == []
