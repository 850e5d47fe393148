"""A trained run: its results and report, and what is asked of it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

from jaxrec import experiment
from jaxrec.api.data import events_config
from jaxrec.api.recommendations import Answer, Recommendation, Recommendations
from jaxrec.api.results import Results
from jaxrec.config import Config
from jaxrec.data.load import load_interactions
from jaxrec.export.push import ABOUT_USERS, push
from jaxrec.export.whole_system import export
from jaxrec.report.run_report import REPORT_FILE
from jaxrec.serve import newcomers, service
from jaxrec.system import loading
from jaxrec.system.system import System

Part = Literal["valid", "test"]
EXPORTED_ABOUT_USERS = ABOUT_USERS
"""Files of an export that hold names and histories of users."""


@dataclasses.dataclass(frozen=True)
class Update:
    """What new events brought; prints as a line.

    Attributes:
      users: names of those with new events.
      events, new_users, new_items: how many were new.
      known_events: how many were known already, and skipped.
    """

    users: tuple[str, ...]
    events: int
    new_users: int
    new_items: int
    known_events: int

    def __str__(self) -> str:
        skipped = f" ({self.known_events} were known already)" if self.known_events else ""
        return f"{self.events} new events{skipped}, {self.new_users} new users, {self.new_items} new items"


class TrainedRun:
    """A run that `jaxrec.train` made or `jaxrec.load` read; all of it lies in its folder.

    It recommends from the run's store: to newcomers of earlier updates, too.
    """

    def __init__(self, system: System) -> None:
        self._trained = system
        self._current: System | None = None

    @property
    def folder(self) -> pathlib.Path:
        """Where everything about the run lies."""
        return self._trained.folder

    @property
    def config(self) -> Config:
        """What the run was trained with."""
        return self._trained.config

    @property
    def results(self) -> Results:
        """What the run and its baselines reached on the test items.

        Raises:
          ValueError: the run is not measured yet.
        """
        return Results.read(self.folder / "results.json")

    @property
    def report(self) -> pathlib.Path:
        """The run's report, one HTML page; it is written where it is not there.

        Raises:
          ValueError: the run is not measured yet.
        """
        file = self.folder / REPORT_FILE
        return file if file.is_file() else self.write_report()

    def write_report(self, file: str | os.PathLike[str] | None = None) -> pathlib.Path:
        """Writes the report anew, by default as report.html in the run's folder; returns where it is.

        Raises:
          ValueError: the run is not measured yet.
        """
        return experiment.leave_report(self._trained, file)

    def recommend(
        self,
        user: str | None = None,
        k: int = 10,
        *,
        history: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        task: str | None = None,
    ) -> Recommendations:
        """The best k items for a user of the data, or for somebody new with a history.

        Items of the history are left out (unless the config's eval.mask_seen is off), those of `exclude` always; the
        search itself passes them over, so that others take their places.

        Args:
          user: a name as it stands in the data or came with an update.
          k: how many items.
          history: names of items, oldest first, instead of a user.
          exclude: names of items that are not recommended.
          task: "sequential", "collaborative" or "direct", if the run was trained on it; default its first.
        Returns:
          At most k items, best first; where there are fewer, `note` says why.
        Raises:
          ValueError: both or neither of user and history are given, or a name, the task or k is not one of this run.
        """
        system = self._served()
        shown = service.recommend(system, k, user=user, history=history, task=task, exclude=exclude)
        data = system.data
        items = [
            Recommendation(str(data.item_names[number]), str(data.titles()[number]), score, tokens, hit)
            for number, (_, tokens, score, hit) in zip(shown.numbers, shown.items, strict=True)
        ]
        return Recommendations(items, shown, "" if len(items) == k else self._why_fewer(len(items), k))

    def ask(
        self,
        task: Literal["rating", "explanation", "review", "preference"],
        *,
        user: str,
        items: Sequence[str] = (),
        feature: str = "",
        review: str = "",
    ) -> list[Answer]:
        """What a user of the data would give to items, or say about them.

        Args:
          task: one that the run was trained on.
          user: a name as it stands in the data.
          items: names of items, for "rating" and "explanation".
          feature: the word that an explanation is about.
          review: the text that "review" sums up and "preference" rates.
        Returns:
          An answer for each item, or one about the review.
        Raises:
          ValueError: the task was not trained, a name is unknown, or something is missing that the task needs.
        """
        answers = service.ask(self._trained, task, user=user, items=items, feature=feature, review=review)
        return [Answer(about, text) for about, text in answers]

    def evaluate(
        self,
        part: Part = "test",
        *,
        recommender: Literal["beam", "exact"] | None = None,
        beams: int | None = None,
        prompt: Literal["seen", "unseen", "both"] | None = None,
        text_beams: int | None = None,
        text_events: int | None = None,
    ) -> Results:
        """Measures the run again, beside the baselines; None keeps what the run's config says.

        Args:
          part: which held-out items.
          recommender: "beam" searches, "exact" scores the whole catalogue.
          beams: prefixes that the search keeps.
          prompt: whether the question was among those of training; "both" measures one after the other.
          text_beams: beams for explanations and summaries; 1 is greedy.
          text_events: held-out events that each task that writes is measured on; 0 takes all.
        Returns:
          Results, which are left in the folder under evaluations/ as well.
        Raises:
          ValueError: a setting is not one of this kind of run, or out of range.
        """
        changed: dict[str, Any] = {"recommender": recommender, "beams": beams, "prompt": prompt}
        changed |= {"text_beams": text_beams, "text_events": text_events}
        changed = {name: value for name, value in changed.items() if value is not None}
        return evaluate_run(self.folder, part, **changed) if changed else _measured(self._trained, part)

    def update(
        self,
        events: Any,
        *,
        format: str = "auto",
        columns: Sequence[str] = (),
        items_path: str | os.PathLike[str] | None = None,
    ) -> Update:
        """Takes events of known and new users with known and new items into the run's store; nothing is trained.

        Args:
          events: a file's path, or a data frame of polars, pandas or pyarrow.
          format: a reader's name; "auto" recognises it.
          columns: "ROLE=COLUMN" where names of columns don't say what they hold.
          items_path: a file of item titles.
        Returns:
          What was new.
        Raises:
          ValueError: the events can't be read, or the store is damaged or of another run.
        """
        config = events_config(events, self.folder, format=format, columns=columns, items_path=items_path)
        interactions, _ = load_interactions(dataclasses.replace(config, min_events=1), seed=0, beside=(self.folder,))
        system, done = newcomers.update(self._served(), interactions)
        self._current = system
        names = tuple(str(system.data.user_names[user]) for user in done.users)
        return Update(names, done.events, done.new_users, done.new_items, done.known_events)

    def export(
        self,
        out: str | os.PathLike[str],
        *,
        dtype: Literal["float32", "bfloat16"] = "float32",
        shard_gb: float = 5.0,
        samples: int = 64,
        adapter: bool = False,
    ) -> pathlib.Path:
        """Writes the model, its ids and its tokenizer into a folder that transformers loads unchanged.

        Args:
          out: the folder to make.
          dtype: of the stored weights.
          shard_gb: weights above this size are stored in several files of it.
          samples: for how many users jaxrec's own lists are stored, for recommend.py --check.
          adapter: of a LoRA run, store the factors instead of merged weights.
        Returns:
          The folder.
        Raises:
          ValueError: the folder is there and not empty, or the run can't be exported so.
        """
        return export(self._served(), os.fspath(out), dtype=dtype, shard_gb=shard_gb, samples=samples, adapter=adapter)

    def examples(self, n: int = 3) -> list[str]:
        """Names of a few users whose held-out item is known, drawn by the run's seed."""
        return service.examples(self._trained, n)

    def __repr__(self) -> str:
        data = self._trained.data
        size = f"{data.n_users:,} users, {data.n_items:,} items"
        return f"<{self._trained.name} on {self.config.data.name}: {size}, in {self.folder}>"

    def _served(self) -> System:
        """The system with all that the store knows by now."""
        if self._current is None:
            self._current = newcomers.served(self._trained)
        return self._current

    def _why_fewer(self, n: int, k: int) -> str:
        settings = self.config.eval
        if self.config.answer == "id" and settings.recommender == "beam":
            return (
                f"{n} of {k} items: the search with {max(settings.beams, k)} beams reached no more that are not left "
                "out; jaxrec.load(folder, recommender='exact') scores all items"
            )
        return f"{n} of {k} items: all others of the catalogue are left out"


def evaluate_run(folder: str | os.PathLike[str], part: Part = "test", **changed: Any) -> Results:
    """Measures the run in a folder again with some settings changed; `TrainedRun.evaluate` says which there are.

    Raises:
      ValueError: the folder holds no trained run, or a setting is not one of this kind of run.
    """
    return _measured(loading.load(folder, **changed), part)


def _measured(system: System, part: Part) -> Results:
    return Results(*experiment.evaluate(system, part))


def push_export(folder: str | os.PathLike[str], name: str, *, users: bool = False) -> str:
    """Uploads what `TrainedRun.export` made to the Hugging Face hub; returns its address.

    Args:
      folder: of the export.
      name: the model's name there, as "me/model"; it is private where it is new.
      users: whether users.tsv and samples.json, which hold users' names and histories, are uploaded, too.
    Raises:
      ValueError: the hub refuses, or can't be reached.
    """
    return push(pathlib.Path(folder), name, users=users)
