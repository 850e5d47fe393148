"""Which of our runs stands in a row of a paper's table, what of it in a column, and by which study it is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from jaxrec.studies.papers.printed import PAPERS, Published, published

DATASETS = {
    "Amazon Sports": "Sports",
    "Amazon Beauty": "Beauty",
    "Amazon Toys": "Toys",
    "Amazon Clothing": "Clothing",
    "Last.fm": "LastFM",
    "MovieLens 1M": "ML1M",
}
"""The papers' names of datasets by those of configs."""


Kind = Literal["ranking", "error", "texts", "time"]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a row's figures come from; without `run` and `baseline` we have none.

    Attributes:
      run: a row of the study.
      baseline: a name of `jaxrec.baselines.registry.BASELINES`.
      system: which row of the run, behind its main row's name; "" is the main one.
      note: what is printed below the table.
      trained: whether the run is made where it is missing; else it is shown where its folder is there.
    """

    run: str | None = None
    baseline: str | None = None
    system: str = ""
    note: str = ""
    trained: bool = True


@dataclasses.dataclass(frozen=True)
class Layout:
    """A paper's table, and ours in its form.

    Attributes:
      published: theirs.
      kind: "ranking": metrics of ranks; "error": metrics of one system with their standard error over seeds, a row a
        dataset; "texts": metrics of texts and ratings; "time": milliseconds.
      sources: by row or, where `across`, by column.
      measures: what is taken of a run, by column or, where `across`, by row: "hr@10", "hr@20, unseen users";
        "rating/rmse"; "ms" of a list of ten, "ms (user id only)", "ms/rating".
      studies: files of configs/ by the paper's dataset they are about; the first is the default. "" is about none of
        theirs.
      across: whether systems stand side by side, and metrics below each other.
    """

    published: Published
    kind: Kind
    sources: Mapping[str, Source]
    measures: Mapping[str, str]
    studies: Mapping[str, str]
    across: bool = False

    def at(self, row: str, column: str) -> tuple[Source, str]:
        """Source and measure of a cell."""
        who, what = (column, row) if self.across else (row, column)
        return self.sources[who], self.measures[what]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Of the paper, by which its figures are told apart: columns, or the rows of a table of errors."""
        return tuple(self.published.rows) if self.kind == "error" else self.published.datasets

    def beside(self, dataset: str, asked: str | None = None) -> str:
        """The paper's dataset whose figures stand beside ours.

        Args:
          dataset: what the study's config calls its data.
          asked: one that the user named; theirs or ours.
        Raises:
          ValueError: the table has no such dataset.
        """
        theirs = self.datasets
        if asked is None:
            wanted = (DATASETS.get(dataset, dataset), *self.studies, "Beauty", theirs[0])
            return next(d for d in wanted if d in theirs)
        found = [d for d in theirs if asked.lower() in (d.lower(), *(o.lower() for o, t in DATASETS.items() if t == d))]
        if not found:
            raise ValueError(f"dataset {asked!r} is none of {self.published.name}: give one of {', '.join(theirs)}")
        return found[0]


NOT_YET = {
    "HGN": "not yet: gates over a window of items and an item-item product, a model beside jaxrec/models/gru4rec.py",
    "FDSA": "not yet: a second SASRec over item attributes, which no reader keeps",
    "S3-Rec": "not yet: four pretraining losses on SASRec, two of them over item attributes, which no reader keeps",
    "CL4SRec": "not yet: SASRec with a contrastive loss over cropped, masked and reordered histories",
    "GTN": "not yet: LightGCN with edge weights that a total-variation filter finds, one more embedder",
    "LTGNN": "not yet: LightGCN's fixed point by one layer a step and sampled neighbours, one more embedder",
    "POD": "not yet: trained vectors in front of every prompt, into which its words are distilled",
    "CoLLM": "not yet: collaborative vectors mapped to the place of an id, without tokens of their own",
}
"""Methods of the papers that we have not, and what each would take."""
NOT_YET["S3Rec"] = NOT_YET["S3-Rec"]

_BASELINES = {
    "Caser": "caser",
    "GRU4Rec": "gru4rec",
    "BERT4Rec": "bert4rec",
    "SASRec": "sasrec",
    "MF": "mf",
    "NCF": "ncf",
    "LightGCN": "lightgcn",
}
_DIRECT = " (user id only)"


def _sources(rows: Mapping[str, object], runs: Mapping[str, Source]) -> dict[str, Source]:
    """For all rows: a run, a baseline, or the note that there is none."""
    found = {}
    for row in rows:
        if row in runs:
            found[row] = runs[row]
        elif row in _BASELINES:
            found[row] = Source(baseline=_BASELINES[row])
        else:
            found[row] = Source(note=NOT_YET[row])
    return found


def _metric(column: str) -> str:
    """`hr@10` of "H@10", "HR@10"; `ndcg@10` of "N@10", "NG@10", "NDCG@10"; of "Unseen:HR@20" those of unseen users."""
    group, _, column = column.rpartition(":")
    name, _, k = column.partition("@")
    return f"{'hr' if name[0] == 'H' else 'ndcg'}@{k}" + (f", {group.lower()} users" if group else "")


def _ranking(
    paper: str, number: int, runs: Mapping[str, Source], studies: Mapping[str, str], kind: Kind = "ranking"
) -> Layout:
    theirs = published(paper, number)
    measures = {column: _metric(column) for column in theirs.columns}
    return Layout(theirs, kind, _sources(theirs.rows, runs), measures, studies)


def _texts(number: int) -> Layout:
    theirs = published("meta_id", number)
    sources = {column: Source(run=column) for column in theirs.columns}
    measures = {row: row.lower().replace(", ", "/") for row in theirs.rows}
    return Layout(theirs, "texts", sources, measures, _INSTRUMENTS, across=True)


_META_ID = {"Beauty": "meta_id_beauty_study"}
_INSTRUMENTS = {"": "instruments_study"}
_LASTFM = {"LastFM": "token_rec_lastfm_tables_study"}
_BEAUTY = {"Beauty": "token_rec_beauty_study"}
_IDS = ("RID", "SID", "CID")
_UNSEEN = ", 5% of users unseen"
_LLAMA = Source(
    run="META ID (L)",
    trained=False,
    note="LLaMA 2 7B wants a GPU of 80 GB and is trained apart: "
    "python -m launch.train configs/meta_id_beauty_llama.py --out {folder}",
)
_P5 = Source(run="P5-SID", note="P5 is P5-SID, as in the paper (section 3.1.2)")


def layout(paper: str, number: int) -> Layout:
    """Ours in the form of a paper's table.

    Raises:
      ValueError: there is no such table; names those there are.
    """
    theirs = published(paper, number)
    same = {name: Source(run=name) for name in _IDS}
    match PAPERS[paper], number:
        case "META ID", 1:
            runs = same | {"TIGER": Source(run="TIGER"), "META ID (T)": Source(run="META ID"), "META ID (L)": _LLAMA}
            return _ranking(paper, number, runs, _META_ID)
        case "META ID", 2:
            runs = {name: Source(run=name, system=_DIRECT) for name in (*_IDS, "META ID")}
            return _ranking(paper, number, runs, _META_ID)
        case "META ID", 4:
            runs = {name: Source(run=name) for name in ("DBSCAN", "Spectral", "RQ-VAE")}
            return _ranking(paper, number, runs | {"K-Means": Source(run="META ID")}, _META_ID)
        case "META ID", 5:
            runs = {"MF-based": "MF-based", "GCN-Based": "GCN-based", "Meta-Path-Based": "META ID"}
            return _ranking(paper, number, {row: Source(run=name) for row, name in runs.items()}, _META_ID)
        case "META ID", 8:
            return _ranking(paper, number, {name: Source(run=name) for name in ("IID", "META ID")}, _META_ID)
        case "META ID", 12:
            return _ranking(paper, number, {name: Source(run="META ID") for name in theirs.rows}, _META_ID, "error")
        case "META ID", 13:
            tasks = ("ms", "ms" + _DIRECT, "ms/rating", "ms/explanation", "ms/review", "ms/preference")
            measures = dict(zip(theirs.columns, tasks, strict=True))
            return Layout(theirs, "time", {"META ID (T)": Source(run="META ID")}, measures, _INSTRUMENTS)
        case "META ID", _:
            return _texts(number)
        case _, 2 | 3:
            names = ("P5-RID", "P5-SID", "CID", "TokenRec")
            runs = {name: Source(run=name) for name in names}
            runs["* (User ID Only)"] = Source(run="TokenRec", system=_DIRECT)
            runs["* (Unseen Prompt)"] = Source(run="TokenRec", system=" (unseen prompt)")
            return _ranking(paper, number, runs, _LASTFM if number == 2 else _BEAUTY)
        case _, 4:
            runs = {row: Source(run=name + _UNSEEN) for row, name in (("CID", "CID"), ("TokenRec", "TokenRec"))}
            runs["P5"] = dataclasses.replace(_P5, run="P5-SID" + _UNSEEN)
            return _ranking(paper, number, runs, _LASTFM | _BEAUTY)
        case _, 5:
            sources = {name: Source(run=name) for name in ("CID", "TokenRec")} | {"P5": _P5}
            sources |= {"POD": Source(note=NOT_YET["POD"]), "Acceleration*": Source(note="of the rows that we have")}
            return Layout(theirs, "time", sources, {"ms": "ms"}, _LASTFM | _BEAUTY)
        case _:
            runs = {row: Source(run=row.replace("Masking", "masking")) for row in theirs.rows}
            return _ranking(paper, number, runs | {"Full*": Source(run="TokenRec")}, _LASTFM | _BEAUTY)
