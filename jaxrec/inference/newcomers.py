"""A run's vector store: loading it, and adding new users, items and events without training."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxrec.files import whole_folder
from jaxrec.inference.entities import Entities
from jaxrec.inference.store import TABLES, LanceStore
from jaxrec.inference.store_files import last_version
from jaxrec.system.stages import add_newcomers
from jaxrec.system.system import System
from jaxrec.tokenizers.ids import Ids
from jaxrec.types import DataError, Histories, Interactions, Vectors, join_histories


def store_versions(system: System) -> tuple[int, ...]:
    """The versions of the tables of a run's store, which each write raises; looked up in a few microseconds."""
    return tuple(last_version(str(system.folder / "store"), table) for table in TABLES)


def fill_store(system: System) -> None:
    """Writes all users and items of a trained system into its run's store; an existing store is kept, with its updates.

    Raises:
      ValueError: the existing store is damaged, of another width or of another run; the message says what to do.
    """
    path, data = system.folder / "store", system.data
    if path.is_dir() or path.is_symlink():
        _read(system, _open(system))
        return
    with whole_folder(path) as part:
        store = LanceStore.create(part, system.embedding.vectors.item.shape[1])
        _upsert(store, system, np.arange(data.n_users), np.arange(data.n_items))


def _open(system: System) -> LanceStore:
    """The run's store, which must exist."""
    path = system.folder / "store"
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path} is a link to {path.readlink()}, where nothing is; {_remedy(system)}")
    if not path.is_dir():
        raise DataError(f"{path} is missing; the run's launch.train command, given again, fills a new one")
    try:
        return LanceStore.open(path, system.embedding.vectors.item.shape[1])
    except ValueError as error:
        raise DataError(f"{error}; or {_remedy(system)}") from error


def _remedy(system: System) -> str:
    return (
        f"delete {system.folder / 'store'} and give the run's launch.train command again (what launch.update brought "
        "is lost)"
    )


def _read(system: System, store: LanceStore) -> tuple[Entities, Entities]:
    """Users and items of the run's store, which must belong to this run."""
    try:
        users, items = store.read("users"), store.read("items")
    except ValueError as error:
        raise DataError(f"{error}; or {_remedy(system)}") from error
    for kind, entities, names in (("users", users, system.data.user_names), ("items", items, system.data.item_names)):
        if entities.names[: len(names)].tolist() != names.tolist():
            raise DataError(f"{store.path}: its {kind} are not those of this run; {_remedy(system)}")
    return users, items


def served(system: System) -> System:
    """A trained system with the users, items, histories and vectors of its run's store.

    Raises:
      DataError: the store is missing, damaged, of another width or of another run; the message says what to do.
    """
    return _served(system, _open(system))


def _served(system: System, store: LanceStore) -> System:
    users, items = _read(system, store)
    ids = Ids(
        system.ids.users.with_rows(np.arange(len(users)), users.codes),
        system.ids.items.with_rows(np.arange(len(items)), items.codes),
    )
    data = dataclasses.replace(
        system.data,
        user_names=users.names,
        item_names=items.names,
        item_titles=np.asarray(items.titles),
        item_attributes=None,  # newcomers have none, and no system reads them
    )
    return dataclasses.replace(
        system,
        data=data,
        embedding=dataclasses.replace(system.embedding, vectors=Vectors(users.vectors, items.vectors)),
        ids=ids,
        histories=Histories(users.offsets, users.histories, len(items)),
    )


@dataclasses.dataclass(frozen=True)
class Update:
    """The result of an update.

    Attributes:
      users: numbers of the users with new events, i64[*].
      events, new_users, new_items: how many are new.
      known_events: events that were skipped.
      versions: of the store with the update in it, see `store_versions`.
    """

    users: np.ndarray
    events: int
    new_users: int
    new_items: int
    known_events: int
    versions: tuple[int, ...] = ()

    def __str__(self) -> str:
        skipped = f" ({self.known_events} were known already)" if self.known_events else ""
        return f"{self.events} new events{skipped}, {self.new_users} new users, {self.new_items} new items"


def update(system: System, events: Interactions) -> tuple[System, Update]:
    """Adds new events: refreshes the embedding, encodes new users and items, writes the store. Nothing is trained.

    TokenRec, section 2.5.2 and figure 3. Users with new events and new items get a new vector and id; all others keep
    theirs. The store's lock is held from reading to writing, so that updates in several processes come one after the
    other and each builds on the ones before.

    Args:
      system: the result of `served`, or of an earlier update; what others have written since is read first.
      events: users and items by name, existing or new; appended to the histories in their order. Events that are
        already in the user's history, and repeats, are skipped.
    Raises:
      ValueError: the store is missing, damaged or of another run, or another process holds its lock for too long.
    """
    store = _open(system)
    with store.writing():
        system, done, items = _changed(_served(system, store), events)
        _upsert(store, system, done.users, items)
        done = dataclasses.replace(done, versions=store_versions(system))
    return system, done


def _changed(system: System, events: Interactions) -> tuple[System, Update, np.ndarray]:
    """The system with the events, what is new in it, and the items to write, i64[*]."""
    data, old = system.data, system.histories
    user_names, user = _numbered(data.user_names, events.user_names)
    item_names, item = _numbered(data.item_names, events.item_names)
    users, items = user[events.user].astype(np.int64), item[events.item].astype(np.int64)
    pairs = users * len(item_names) + items
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    is_new = first & ~np.isin(pairs, old.users.astype(np.int64) * len(item_names) + old.items)
    users, items = users[is_new], items[is_new]
    order = np.argsort(users, kind="stable")
    counts = np.bincount(users, minlength=len(user_names))
    added = Histories(np.concatenate([[0], np.cumsum(counts)]), items[order].astype(np.int32), len(item_names))
    before = np.concatenate([old.offsets, np.full(len(user_names) - old.n_users, old.n_events)])
    histories = join_histories(Histories(before, old.items, len(item_names)), added)

    titles = np.concatenate([data.titles(), events.titles()[_first_rows(item, len(data.item_names))]])
    data = dataclasses.replace(
        data, user_names=user_names, item_names=item_names, item_titles=titles, item_attributes=None
    )
    new_items = np.arange(system.data.n_items, len(item_names))
    changed = np.unique(users)
    done = Update(changed, len(users), len(user_names) - system.data.n_users, len(new_items), int((~is_new).sum()))
    unknown = np.flatnonzero(~system.embedding.vectors.item.any(axis=1))  # in the data, but without an event so far
    system = add_newcomers(system, histories, changed, np.union1d(new_items, np.intersect1d(unknown, items)))
    return dataclasses.replace(system, data=data), done, np.union1d(new_items, np.unique(items))


def _numbered(old_names: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The old names followed by the new ones, and the number of each of `names`."""
    position = {str(name): i for i, name in enumerate(old_names)}
    numbers = np.array([position.setdefault(str(name), len(position)) for name in names], np.int64)
    return np.array(list(position), object), numbers


def _first_rows(numbers: np.ndarray, n_old: int) -> np.ndarray:
    """The row of each new number, in the order of the numbers."""
    rows = np.flatnonzero(numbers >= n_old)
    return rows[np.argsort(numbers[rows])]


def _upsert(store: LanceStore, system: System, users: np.ndarray, items: np.ndarray) -> None:
    """Writes items first, so that a reader never sees a history with a missing item.

    Raises:
      ValueError: the store numbers them otherwise than the system does, as somebody wrote without its lock.
    """
    data, vectors, ids = system.data, system.embedding.vectors, system.ids
    names, titles = data.item_names[items], data.titles()[items]
    rows = Entities.of(names, vectors.item[items], ids.items.codes.values[items], titles)
    _check_numbers(store, items, store.upsert("items", rows))
    histories = [system.histories.of(user) for user in users]
    names = data.user_names[users]
    rows = Entities.of(names, vectors.user[users], ids.users.codes.values[users], None, histories)
    _check_numbers(store, users, store.upsert("users", rows))


def _check_numbers(store: LanceStore, ours: np.ndarray, stored: np.ndarray) -> None:
    if not np.array_equal(ours, stored):
        raise ValueError(f"{store.path}: somebody else wrote meanwhile, without the lock; give the same update again")
