"""Token ids of prompts and answers of the ranking tasks: templates are tokenised once, ids are spliced in."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Sequence

import numpy as np

from jaxrec.config import TaskConfig
from jaxrec.keys import generator
from jaxrec.tasks.ragged import Ragged, ragged_range, ragged_take, shuffle_rows
from jaxrec.tasks.templates import Template, training_templates, without_user
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Histories

_TEXT, _USER, _HISTORY = 0, 1, 2
_PIECES = 5  # text, slot, text, slot, text


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Tokenised templates, and the arrays that prompts are cut from.

    A prompt is five pieces, each a slice of one pool, which holds the templates' texts, the tokens of users and the
    tokens of all events (a history is one slice per item). So a batch of prompts is one gather.

    Attributes:
      pool: i32[*], texts | users | events.
      kinds: i32[templates, 5], text, user or history.
      starts: i64[templates, 5], where a text piece starts in the pool.
      lengths: i64[templates, 5], how long a text piece is.
      user_start, event_start: where the users' and the events' tokens start in the pool.
      user_width, item_width: number of tokens of a user or an item (prefix and codes); user_width 0 = no user ids.
      answer_width: number of those of an item's tokens that an answer has: all but collaborative ones.
      end: the end-of-text token, which ends an answer.
    """

    pool: np.ndarray
    kinds: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    user_start: int
    event_start: int
    user_width: int
    item_width: int
    answer_width: int
    end: int

    @classmethod
    def make(
        cls,
        vocabulary: Vocabulary,
        prompt_templates: Sequence[Template],
        item_tokens: np.ndarray,
        histories: Histories,
        user_tokens: np.ndarray | None,
    ) -> Prompts:
        """Tokenises the templates and lays out the pool.

        Args:
          vocabulary: text and new tokens.
          prompt_templates: the templates.
          item_tokens: i32[I, 1+L], the last of which may be collaborative ones, beyond the vocabulary.
          histories: the events that prompts and answers are cut from.
          user_tokens: i32[R, 1+L], the rows that the `user` of `splice` indexes; None = no user ids.
        """
        if user_tokens is None:
            prompt_templates = [without_user(t) for t in prompt_templates]
        kinds = np.full((len(prompt_templates), _PIECES), _TEXT, np.int32)
        starts = np.zeros((len(prompt_templates), _PIECES), np.int64)
        lengths = np.zeros((len(prompt_templates), _PIECES), np.int64)
        texts: list[np.ndarray] = []
        for row, template in enumerate(prompt_templates):
            for column, piece in enumerate(cut_at_slots(vocabulary, template)):
                if isinstance(piece, str):
                    kinds[row, column] = {"user": _USER, "history": _HISTORY}[piece]
                else:
                    starts[row, column] = sum(map(len, texts))
                    lengths[row, column] = len(piece)
                    texts.append(piece)
        text = np.concatenate(texts)
        users = np.zeros((0, 0), np.int32) if user_tokens is None else user_tokens
        pool = np.concatenate([text, users.ravel(), item_tokens[histories.items].ravel()]).astype(np.int32)
        user_start, event_start = len(text), len(text) + users.size
        widths = users.shape[1], item_tokens.shape[1], int((item_tokens[:1] < vocabulary.size).sum())
        return cls(pool, kinds, starts, lengths, user_start, event_start, *widths, vocabulary.end)

    def sizes(self, template: np.ndarray, history: np.ndarray) -> np.ndarray:
        """Numbers of tokens of prompts, i64[n], from template numbers i32[n] and history lengths in items i64[n]."""
        kinds = self.kinds[template]
        return (
            self.lengths[template].sum(1)
            + (kinds == _USER).sum(1) * self.user_width
            + (kinds == _HISTORY).sum(1) * self.item_width * history
        )

    def splice(self, template: np.ndarray, user: np.ndarray, events: Ragged) -> Ragged:
        """Prompts with their ids in place.

        Args:
          template: i32[n], template numbers.
          user: i64[n], rows of `user_tokens` (ignored without user ids).
          events: event numbers of each history in the order of the prompt; empty for a template without a history.
        """
        numbers, offsets = events
        kinds, starts, lengths = self.kinds[template], self.starts[template], self.lengths[template]
        starts = np.where(kinds == _USER, self.user_start + user[:, None] * self.user_width, starts)
        lengths = np.where(kinds == _USER, self.user_width, lengths)
        counts = np.where(kinds == _HISTORY, np.diff(offsets)[:, None], 1).ravel()  # a history is a piece an item
        is_event = np.repeat((kinds == _HISTORY).ravel(), counts)
        starts, lengths = np.repeat(starts.ravel(), counts), np.repeat(lengths.ravel(), counts)
        starts[is_event] = self.event_start + numbers * self.item_width
        lengths[is_event] = self.item_width
        values, ends = ragged_take(self.pool, starts, lengths)
        return values, ends[np.concatenate([[0], np.cumsum(counts.reshape(kinds.shape).sum(1))])]

    def answers(self, event: np.ndarray) -> Ragged:
        """Target tokens of events i64[n]: the item's id and the end of text."""
        rows = self.event_start + event[:, None] * self.item_width + np.arange(self.answer_width)
        tokens = np.concatenate([self.pool[rows], np.full((len(event), 1), self.end, np.int32)], 1)
        return tokens.ravel(), np.arange(len(event) + 1, dtype=np.int64) * tokens.shape[1]


def cut_at_slots(vocabulary: Vocabulary, template: Template) -> list[np.ndarray | str]:
    """A template's tokens cut at its slots, with the tokens that the tokenizer adds around a prompt."""
    marker = vocabulary.new_tokens[0]  # new tokens split the text: neighbours of a slot can't change
    tokens = vocabulary.prompt(template.source.format(**dict.fromkeys(template.slots, marker)))
    slots = np.flatnonzero(tokens == vocabulary.first_oov)
    pieces: list[np.ndarray | str] = []
    start = 0
    for slot, name in zip(slots, template.slots, strict=True):
        pieces += [tokens[start:slot], name]
        start = slot + 1
    return [*pieces, tokens[start:]]


class RankingExamples:
    """One example per ranking task and training event with a history; templates are redrawn every epoch.

    Implements the `Examples` that `jaxrec.data.packing.packed` reads.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        item_tokens: np.ndarray,
        histories: Histories,
        user_tokens: np.ndarray | None,
        *,
        user_rows: str = "users",
        answer: str = "id",
        task: TaskConfig,
        seed: int = 0,
    ) -> None:
        """Lays out the examples of a training set.

        Args:
          vocabulary: text and new tokens.
          item_tokens: i32[I, 1+L].
          histories: training histories.
          user_tokens: i32[U, 1+L], or i32[N, 1+L] if each event has its own user id; None = no user ids.
          user_rows: "users" or "events", what the rows of `user_tokens` stand for.
          answer: "id", the target's tokens and end of text, or "vector", the numbers (item, user) of the target.
          task: tasks, their weights, and the maximum history length.
          seed: of templates, direct targets and shuffled histories.
        Raises:
          ValueError: a task is unknown, the direct task has no user ids, or no user has two events.
        """
        if "direct" in task.ranking and user_tokens is None:
            raise ValueError("task 'direct' needs user ids; set ids.users or leave the task out")
        groups = [training_templates(name, task.prompt_vectors) for name in task.ranking]
        prompt_templates = [t for group in groups for t in group]
        self.prompts = Prompts.make(vocabulary, prompt_templates, item_tokens, histories, user_tokens)
        start = np.repeat(histories.offsets[:-1], np.diff(histories.offsets))
        all_events = np.arange(histories.n_events)
        self.event = np.flatnonzero(all_events > start)
        if not len(self.event):
            raise ValueError("no user has two training events, so there is nothing to predict")
        self.available = np.minimum(self.event - start[self.event], task.max_history)
        self.user = (all_events if user_rows == "events" else histories.users)[self.event]
        self.labels = np.stack([histories.items, histories.users], 1)
        self.answer, self.seed = answer, seed
        self.shows = np.array(["history" in t.slots for t in prompt_templates])
        self.shuffles = np.array([task.shuffle and t.task == "collaborative" for t in prompt_templates])
        n = len(self.event)
        # (first template, number of templates, examples per epoch) of each task
        firsts = np.cumsum([0, *map(len, groups)])
        self.shares = [
            (int(first), len(group), round(n * task.weight(name)))
            for first, group, name in zip(firsts, groups, task.ranking)
        ]
        self._draw = functools.lru_cache(maxsize=2)(self._draw_epoch)

    def __len__(self) -> int:
        return sum(size for _, _, size in self.shares)

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target lengths of every example of an epoch, i64[n] each."""
        template, row = self._draw(epoch)
        source = self.prompts.sizes(template, self.available[row])
        target = self.labels.shape[1] if self.answer == "vector" else self.prompts.answer_width + 1
        return source, np.full(len(row), target, np.int64)

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source values and offsets, target values and offsets of some examples of an epoch."""
        template, row = (drawn[indices] for drawn in self._draw(epoch))
        event, length = self.event[row], np.where(self.shows[template], self.available[row], 0)
        seed = zlib.crc32(f"shuffles of {self.seed}, epoch {epoch}".encode()) << 32
        order = indices.astype(np.uint64) + np.uint64(seed)
        history = shuffle_rows(ragged_range(event - length, length), self.shuffles[template], order)
        return *self.prompts.splice(template, self.user[row], history), *self._answers(event)

    def _answers(self, event: np.ndarray) -> Ragged:
        if self.answer == "id":
            return self.prompts.answers(event)
        labels = self.labels[event]
        return labels.ravel(), np.arange(len(event) + 1, dtype=np.int64) * labels.shape[1]

    def _draw_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Template and target (a row of `event`) of every example of an epoch."""
        draw = generator(self.seed, f"prompts of epoch {epoch}")
        template, row = [], []
        for first, count, size in self.shares:
            template.append(first + draw.integers(0, count, size))
            row.append(each_once(len(self.event), size, draw))
        return np.concatenate(template), np.concatenate(row)


def each_once(n: int, size: int, draw: np.random.Generator) -> np.ndarray:
    """`size` random numbers below n; every number comes once before any is repeated."""
    rounds = [draw.permutation(n) for _ in range(-(-size // n))]
    return np.concatenate([np.zeros(0, np.int64), *rounds])[:size]


def recent_events(histories: Histories, users: np.ndarray, max_history: int) -> Ragged:
    """Event numbers of the newest `max_history` events of users i64[n], oldest first."""
    end = histories.offsets[users + 1]
    length = np.minimum(end - histories.offsets[users], max_history)
    return ragged_range(end - length, length)
