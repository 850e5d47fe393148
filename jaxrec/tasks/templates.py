"""Prompt templates: of most tasks eleven, ten for training and one unseen in training."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Template:
    """A prompt with slots.

    Attributes:
      task: one of `TEMPLATES`.
      source: the encoder's text; `{user}`, `{item}` and `{history}` stand for ids, `{feature}`, `{stars}` and
        `{review}` for text.
      seen: False for the one template that training does not use.
      words: False for prompts of ids and prompt vectors alone, see `prompts`.
    """

    task: str
    source: str
    seen: bool = True
    words: bool = True

    @property
    def slots(self) -> list[str]:
        """Slot names in their order in the text."""
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
"""Collaborative recommendation: an item from a history in random order (TokenRec, prompt 2)."""

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

AUTOREGRESSIVE = (
    Template("autoregressive", "{user} chose {history}"),
    Template("autoregressive", "Choices of {user}: {history}", seen=False),
)
"""The history as one sequence; it comes last, so that each of its items is followed by what it predicts."""

RATING = (
    Template("rating", "How many stars does {user} give to {item}?"),
    Template("rating", "{user} rates {item} with"),
    Template("rating", "Guess the rating of {item} by {user}"),
    Template("rating", "Stars from {user} for {item}:"),
    Template("rating", "On the scale of this shop, how much does {user} like {item}?"),
    Template("rating", "{item} was rated by {user}. The number of stars is"),
    Template("rating", "Which score will {item} get from {user}?"),
    Template("rating", "Estimate what {user} thinks of {item}, in stars"),
    Template("rating", "Between worst and best, where does {user} put {item}?"),
    Template("rating", "If {user} had to rate {item}, the stars would be"),
    Template("rating", "{user} is about to score {item}. Foretell the score.", seen=False),
)
"""Rating prediction: stars for a user and an item (META ID, table 6)."""

EXPLANATION = (
    Template("explanation", "With the word {feature}, explain to {user} why {item} is or is not for them"),
    Template("explanation", "What does {user} say about the {feature} of {item}?"),
    Template("explanation", "Write one sentence on {feature} that {user} would write about {item}"),
    Template("explanation", "{item}, {user}, {feature}: put the opinion into a sentence"),
    Template("explanation", "Talk about {feature} of {item} in the voice of {user}"),
    Template("explanation", "Tell in a sentence how {user} finds {item}; mention {feature}"),
    Template("explanation", "About {feature}: a remark by {user} on {item}"),
    Template("explanation", "{user} gave {stars} stars to {item}. Explain that with {feature}."),
    Template("explanation", "A sentence of {user} with {feature} that fits {stars} stars for {item}"),
    Template("explanation", "Given {stars} stars, what is said of {feature} by {user} about {item}?"),
    Template("explanation", "Comment on the {feature} of {item} as {user} would", seen=False),
)
"""Explanation: a sentence about a feature word, for a user and an item (META ID, table 7). Only some
templates give the stars."""

REVIEW = (
    Template("review", "Give a title to this review by {user}: {review}"),
    Template("review", "Sum up in a few words what {user} wrote: {review}"),
    Template("review", "{review} These were the words of {user}. In short:"),
    Template("review", "Shorten to a headline: {review}"),
    Template("review", "A headline of {user} for the review {review}"),
    Template("review", "What would {user} put above this text? {review}"),
    Template("review", "Review by {user}: {review} Summary:"),
    Template("review", "Boil this down: {review}"),
    Template("review", "The gist of what {user} says here: {review}"),
    Template("review", "Name this review. {review}"),
    Template("review", "In the fewest words, {user} means: {review}", seen=False),
)
"""Review summarization: a short title for a review (META ID, table 7)."""

PREFERENCE = (
    Template("preference", "How many stars go with this review by {user}? {review}"),
    Template("preference", "{review} So wrote {user}. Stars:"),
    Template("preference", "Read the rating out of the words: {review}"),
    Template("preference", "{user} wrote: {review} How satisfied is that, in stars?"),
    Template("preference", "Which rating fits the text {review}"),
    Template("preference", "From this review, guess what {user} gave: {review}"),
    Template("preference", "Stars for these words of {user}: {review}"),
    Template("preference", "Is {user} happy? {review} In stars:"),
    Template("preference", "The review says {review} and the stars say"),
    Template("preference", "Turn the opinion of {user} into stars: {review}"),
    Template("preference", "What score stands beside this text by {user}? {review}", seen=False),
)
"""Review preference: the stars that go with a review (META ID, table 13)."""

TEMPLATES = {
    "sequential": SEQUENTIAL,
    "collaborative": COLLABORATIVE,
    "direct": DIRECT,
    "autoregressive": AUTOREGRESSIVE,
    "rating": RATING,
    "explanation": EXPLANATION,
    "review": REVIEW,
    "preference": PREFERENCE,
}


def templates(task: str, *, seen: bool = True) -> tuple[Template, ...]:
    """The templates of a task that training uses (`seen`), or those it does not use.

    Raises:
      ValueError: the task is unknown; the message lists all.
    """
    if task not in TEMPLATES:
        raise ValueError(f"task {task!r} is not known; there are: {', '.join(TEMPLATES)}")
    return tuple(t for t in TEMPLATES[task] if t.seen == seen)


def prompt_vector_names(tasks: Sequence[str], vectors: int) -> tuple[str, ...]:
    """Names of the tokens whose embeddings are the tasks' prompt vectors, `<sequential:1>` and so on."""
    return tuple(f"<{task}:{n + 1}>" for task in tasks for n in range(vectors))


def training_templates(task: str, vectors: int = 0) -> tuple[Template, ...]:
    """The templates that training draws from, behind the task's prompt vectors where it has any.

    Args:
      task: one of `TEMPLATES`.
      vectors: number of prompt vectors a task.
    Raises:
      ValueError: see `templates`.
    """
    front = "".join(prompt_vector_names([task], vectors))
    return tuple(dataclasses.replace(t, source=f"{front} {t.source}".strip()) for t in templates(task))


def answered_template(task: str, *, seen: bool = True, vectors: int = 0) -> Template:
    """The template of the prompts that are answered in validation, evaluation and use.

    With prompt vectors they have no words: vectors that stood before every template in training hold what the words
    said, and a prompt is these and the ids alone (POD; Li et al. 2023).

    Args:
      task: one of `TEMPLATES`.
      seen: whether training uses the template; not read with prompt vectors.
      vectors: number of prompt vectors a task.
    Raises:
      ValueError: see `templates`.
    """
    if not vectors:
        return templates(task, seen=seen)[0]
    slots = [slot for slot in ("user", "item", "history", "feature", "review") if slot in templates(task)[0].slots]
    front = "".join(prompt_vector_names([task], vectors))
    return Template(task, f"{front} {' '.join(f'{{{slot}}}' for slot in slots)}", words=False)


def without_user(template: Template) -> Template:
    """The template for runs without user ids: the words "the user" replace the id, or nothing where it has no words."""
    if not template.words:
        return dataclasses.replace(template, source=template.source.replace(" {user}", ""))
    return dataclasses.replace(template, source=template.source.replace("{user}", "the user"))


def template_texts(tasks: Sequence[str] = ()) -> list[str]:
    """Templates as plain text without slots, on which the offline tokenizer is trained.

    Args:
      tasks: tasks to include; those of the papers that rank items are always included.
    """
    always = ("sequential", "collaborative", "direct")
    all_templates = [t for task in dict.fromkeys((*always, *tasks)) for t in TEMPLATES[task]]
    return [re.sub(r"\s*\{\w+\}", "", t.source) for t in [*all_templates, *map(without_user, all_templates)]]
