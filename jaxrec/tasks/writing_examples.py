"""Token ids of prompts and answers of the rating and text tasks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jaxrec.config import TaskConfig
from jaxrec.data.packing import Examples
from jaxrec.keys import generator
from jaxrec.tasks.ragged import Ragged, ragged_take
from jaxrec.tasks.ranking_examples import cut_at_slots, each_once
from jaxrec.tasks.templates import Template, training_templates, without_user
from jaxrec.tokenizers.vocabulary import Vocabulary

ANSWERS = {"rating": "stars", "preference": "stars", "explanation": "sentence", "review": "summary"}
"""The column of `TextEvents` that each task has to generate."""
NEEDS = {"rating": (), "preference": ("review",), "explanation": ("feature",), "review": ("review",)}
"""The columns that each task needs in the prompt."""
_PIECES = 9  # text, slot, text, ... : four slots at most


@dataclasses.dataclass(frozen=True)
class TextEvents:
    """Users, items, ratings and texts of n events, of which prompts and answers are made.

    Attributes:
      user: i64[n], rows of the users' tokens.
      item: i64[n], rows of the items' tokens.
      stars, feature, sentence, review, summary: strings, object[n]; "" where an event has none.
    """

    user: np.ndarray
    item: np.ndarray
    stars: np.ndarray
    feature: np.ndarray
    sentence: np.ndarray
    review: np.ndarray
    summary: np.ndarray

    def take(self, rows: np.ndarray) -> TextEvents:
        """The events `rows`, i64[m]."""
        return TextEvents(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def usable(self, task: str, *, answered: bool = True) -> np.ndarray:
        """Events that have what a task's prompt needs and, if `answered`, its answer: bool[n]."""
        columns = (*NEEDS[task], *((ANSWERS[task],) if answered else ()))
        return np.all([getattr(self, column) != "" for column in columns] or [np.ones(len(self.user), bool)], axis=0)


class WritingPrompts:
    """Templates and events, tokenised once into one pool from which prompts and answers are cut."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompt_templates: Sequence[Template],
        texts: TextEvents,
        item_tokens: np.ndarray,
        user_tokens: np.ndarray | None,
        task: TaskConfig,
    ) -> None:
        """Tokenises templates and events and lays out the pool.

        Args:
          vocabulary: text and new tokens.
          prompt_templates: the templates.
          texts: n events.
          item_tokens: i32[I, 1+L].
          user_tokens: i32[R, 1+L], the rows that `texts.user` indexes; None = no user ids.
          task: maximum numbers of tokens of a review and of an answer.
        """
        if user_tokens is None:
            prompt_templates = [without_user(template) for template in prompt_templates]
        users = np.zeros((0, 0), np.int32) if user_tokens is None else user_tokens
        n, parts, size = len(texts.user), [users.ravel(), item_tokens.ravel()], users.size + item_tokens.size
        slots = {
            "user": (texts.user * users.shape[1], np.full(n, users.shape[1])),
            "item": (users.size + texts.item * item_tokens.shape[1], np.full(n, item_tokens.shape[1])),
        }
        most = {"stars": task.max_answer, "feature": task.max_answer, "review": task.max_text}
        most |= {"sentence": task.max_answer, "summary": task.max_answer}
        self.truncated: dict[str, int] = {}
        """Number of texts of each column that were truncated."""
        for name, longest in most.items():
            values, offsets = _tokens(vocabulary, getattr(texts, name))
            lengths = np.diff(offsets)
            self.truncated[name] = int((lengths > longest).sum())
            slots[name] = size + offsets[:-1], np.minimum(lengths, longest)
            parts.append(values)
            size += len(values)
        names = list(slots)
        self._slot_starts = np.stack([slots[name][0] for name in names])
        self._slot_lengths = np.stack([slots[name][1] for name in names])
        self._kinds = np.full((len(prompt_templates), _PIECES), -1)
        self._starts, self._lengths = np.zeros((2, len(prompt_templates), _PIECES), np.int64)
        for row, template in enumerate(prompt_templates):
            for column, piece in enumerate(cut_at_slots(vocabulary, template)):
                if isinstance(piece, str):
                    self._kinds[row, column] = names.index(piece)
                else:
                    self._starts[row, column], self._lengths[row, column] = size, len(piece)
                    parts.append(piece)
                    size += len(piece)
        self._answers = np.array([names.index(ANSWERS[template.task]) for template in prompt_templates])
        self._end = size
        self._pool = np.concatenate([*parts, [vocabulary.end]]).astype(np.int32)

    def sizes(self, template: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of tokens of prompts and of answers with end of text, i64[m] each; arguments as for `prompts`."""
        return self._cut(template, row)[1].sum(1), self._slot_lengths[self._answers[template], row] + 1

    def prompts(self, template: np.ndarray, row: np.ndarray) -> Ragged:
        """Prompts from template numbers i64[m] and event numbers i64[m]."""
        starts, lengths = self._cut(template, row)
        values, ends = ragged_take(self._pool, starts.ravel(), lengths.ravel())
        return values, ends[::_PIECES]

    def answers(self, template: np.ndarray, row: np.ndarray) -> Ragged:
        """Target tokens with end of text; arguments as for `prompts`."""
        column = self._answers[template]
        starts = np.stack([self._slot_starts[column, row], np.full(len(row), self._end)], 1)
        lengths = np.stack([self._slot_lengths[column, row], np.ones(len(row), np.int64)], 1)
        values, ends = ragged_take(self._pool, starts.ravel(), lengths.ravel())
        return values, ends[::2]

    def _cut(self, template: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each piece of each prompt starts in the pool, and how long it is, i64[m, pieces]."""
        kinds, event = self._kinds[template], row[:, None]
        text = kinds < 0
        starts = np.where(text, self._starts[template], self._slot_starts[kinds, event])
        return starts, np.where(text, self._lengths[template], self._slot_lengths[kinds, event])


class WritingExamples:
    """One example per task and event that it can use; templates are redrawn every epoch.

    Implements the `Examples` that `jaxrec.data.packing.packed` reads.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        texts: TextEvents,
        rows: np.ndarray,
        item_tokens: np.ndarray,
        user_tokens: np.ndarray | None,
        *,
        task: TaskConfig,
        seed: int = 0,
    ) -> None:
        """Tokenises the examples.

        Args:
          vocabulary: see `WritingPrompts`.
          texts: see `WritingPrompts`.
          rows: i64[*], the events to use.
          item_tokens: see `WritingPrompts`.
          user_tokens: see `WritingPrompts`.
          task: tasks, their weights, and maximum lengths of texts.
          seed: of the templates drawn and, if a task's weight is not 1, of its events.
        Raises:
          ValueError: a task can use none of the events.
        """
        groups = {name: training_templates(name, task.prompt_vectors) for name in task.writing}
        self.questions = WritingPrompts(
            vocabulary, [t for group in groups.values() for t in group], texts, item_tokens, user_tokens, task
        )
        self._parts = []  # (first template, number of templates, events, examples per epoch) of each task
        first = 0
        for name, group in groups.items():
            events = rows[texts.usable(name)[rows]]
            if not len(events):
                raise ValueError(
                    f"task {name!r} can be asked of none of {len(rows):,} events; leave it out of task.tasks"
                )
            self._parts.append((first, len(group), events, round(len(events) * task.weight(name))))
            first += len(group)
        self._seed = seed
        self._draw = functools.lru_cache(maxsize=2)(self._draw_epoch)

    def __len__(self) -> int:
        return sum(size for *_, size in self._parts)

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target lengths of every example of an epoch, i64[n] each."""
        return self.questions.sizes(*self._draw(epoch))

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source values and offsets, target values and offsets of some examples of an epoch."""
        template, row = (drawn[indices] for drawn in self._draw(epoch))
        return *self.questions.prompts(template, row), *self.questions.answers(template, row)

    def _draw_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Template and event of every example of an epoch."""
        draw = generator(self._seed, f"writing prompts of epoch {epoch}")
        template, row = [], []
        for first, count, events, size in self._parts:
            template.append(first + draw.integers(0, count, size))
            row.append(events[each_once(len(events), size, draw)])
        return np.concatenate(template), np.concatenate(row)


class MixedExamples:
    """Several sets of examples concatenated into one."""

    def __init__(self, *parts: Examples) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target lengths of every example of an epoch, i64[n] each."""
        source, target = zip(*(part.lengths(epoch) for part in self.parts))
        return np.concatenate(source), np.concatenate(target)

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source values and offsets, target values and offsets of some examples of an epoch."""
        begins = np.cumsum([0, *map(len, self.parts)])
        part = np.searchsorted(begins, indices, side="right") - 1
        built = [examples.build(indices[part == n] - begins[n], epoch) for n, examples in enumerate(self.parts)]
        place = np.empty(len(indices), np.int64)  # position of each example once the parts are concatenated
        place[np.argsort(part, kind="stable")] = np.arange(len(indices))
        source, target = (_ordered([(b[k], b[k + 1]) for b in built], place) for k in (0, 2))
        return *source, *target


def _ordered(parts: Sequence[Ragged], place: np.ndarray) -> Ragged:
    """Concatenates ragged arrays and reorders their rows: row i of the result is row place[i]."""
    pool, sizes = np.concatenate([values for values, _ in parts]), np.concatenate([np.diff(o) for _, o in parts])
    starts = np.cumsum(sizes) - sizes
    return ragged_take(pool, starts[place], sizes[place])


def _tokens(vocabulary: Vocabulary, texts: np.ndarray) -> Ragged:
    """Tokens of user-written texts without special tokens; equal texts are tokenised once."""
    distinct, number = np.unique(texts.astype(str), return_inverse=True)
    rows = vocabulary.written(distinct.tolist())
    lengths = np.array([len(row) for row in rows], np.int64)
    starts = np.cumsum(lengths) - lengths
    pool = np.concatenate([np.zeros(0, np.int32), *rows])
    return ragged_take(pool, starts[number], lengths[number])


def stars_text(rating: float) -> str:
    """A rating as text, in prompts and answers: "4", "3.5"."""
    return f"{rating:g}"
