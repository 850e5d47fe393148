"""Audits of data and ids, scores of ids, and download of public data sets."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jaxrec.api.data import events_config
from jaxrec.api.results import Results
from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.config import DataConfig, data_file
from jaxrec.data.audit import Audit, LeakMeter, audit_interactions, leak_meter
from jaxrec.data.interactions import Notes
from jaxrec.data.load import load_interactions
from jaxrec.data.public_datasets import download_dataset
from jaxrec.data.split import make_split
from jaxrec.evaluate.results_file import results_report
from jaxrec.files import write_whole
from jaxrec.report.id_scores_page import id_scores_page
from jaxrec.system.id_scores import before_and_after, id_scores_table
from jaxrec.tokenizers.id_files import read_codes
from jaxrec.tokenizers.meta_id import LEVELS


@dataclasses.dataclass(frozen=True, repr=False)
class AuditReport:
    """The result of `audit`; prints as on the command line.

    Attributes:
      notes: the data's source, and what was dropped when it was read.
      audit: counts, time order and ties of the events.
      baselines: test metrics of the untrained baselines, such as popularity.
      leak: whether the ids were fitted with held-out events in view; None where no ids are given.
    """

    notes: Notes
    audit: Audit
    baselines: Results
    leak: LeakMeter | None

    def __repr__(self) -> str:
        parts = [self.notes, self.audit, self.baselines, *([self.leak] if self.leak else [])]
        return "\n".join(map(str, parts))


def audit(
    data: Any = None, *, ids: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None, seed: int = 0
) -> AuditReport:
    """Checks a data set, and optionally ids that were computed from it, for errors and leaks.

    Args:
      data: a file's path, a data frame, or a `DataConfig`; None: the synthetic data.
      ids: files of user ids and item ids, each line `NAME <CT79><1220>` or `NAME <Item><CT3><CI17>`.
      seed: for the order of events with equal times, and for the synthetic data.
    Raises:
      ValueError: data or ids can't be read, or the ids belong to other users or items.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        if data is None:
            config = DataConfig()
        else:
            config = data if isinstance(data, DataConfig) else events_config(data, folder)
        interactions, notes = load_interactions(config, seed=seed, beside=(folder,), log=False)
    split = make_split(interactions, config.split)
    results = evaluate_baselines(split, "test")
    baselines = Results(results_report(results, split, "test", dataset=notes.source, seed=seed))
    leak = None
    if ids is not None:
        users, items = (
            read_codes(data_file(os.fspath(file)), names, prefix, LEVELS)
            for file, names, prefix in zip(
                ids, (interactions.user_names, interactions.item_names), ("<User>", "<Item>"), strict=True
            )
        )
        leak = leak_meter(split, users.values[:, 0], items.values[:, 0])
    return AuditReport(notes, audit_interactions(interactions), baselines, leak)


@dataclasses.dataclass(frozen=True)
class PublicData:
    """Files of a downloaded data set.

    Attributes:
      events: the file that training reads.
      titles: file of item titles, or None where the data set has none.
    """

    events: pathlib.Path
    titles: pathlib.Path | None


def download(name: str, folder: str | os.PathLike[str] = "data") -> PublicData:
    """Downloads a public data set from its official address; an interrupted download is resumed.

    Args:
      name: "ml-100k", "ml-1m", "ml-20m", "lastfm", "amazon-beauty", ...; the error for an unknown name lists all.
      folder: where the data set's own folder is created.
    Raises:
      ValueError: the name is unknown, or the download fails or is incomplete.
    """
    return PublicData(*download_dataset(name, pathlib.Path(folder)))


class IdScores:
    """Diversity and memorization of several runs' ids, before and after training; prints as a table."""

    def __init__(self, scores: Mapping[str, Mapping[str, Any]]) -> None:
        self._scores = {run: dict(values) for run, values in scores.items()}

    def to_frame(self) -> pl.DataFrame:
        """A row per run, entity ("items", "users") and time ("before", "after" training).

        Columns: "run", "entity", "when", "diversity", "memorization", "ndcg@10" (of the test items; null where the run
        ranks no items).
        """
        rows = [
            [run, entity, when, score["diversity"], score["memorization"], values["ndcg@10"]]
            for run, values in self._scores.items()
            for when in ("before", "after")
            for entity, score in values[when].items()
        ]
        numbers = dict.fromkeys(("diversity", "memorization", "ndcg@10"), pl.Float64)
        schema = {"run": pl.String, "entity": pl.String, "when": pl.String, **numbers}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def write_page(self, file: str | os.PathLike[str]) -> pathlib.Path:
        """Writes an HTML page with charts of the scores; returns its path."""
        path = pathlib.Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, id_scores_page(self._scores))
        return path

    def __repr__(self) -> str:
        return id_scores_table(self._scores)


def id_scores(folders: Sequence[str | os.PathLike[str]], *, pairs: int = 100_000) -> IdScores:
    """Diversity and memorization of runs' ids, from token embeddings before and after training; META ID, section 4.

    Args:
      folders: of trained runs; with three or more, rank correlations with NDCG@10 are shown.
      pairs: number of pairs sampled for diversity.
    Raises:
      ValueError: `folders` is empty, or a folder holds no run, or one without results.json.
    """
    if not folders:
        raise ValueError("give the folder of a trained run: jaxrec id-scores runs/demo")
    return IdScores({os.fspath(folder): before_and_after(folder, pairs=pairs) for folder in folders})
