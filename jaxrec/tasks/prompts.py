"""The templates: eleven ways to ask each question, ten for training and one kept unseen."""

from __future__ import annotations

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Template:
    """A prompt with slots.

    Attributes:
      task: "sequential", "collaborative" or "direct".
      source: what the encoder reads; `{user}` and `{history}` stand for ids.
      seen: False for the one template that training never uses.
    """

    task: str
    source: str
    seen: bool = True

    @property
    def slots(self) -> list[str]:
        """Slot names in the order in which they stand."""
        return re.findall(r"\{(\w+)\}", self.source)


SEQUENTIAL = (
    Template("sequential", "{user} took {history} in this order. What is next?"),
    Template("sequential", "After {history} the next choice of {user} is"),
    Template("sequential", "History of {user}: {history}. Continue it."),
    Template("sequential", "Predict what {user} picks after {history}"),
    Template("sequential", "Given {history}, name one more item for {user}"),
    Template("sequential", "{user} has just finished {history}. Which item follows?"),
    Template("sequential", "Oldest first, {user} chose {history}. Guess the newest."),
    Template("sequential", "So far: {history}. Now {user} wants"),
    Template("sequential", "Extend the list {history} for {user}"),
    Template("sequential", "Which item suits {user} right after {history}?"),
    Template("sequential", "The steps of {user} were {history}. One step further:", seen=False),
)
"""Sequential recommendation: the next item from the items before it (META ID, table 6)."""

COLLABORATIVE = (
    Template("collaborative", "{user} likes {history}. What else?"),
    Template("collaborative", "Among the items of {user} are {history}. Describe the taste behind them."),
    Template("collaborative", "Taste of {user}: {history}. It also covers"),
    Template("collaborative", "Somebody who owns {history} is {user}. What is missing?"),
    Template("collaborative", "Given the favourites {history}, find something for {user}"),
    Template("collaborative", "What goes with {history} in the collection of {user}?"),
    Template("collaborative", "{user} has picked {history}, in no special order. Match them."),
    Template("collaborative", "Collected by {user}: {history}. Add to it."),
    Template("collaborative", "Knowing {history}, tell what {user} cares for"),
    Template("collaborative", "Think of {user} and of {history}. Which item belongs there?"),
    Template("collaborative", "On the shelf of {user} stand {history}. Fill the gap.", seen=False),
)
"""Collaborative recommendation: an item from a history whose order says nothing (TokenRec, prompt 2)."""

DIRECT = (
    Template("direct", "What should {user} be offered?"),
    Template("direct", "Recommend an item to {user}"),
    Template("direct", "Pick something that {user} will like"),
    Template("direct", "The best item for {user} is"),
    Template("direct", "Name one item for {user}"),
    Template("direct", "{user} is looking for something new. Suggest an item."),
    Template("direct", "Show {user} an item worth a look"),
    Template("direct", "Which item fits {user}?"),
    Template("direct", "Today {user} may enjoy"),
    Template("direct", "Choose an item on behalf of {user}"),
    Template("direct", "If {user} came by now, which item would you present?", seen=False),
)
"""Direct recommendation: an item from the user's id alone (META ID, table 6; TokenRec, prompt 1)."""

TEMPLATES = {"sequential": SEQUENTIAL, "collaborative": COLLABORATIVE, "direct": DIRECT}


def templates(task: str, *, seen: bool = True) -> tuple[Template, ...]:
    """The templates of a task that training uses, or those kept from it.

    Raises:
      ValueError: there is no such task; names those there are.
    """
    if task not in TEMPLATES:
        raise ValueError(f"task {task!r} is not known; there are: {', '.join(TEMPLATES)}")
    return tuple(t for t in TEMPLATES[task] if t.seen == seen)


def without_user(template: Template) -> Template:
    """The template for runs without user ids: the words "the user" stand where an id would."""
    return dataclasses.replace(template, source=template.source.replace("{user}", "the user"))


def texts() -> list[str]:
    """Every template as plain text, the slots removed: what an offline tokenizer is trained on."""
    every = [t for group in TEMPLATES.values() for t in group]
    return [re.sub(r"\s*\{\w+\}", "", t.source) for t in [*every, *map(without_user, every)]]
