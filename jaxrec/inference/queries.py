"""Requests for recommendations by name, resolved to numbers and answered many at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.recommend.batches import MULTIPLE
from jaxrec.recommend.retrieval import VectorRecommender
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.system.system import System, main_prompt, steady_user_codes
from jaxrec.tasks.ragged import histories_of
from jaxrec.text import listed, quoted
from jaxrec.types import Histories, TopK


@dataclasses.dataclass(frozen=True)
class Names:
    """The numbers of all users and items of a system by name."""

    users: dict[str, int]
    items: dict[str, int]

    @classmethod
    def of(cls, system: System, before: Names | None = None) -> Names:
        """The names of a system.

        Args:
          system: whose names.
          before: of the same run with fewer users and items, to which only the new ones are added; None: none.
        """
        data, old = system.data, before or cls({}, {})
        return cls(_with_new(old.users, data.user_names), _with_new(old.items, data.item_names))

    def user(self, name: str) -> int:
        """Raises ValueError if the name is unknown."""
        return numbers_in(self.users, [name], "user")[0]

    def items_of(self, names: Sequence[str]) -> np.ndarray:
        """Numbers i32[n]; raises ValueError if a name is unknown."""
        return np.asarray(numbers_in(self.items, names, "item"), np.int32)


@dataclasses.dataclass(frozen=True)
class Query:
    """Whom to recommend to, and what may be listed, in numbers.

    Attributes:
      user: a user of the system; None: somebody new.
      history: of somebody new, oldest first, i32[n]; of a user, the current history.
      exclude: items to leave out, i32[*].
      allow: the only items that may be listed, i32[*]; None: all.
      include_seen: whether items of the history may be listed.
    """

    user: int | None
    history: np.ndarray
    exclude: np.ndarray
    allow: np.ndarray | None
    include_seen: bool


def query(
    system: System,
    names: Names,
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    allow: Sequence[str] | None = None,
    include_seen: bool | None = None,
) -> Query:
    """A request in numbers.

    Args:
      system: that will answer.
      names: of the system.
      user: name of a user.
      history: names of somebody new's items, oldest first, instead of a user.
      exclude: names of items to leave out.
      allow: names of the only items that may be listed; None: all.
      include_seen: whether items of the history may be listed; None: unless the config's eval.mask_seen is set.
    Raises:
      ValueError: both or neither of user and history are given, or a name is unknown.
    """
    if (user is None) == (history is None):
        raise ValueError("give either a user's name or a history, names of items")
    number = None if user is None else names.user(user)
    return Query(
        number,
        names.items_of(history or ()) if number is None else system.histories.of(number),
        names.items_of(exclude),
        None if allow is None else names.items_of(allow),
        not system.config.eval.mask_seen if include_seen is None else include_seen,
    )


def ranking_task(system: System, task: str | None) -> str:
    """The task, or the run's main one where it is None.

    Raises:
      ValueError: the run was not trained on it, or ranks no items.
    """
    trained = system.config.task.ranking
    if not trained:
        raise ValueError(f"{system.folder} ranks no items; ask it with jaxrec ask")
    if task is not None and task not in trained:
        raise ValueError(f"task {quoted(task)} was not trained in this run; it knows {', '.join(trained)}")
    return task or trained[0]


def check_k(system: System, k: int) -> None:
    """Raises ValueError if k is not between 1 and the number of items."""
    if not 1 <= k <= system.data.n_items:
        raise ValueError(f"k={k} is not between 1 and the {system.data.n_items} items of this catalogue")


def prompts(system: System, queries: Sequence[Query], task: str) -> np.ndarray:
    """The prompt of each query, i32[B,S], padded with 0."""
    rows: list[np.ndarray] = [np.zeros(0, np.int32)] * len(queries)
    for is_new in (False, True):
        places = [n for n, asked in enumerate(queries) if (asked.user is None) == is_new]
        if not places:
            continue
        if is_new:
            histories = _histories_of_strangers(system, queries)
            codes, draw = steady_user_codes(system, histories, None), np.zeros(len(places), np.int64)
        else:
            draw = np.array([queries[n].user for n in places], np.int64)
            histories = histories_of(system.histories, draw)
            codes = steady_user_codes(system, histories, draw)
        ask = system.asker(histories, codes, task, main_prompt(system.config.eval.prompt))
        for n, row in zip(places, ask(np.arange(len(places)), draw), strict=True):
            rows[n] = row
    source = np.zeros((len(rows), max(map(len, rows), default=1)), np.int32)
    for place, row in zip(source, rows, strict=True):
        place[: len(row)] = row
    return source


def longest_prompt(system: System) -> int:
    """Tokens of a ranking task's longest prompt, a multiple of `MULTIPLE`."""
    settings = system.config.task
    longest = np.arange(min(settings.max_history, system.data.n_items), dtype=np.int32)
    stranger = Query(None, longest, np.zeros(0, np.int32), None, True)
    lengths = [prompts(system, [stranger], task).shape[1] for task in settings.ranking]
    return -(-max(lengths) // MULTIPLE) * MULTIPLE


def recommender(system: System, queries: Sequence[Query]) -> TrieRecommender | VectorRecommender:
    """The recommender for the prompts of some queries; of as many queries, it is of the same shape."""
    if not system.config.task.collaborative_tokens.hidden:
        return system.recommender
    strangers = _histories_of_strangers(system, queries)
    more = len(queries) - strangers.n_users
    padded = Histories(np.pad(strangers.offsets, (0, more), mode="edge"), strangers.items, strangers.n_items)
    return system.recommender_to(padded)


def _histories_of_strangers(system: System, queries: Sequence[Query]) -> Histories:
    """The histories of those who are somebody new, in their order."""
    items = [asked.history for asked in queries if asked.user is None]
    offsets = np.cumsum([0, *map(len, items)], dtype=np.int64)
    return Histories(offsets, np.concatenate([np.zeros(0, np.int32), *items]), system.data.n_items)


def allowed_items(system: System, queries: Sequence[Query]) -> np.ndarray:
    """Which items may be listed for each query, bool[B,I]."""
    mask = np.ones((len(queries), system.data.n_items), bool)
    for row, asked in zip(mask, queries, strict=True):
        if asked.allow is not None:
            row[:] = False
            row[asked.allow] = True
        row[asked.exclude] = False
        if not asked.include_seen:
            row[asked.history] = False
    return mask


def top_k(system: System, queries: Sequence[Query], k: int, task: str) -> TopK:
    """The best k items for each query; -1 with -inf where fewer may be listed.

    Args:
      system: that answers.
      queries: from `query`.
      k: number of items, from `check_k`.
      task: from `ranking_task`.
    """
    return recommender(system, queries)(prompts(system, queries, task), None, k, allowed_items(system, queries))


def history_of(system: System, asked: Query) -> Histories:
    """The history that a query is answered from, alone."""
    return Histories(np.array([0, len(asked.history)]), asked.history, system.data.n_items)


def user_id(system: System, asked: Query) -> str:
    """The user's id in the prompt, `<User><CT3><CI17>`; "" without user ids."""
    users = None if asked.user is None else np.array([asked.user])
    return system.user_name(steady_user_codes(system, history_of(system, asked), users), 0)


def why_fewer(system: System, asked: Query, n: int, k: int) -> str:
    """Why a list has n items of the k that were wanted; "" where it has k.

    Beam search, retrieval and exact scoring all list k items wherever k may be listed.
    """
    if n >= k:
        return ""
    left = int(allowed_items(system, [asked]).sum()) - n
    if left:  # retrieval lists no item without a vector
        return f"{n} of {k} items: the other {left} that may be listed have no event yet, and so no vector"
    return none_left(n, k, some_allowed=asked.allow is not None)


def none_left(n: int, k: int, *, some_allowed: bool) -> str:
    """Why a list has n items of the k that were wanted, where no other may be listed; "" where it has k.

    Args:
      n: number of listed items.
      k: number of wanted items.
      some_allowed: whether the request names the only items that may be listed.
    """
    if n >= k:
        return ""
    reason = "no other allowed item is left" if some_allowed else "all others of the catalogue are excluded"
    return f"{n} of {k} items: {reason}"


def _with_new(numbers: dict[str, int], names: np.ndarray) -> dict[str, int]:
    """Numbers of all names; those that come after `numbers` are new."""
    if len(names) == len(numbers):
        return numbers
    first = len(numbers)
    return numbers | {str(name): first + i for i, name in enumerate(names[first:])}


def numbers_in(numbers: dict[str, int], names: Sequence[str], entity: str) -> list[int]:
    """The numbers of some names.

    Args:
      numbers: of all users or items by name.
      names: to look up.
      entity: "user" or "item", for messages.
    Raises:
      ValueError: a name is unknown.
    """
    for name in names:
        if name not in numbers:
            some = listed(list(numbers)[:3])
            raise ValueError(f"{entity} {quoted(name)} is not in this run's data; names look like: {some}")
    return [numbers[name] for name in names]
