"""A trained run: its results, recommendations, updates and export."""

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
from jaxrec.config.checks import check_eval
from jaxrec.config.limits import check_limits
from jaxrec.data.load import load_interactions
from jaxrec.data.readers.times import TimeUnit
from jaxrec.export.push import ABOUT_USERS, push
from jaxrec.export.whole_system import export
from jaxrec.inference import newcomers, service
from jaxrec.inference.popular import popular_items
from jaxrec.report.run_report import REPORT_FILE
from jaxrec.system import loading
from jaxrec.system.system import System

Part = Literal["valid", "test"]
EXPORTED_ABOUT_USERS = ABOUT_USERS
"""Files of an export that hold users' names and histories."""


@dataclasses.dataclass(frozen=True)
class Update:
    """Summary of an update; prints as a line.

    Attributes:
      users: names of the users with new events.
      events, new_users, new_items: number of new events, users and items.
      known_events: number of events that the run had already, which were skipped.
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
    """A trained run, returned by `jaxrec.train` and `jaxrec.load`; its folder holds everything about it.

    Recommendations use the run's store, so they include users and items of earlier updates.
    """

    def __init__(self, system: System, *, accepts_new_data: bool = False) -> None:
        self._trained = system
        self._accepts_new_data = accepts_new_data
        self._with_updates: System | None = None

    @property
    def folder(self) -> pathlib.Path:
        """The run's folder."""
        return self._trained.folder

    @property
    def config(self) -> Config:
        """The config that the run was trained with."""
        return self._trained.config

    @property
    def results(self) -> Results:
        """Metrics of the run and its baselines on the test items.

        Raises:
          ValueError: the run is not measured yet.
        """
        return Results.read(self.folder / "results.json")

    @property
    def report(self) -> pathlib.Path:
        """Path of the run's HTML report; writes it first where it does not exist.

        Raises:
          ValueError: the run is not measured yet.
        """
        file = self.folder / REPORT_FILE
        return file if file.is_file() else self.write_report()

    def write_report(self, file: str | os.PathLike[str] | None = None) -> pathlib.Path:
        """Writes the HTML report, also where one exists already.

        Args:
          file: where to write; None: report.html in the run's folder.
        Returns:
          The path of the report.
        Raises:
          ValueError: the run is not measured yet.
        """
        return experiment.write_run_report(self._trained, file)

    def recommend(
        self,
        user: str | None = None,
        k: int = 10,
        *,
        history: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        allow: Sequence[str] | None = None,
        include_seen: bool | None = None,
        task: str | None = None,
        popular_if_unknown: bool = False,
    ) -> Recommendations:
        """The best k items for a known user, or for a new user with a given history.

        Items of the history are excluded, unless the config's eval.mask_seen is off, and so are those of `exclude`.
        They are excluded during the search, so that k items are returned wherever k are left.

        Args:
          user: name of a user of the data or of an update.
          k: number of items.
          history: names of a new user's items, oldest first, instead of `user`.
          exclude: names of items that are not to be recommended.
          allow: names of the only items that may be recommended; None: all.
          include_seen: whether items of the history may be recommended; None: unless eval.mask_seen is set.
          task: a ranking task that the run was trained on, see `TaskConfig`; None: its main task.
          popular_if_unknown: for a user whose name is unknown, list the most popular items, labelled as such.
        Returns:
          At most k items, best first; where there are fewer than k, `note` says why.
        Raises:
          ValueError: both or neither of `user` and `history` are given, a user's or item's name is unknown, the run was
            not trained on `task`, or k is not between 1 and the number of items.
        """
        system = self._system_with_updates()
        filters = {"exclude": exclude, "allow": allow, "include_seen": include_seen}
        if popular_if_unknown and user is not None and history is None and user not in system.data.user_names:
            shown = popular_items(system, k, user=user, exclude=exclude, allow=allow)
        else:
            shown = service.recommend(system, k, user=user, history=history, task=task, **filters)
        data = system.data
        items = [
            Recommendation(str(data.item_names[number]), str(data.titles()[number]), score, tokens, hit)
            for number, (_, tokens, score, hit) in zip(shown.numbers, shown.items, strict=True)
        ]
        return Recommendations(items, shown)

    def ask(
        self,
        task: Literal["rating", "explanation", "review", "preference"],
        *,
        user: str,
        items: Sequence[str] = (),
        feature: str = "",
        review: str = "",
    ) -> list[Answer]:
        """Predicts ratings or generates texts for a user of the data.

        Args:
          task: one that the run was trained on.
          user: name of a user of the data.
          items: names of items, for "rating" and "explanation".
          feature: the feature word of an "explanation".
          review: the review that "review" summarises and "preference" rates.
        Returns:
          One answer per item, or one about the review.
        Raises:
          ValueError: the run was not trained on `task`, a user's or item's name is unknown, an argument that the task
            needs is missing, or one that it does not read is given.
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
        counts: bool | None = None,
        blend_with: Sequence[str] | None = None,
        rerank: bool | None = None,
        text_beams: int | None = None,
        text_events: int | None = None,
    ) -> Results:
        """Evaluates the run and the baselines again; arguments that are None keep the value of the run's config.

        Args:
          part: the held-out items, "valid" or "test".
          recommender: "beam" for beam search, "exact" to score the whole catalogue.
          beams: beam width.
          prompt: template of training ("seen"), another one ("unseen"), or each in turn ("both").
          counts: whether the table has the row of the model blended with the counted baselines.
          blend_with: names of trained baselines that join this blend, such as "lightgcn"; they are trained in the run's
            folder.
          rerank: whether the table has the row of this blend re-ranked.
          text_beams: beams for explanations and summaries; 1: greedy decoding.
          text_events: number of held-out events on which each text task is evaluated; 0: all.
        Returns:
          The results, which are also written into the folder under evaluations/.
        Raises:
          ValueError: a value is out of range, or `recommender` or `beams` is given for a run without beam search.
        """
        settings: dict[str, Any] = {"recommender": recommender, "beams": beams, "prompt": prompt, "counts": counts}
        settings |= {"text_beams": text_beams, "text_events": text_events, "rerank": rerank}
        settings["blend_with"] = None if blend_with is None else tuple(blend_with)
        overrides = {name: value for name, value in settings.items() if value is not None}
        if not overrides:
            return _measured(self._trained, part)
        return evaluate_run(self.folder, part, accept_new_data=self._accepts_new_data, **overrides)

    def update(
        self,
        events: Any,
        *,
        format: str = "auto",
        columns: Sequence[str] | None = None,
        separator: str | None = None,
        encoding: str | None = None,
        time_unit: TimeUnit | None = None,
        unpack_mib: int | None = None,
        bad_rows: Literal["error", "skip"] | None = None,
        items_path: str | os.PathLike[str] | None = None,
    ) -> Update:
        """Adds events, new users and new items to the run's store, without training (TokenRec, section 2.5.2).

        Args:
          events: a file's path, or a data frame of polars, pandas or pyarrow.
          format: name of a reader; "auto" detects it from the file.
          columns: ROLE=COLUMN, for columns whose role is not recognised by name; None, here and in the following: as
            in the run's config.
          separator: between fields of a text table, see `DataConfig`; "auto" finds it.
          encoding: of text files.
          time_unit: of times that are numbers.
          unpack_mib: the most MiB that a compressed file may unpack to.
          bad_rows: what is done about rows that can't be read.
          items_path: file of item titles.
        Returns:
          The users with new events, and the numbers of new events, users and items.
        Raises:
          ValueError: the events can't be read, or the store is damaged or belongs to another run.
        """
        given = {"columns": columns, "separator": separator, "encoding": encoding, "time_unit": time_unit}
        given |= {"unpack_mib": unpack_mib, "bad_rows": bad_rows}
        stored = self.config.data
        reading = {name: getattr(stored, name) if value is None else value for name, value in given.items()}
        reading |= {"format": format, "columns": tuple(reading["columns"])}
        config = dataclasses.replace(events_config(events, self.folder, items_path=items_path, **reading), min_events=1)
        check_limits(config, "data")
        interactions, _ = load_interactions(config, seed=0, beside=(self.folder,))
        system, summary = newcomers.update(self._system_with_updates(), interactions)
        self._with_updates = system
        names = tuple(str(system.data.user_names[user]) for user in summary.users)
        return Update(names, summary.events, summary.new_users, summary.new_items, summary.known_events)

    def export(
        self,
        out: str | os.PathLike[str],
        *,
        dtype: Literal["float32", "bfloat16"] = "float32",
        shard_gb: float = 5.0,
        samples: int = 64,
        adapter: bool = False,
    ) -> pathlib.Path:
        """Exports model, ids and tokenizer as a folder that transformers loads without jaxrec.

        Args:
          out: folder to create.
          dtype: of the stored weights.
          shard_gb: maximum size of a weight file in GB; larger weights are split into shards.
          samples: number of users whose recommendations are stored, for recommend.py --check.
          adapter: store the LoRA factors instead of merged weights.
        Returns:
          The folder.
        Raises:
          ValueError: the folder exists and is not empty, an argument is out of range, `adapter` is set for a run
            without LoRA, the run ranks no items or has no user with a history, or its backbone can't be exported.
        """
        return export(
            self._system_with_updates(),
            os.fspath(out),
            dtype=dtype,
            shard_gb=shard_gb,
            samples=samples,
            adapter=adapter,
        )

    def examples(self, n: int = 3) -> list[str]:
        """Names of n users with a test item, sampled with the run's seed."""
        return service.examples(self._trained, n)

    def __repr__(self) -> str:
        data = self._trained.data
        size = f"{data.n_users:,} users, {data.n_items:,} items"
        return f"<{self._trained.name} on {self.config.data.name}: {size}, in {self.folder}>"

    def _system_with_updates(self) -> System:
        """The system with the users, items and events of the store."""
        if self._with_updates is None:
            self._with_updates = newcomers.served(self._trained)
        return self._with_updates


def evaluate_run(
    folder: str | os.PathLike[str], part: Part = "test", *, accept_new_data: bool = False, **overrides: Any
) -> Results:
    """Evaluates the run in a folder again.

    Args:
      folder: of a trained run.
      part: the held-out items, "valid" or "test".
      accept_new_data: go on where events, ratings, times or titles of the run's users and items have changed since.
      overrides: eval settings to change, see `TrainedRun.evaluate`.
    Raises:
      ValueError: the folder holds no trained run, a value is out of range, or `recommender` or `beams` is given for a
        run without beam search.
    """
    check_eval(overrides)
    return _measured(loading.load(folder, accept_new_data=accept_new_data, **overrides), part)


def _measured(system: System, part: Part) -> Results:
    return Results(*experiment.evaluate(system, part))


def push_export(folder: str | os.PathLike[str], name: str, *, users: bool = False) -> str:
    """Uploads an export to the Hugging Face hub.

    Args:
      folder: written by `TrainedRun.export`.
      name: repository on the hub, such as "me/model"; created as private where it does not exist.
      users: whether to upload what holds users' names and histories, or is made of them, too: `EXPORTED_ABOUT_USERS`.
    Returns:
      The URL of the model.
    Raises:
      ValueError: nobody is logged in, the hub rejects the request, or it can't be reached.
    """
    return push(pathlib.Path(folder), name, users=users)
