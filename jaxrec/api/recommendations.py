"""Recommendations and answers, as records that print well."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import polars as pl

from jaxrec.api.display import html_table
from jaxrec.recommend.recommendations import RecommendationList


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
      item: name of the item in the data.
      title: its title; the name where the data has no titles.
      score: log-probability of its id, cosine similarity, or a blend's weighted log-probability; higher is better.
      id_tokens: its id, as tokens: "<Item><CT3><CI17>"; "" in a blend's list.
      held_out: whether it is this user's test item.
      shares: in a blend's list, the share of each part in the score by name: how far the part lifts the item above its
        mean over the catalogue, relative to the sum over the parts (of absolute values); None in a run's list.
    """

    item: str
    title: str
    score: float
    id_tokens: str
    held_out: bool
    shares: Mapping[str, float] | None = None


class Recommendations(Sequence[Recommendation]):
    """One user's recommendations, best first; prints with the history they are based on.

    Attributes:
      note: why there are fewer than k items; "" where there are k.
    """

    def __init__(self, items: Sequence[Recommendation], shown: RecommendationList) -> None:
        self._items, self._shown = tuple(items), shown

    @property
    def note(self) -> str:
        """See the class."""
        return self._shown.note

    @overload
    def __getitem__(self, index: int) -> Recommendation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Recommendation, ...]: ...
    def __getitem__(self, index: int | slice) -> Recommendation | tuple[Recommendation, ...]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self._items)

    def to_frame(self) -> pl.DataFrame:
        """A row per item, best first: "item", "title", "score", "id_tokens", "held_out"; of a blend, "share: PART"."""
        schema = {"item": pl.String, "title": pl.String, "score": pl.Float64, "id_tokens": pl.String}
        schema |= {"held_out": pl.Boolean}
        parts = dict.fromkeys(part for item in self._items for part in item.shares or ())
        rows = [
            [*(getattr(item, column) for column in schema), *((item.shares or {}).get(part) for part in parts)]
            for item in self._items
        ]
        return pl.DataFrame(rows, schema=schema | {f"share: {part}": pl.Float64 for part in parts}, orient="row")

    def __repr__(self) -> str:
        return str(self._shown)

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        caption = f"{self._shown.who}: recommendations, {self._shown.score}"
        return html_table(frame.columns, frame.rows(), caption, self.note)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The model's answer about an item or a review; prints as a line.

    Attributes:
      about: the item's title; "" where the prompt is about a review.
      text: the generated text, or the predicted stars with the probability of each rating.
    """

    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}" if self.about else self.text
