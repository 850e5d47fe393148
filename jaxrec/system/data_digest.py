"""What a run was trained on, in short, so that data that changed since are noticed: data.npz in its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxrec.files import kept_file, read_kept
from jaxrec.progress import logger
from jaxrec.types import Attributes, DataError, Interactions

DIGEST_FILE = "data.npz"
REMEDY = "put it back, or delete it if you trust the data: they are not compared then"
ROOM = 8_000_000
"""Events that are mixed at a time."""


@dataclasses.dataclass(frozen=True)
class DataDigest:
    """Hashes of 64 bits, by which two readings of data are compared; two different contents agree by accident only.

    Attributes:
      users: u64[U], of the users' names, in the order of their numbers.
      events: u64[U], of each user's events, in order: item, rating, time and texts.
      counts: i64[U], how many those are.
      items: u64[I], of the items' names, in the order of their numbers.
      titles: u64[I], of the items' titles; of the names where there are none.
      attributes: u64[I], of the values of the items' attributes, in order; None where none are read.
    """

    users: np.ndarray
    events: np.ndarray
    counts: np.ndarray
    items: np.ndarray
    titles: np.ndarray
    attributes: np.ndarray | None = None

    @property
    def n_events(self) -> int:
        """Number of events of all users."""
        return int(self.counts.sum())


def digest_of(data: Interactions) -> DataDigest:
    """The digest of data as they were read, filtered and numbered."""
    items = _hashes(data.item_names)
    counts = np.bincount(data.user, minlength=data.n_users)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    running = np.zeros(data.n_events + 1, np.uint64)
    texts = {name: data.text[name] for name in sorted(data.text or {})} if data.text else {}
    for start in range(0, data.n_events, ROOM):
        rows = slice(start, start + ROOM)
        event = items[data.item[rows]]
        if data.rating is not None:
            event = _mixed(event ^ data.rating[rows].astype(np.float32).view(np.uint32).astype(np.uint64))
        if data.time is not None:
            event = _mixed(event ^ data.time[rows].astype(np.int64).view(np.uint64))
        for column in texts.values():
            event = _mixed(event ^ _hashes(column[rows]))
        place = np.arange(start, start + len(event)) - offsets[data.user[rows]]  # within the user's history
        running[start + 1 : start + 1 + len(event)] = _mixed(event + place.astype(np.uint64) * ODD)
    running = np.cumsum(running, dtype=np.uint64)
    titles = items if data.item_titles is None else _hashes(data.item_titles)
    return DataDigest(
        users=_hashes(data.user_names),
        events=running[offsets[1:]] - running[offsets[:-1]],
        counts=counts.astype(np.int64),
        items=items,
        titles=titles,
        attributes=None if data.item_attributes is None else _of_attributes(data.item_attributes),
    )


def _of_attributes(attributes: Attributes) -> np.ndarray:
    """A hash of each item's values, u64[I]."""
    fields = _hashes(np.array(attributes.fields, object))[attributes.field]
    values = (_hashes(attributes.names) ^ _mixed(fields))[attributes.values]
    place = np.arange(len(values)) - np.repeat(attributes.offsets[:-1], np.diff(attributes.offsets))
    running = np.zeros(len(values) + 1, np.uint64)
    running[1:] = np.cumsum(_mixed(values + place.astype(np.uint64) * ODD), dtype=np.uint64)
    return running[attributes.offsets[1:]] - running[attributes.offsets[:-1]]


def check_data(folder: pathlib.Path, data: Interactions, *, accept_events: bool) -> None:
    """Compares data with those that the run in a folder was trained on; a run without a digest is not compared.

    Args:
      folder: of the run.
      data: as read now.
      accept_events: whether other events, ratings, times, titles and attributes of the same users and items are
        accepted.
    Raises:
      DataError: the data have changed; the message says how, and what to do.
    """
    file = folder / DIGEST_FILE
    if not file.is_file():
        return
    arrays = read_kept(file, "npz", REMEDY)
    try:
        trained = DataDigest(**arrays)
    except TypeError as error:
        raise DataError(f"{file} holds other arrays than a digest of data; {REMEDY}") from error
    now = digest_of(data)
    changes, renumbered = differences(trained, now)
    if not changes:
        return
    if accept_events and not renumbered:
        logger.warning("the data of %s have changed since it was trained: %s; accepted", folder, "; ".join(changes))
        return
    accept = (
        "--accept-new-data can't help, as vectors and ids belong to the users and items of training"
        if renumbered
        else "--accept-new-data goes on with the data as they are now, with figures that are not comparable"
    )
    raise DataError(
        f"the data of {folder} have changed since it was trained: {'; '.join(changes)}. Put the old data back, or "
        f"train in a new folder; new events, in a file of their own, are added with the update command; {accept}"
    )


def store_digest(folder: pathlib.Path, data: Interactions) -> None:
    """Writes the digest of a run's data, unless there is one."""
    file = folder / DIGEST_FILE
    if not file.is_file():
        with kept_file(file) as part, part.open("wb") as stream:
            arrays = dataclasses.asdict(digest_of(data))
            np.savez(stream, **{name: array for name, array in arrays.items() if array is not None})


def differences(old: DataDigest, new: DataDigest) -> tuple[list[str], bool]:
    """How two digests differ, in words, and whether users or items have other numbers."""
    changes = []
    if old.n_events != new.n_events:
        changes.append(f"{new.n_events:,} events instead of {old.n_events:,}")
    for name, before, after in (("users", old.users, new.users), ("items", old.items, new.items)):
        gone, added = len(np.setdiff1d(before, after)), len(np.setdiff1d(after, before))
        if gone or added:
            changes.append(_listed([(gone, f"{name} are gone"), (added, f"{name} are new")]))
        elif not np.array_equal(before, after):
            changes.append(f"{name} have another order")
    renumbered = not (np.array_equal(old.users, new.users) and np.array_equal(old.items, new.items))
    _, mine, theirs = np.intersect1d(old.users, new.users, return_indices=True)
    if altered := int((old.events[mine] != new.events[theirs]).sum()):
        fewer = int((new.counts[theirs] < old.counts[mine]).sum())
        more = int((new.counts[theirs] > old.counts[mine]).sum())
        same = altered - fewer - more
        how = _listed([(fewer, "fewer"), (more, "more"), (same, "as many, altered or in another order")])
        changes.append(f"{altered:,} users have other events than before ({how})")
    _, mine, theirs = np.intersect1d(old.items, new.items, return_indices=True)
    if retitled := int((old.titles[mine] != new.titles[theirs]).sum()):
        changes.append(f"{retitled:,} items have another title")
    if old.attributes is not None and new.attributes is not None:
        altered = int((old.attributes[mine] != new.attributes[theirs]).sum())
        if altered:
            changes.append(f"{altered:,} items have other attributes")
    return changes, renumbered


def _listed(parts: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{count:,} {text}" for count, text in parts if count)


ODD = np.uint64(0x9E3779B97F4A7C15)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Scrambles u64[N] (the finaliser of splitmix64), so that sums of them depend on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hashes(texts: np.ndarray) -> np.ndarray:
    """Hashes of strings, u64[n]."""
    digests = (hashlib.blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64).copy()
