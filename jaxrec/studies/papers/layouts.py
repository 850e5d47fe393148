"""The layouts of the papers' tables: our run of each row, and the studies that train them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from jaxrec.studies.papers.layout import Layout, Source, TableKind
from jaxrec.studies.papers.meta_id_figures import META_ID_TABLES
from jaxrec.studies.papers.published import PAPERS, PublishedTable
from jaxrec.studies.papers.token_rec_figures import TOKEN_REC_TABLES

PUBLISHED = (*META_ID_TABLES, *TOKEN_REC_TABLES)
"""The papers' tables of results that can be filled."""

_BASELINES = {
    "Caser": "caser",
    "HGN": "hgn",
    "GRU4Rec": "gru4rec",
    "BERT4Rec": "bert4rec",
    "SASRec": "sasrec",
    "FDSA": "fdsa",
    "S3-Rec": "s3rec",
    "S3Rec": "s3rec",
    "CL4SRec": "cl4srec",
    "MF": "mf",
    "NCF": "ncf",
    "LightGCN": "lightgcn",
    "GTN": "gtn",
    "LTGNN": "ltgnn",
}
_DIRECT = " (user id only)"


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


def table_layout(paper: str, number: int) -> Layout:
    """The layout of a paper's table with our runs in its rows.

    Raises:
      ValueError: there is no such table; the message lists all.
    """
    theirs = published_table(paper, number)
    return _meta_id_layout(theirs) if PAPERS[paper] == "META ID" else _token_rec_layout(theirs)


def published_table(paper: str, number: int) -> PublishedTable:
    """A paper's table as printed.

    Raises:
      ValueError: the paper is not one of `PAPERS`, or its table is not one of `PUBLISHED`.
    """
    numbers = table_numbers(paper)
    if number not in numbers:
        every = ", ".join(map(str, numbers))
        raise ValueError(f"tables: {PAPERS[paper]} has no table of results {number}; give some of {every}")
    return next(table for table in PUBLISHED if (table.paper, table.number) == (paper, number))


def table_numbers(paper: str) -> tuple[int, ...]:
    """Numbers of a paper's tables of results.

    Raises:
      ValueError: the paper is not one of `PAPERS`.
    """
    if paper not in PAPERS:
        raise ValueError(f"paper {paper!r} is none of {', '.join(PAPERS)}")
    return tuple(table.number for table in PUBLISHED if table.paper == paper)


def _meta_id_layout(theirs: PublishedTable) -> Layout:
    same = {name: Source(run=name) for name in _IDS}
    match theirs.number:
        case 1:
            runs = same | {"TIGER": Source(run="TIGER"), "META ID (T)": Source(run="META ID"), "META ID (L)": _LLAMA}
            return _ranking_layout(theirs, runs, _META_ID)
        case 2:
            runs = {name: Source(run=name, system=_DIRECT) for name in (*_IDS, "META ID")}
            return _ranking_layout(theirs, runs, _META_ID)
        case 4:
            runs = {name: Source(run=name) for name in ("DBSCAN", "Spectral", "RQ-VAE")}
            return _ranking_layout(theirs, runs | {"K-Means": Source(run="META ID")}, _META_ID)
        case 5:
            runs = {"MF-based": "MF-based", "GCN-Based": "GCN-based", "Meta-Path-Based": "META ID"}
            return _ranking_layout(theirs, {row: Source(run=name) for row, name in runs.items()}, _META_ID)
        case 8:
            return _ranking_layout(theirs, {name: Source(run=name) for name in ("IID", "META ID")}, _META_ID)
        case 12:
            return _ranking_layout(theirs, {name: Source(run="META ID") for name in theirs.rows}, _META_ID, "error")
        case 13:
            tasks = ("ms", "ms" + _DIRECT, "ms/rating", "ms/explanation", "ms/review", "ms/preference")
            measures = dict(zip(theirs.columns, tasks, strict=True))
            return Layout(theirs, "time", {"META ID (T)": Source(run="META ID")}, measures, _INSTRUMENTS)
        case _:
            return _text_layout(theirs)


def _token_rec_layout(theirs: PublishedTable) -> Layout:
    number = theirs.number
    match number:
        case 2 | 3:
            names = ("P5-RID", "P5-SID", "CID", "POD", "CoLLM", "TokenRec")
            runs = {name: Source(run=name) for name in names}
            runs["* (User ID Only)"] = Source(run="TokenRec", system=_DIRECT)
            runs["* (Unseen Prompt)"] = Source(run="TokenRec", system=" (unseen prompt)")
            return _ranking_layout(theirs, runs, _LASTFM if number == 2 else _BEAUTY)
        case 4:
            runs = {row: Source(run=row + _UNSEEN) for row in ("CID", "POD", "CoLLM", "TokenRec")}
            runs["P5"] = dataclasses.replace(_P5, run="P5-SID" + _UNSEEN)
            return _ranking_layout(theirs, runs, _LASTFM | _BEAUTY)
        case 5:
            sources = {name: Source(run=name) for name in ("CID", "POD", "TokenRec")} | {"P5": _P5}
            sources["Acceleration*"] = Source(note="of the rows that we have")
            return Layout(theirs, "time", sources, {"ms": "ms"}, _LASTFM | _BEAUTY)
        case _:
            runs = {row: Source(run=row.replace("Masking", "masking")) for row in theirs.rows}
            return _ranking_layout(theirs, runs | {"Full*": Source(run="TokenRec")}, _LASTFM | _BEAUTY)


def _sources(rows: Mapping[str, object], runs: Mapping[str, Source]) -> dict[str, Source]:
    """The source of every row: a run or a baseline."""
    sources = {}
    for row in rows:
        if row in runs:
            sources[row] = runs[row]
        else:
            sources[row] = Source(baseline=_BASELINES[row])
    return sources


def _metric_name(column: str) -> str:
    """Our name of a column: "hr@10" of "H@10", "ndcg@10" of "NG@10", "hr@20, unseen users" of "Unseen:HR@20"."""
    group, _, column = column.rpartition(":")
    name, _, k = column.partition("@")
    return f"{'hr' if name[0] == 'H' else 'ndcg'}@{k}" + (f", {group.lower()} users" if group else "")


def _ranking_layout(
    theirs: PublishedTable, runs: Mapping[str, Source], studies: Mapping[str, str], kind: TableKind = "ranking"
) -> Layout:
    measures = {column: _metric_name(column) for column in theirs.columns}
    return Layout(theirs, kind, _sources(theirs.rows, runs), measures, studies)


def _text_layout(theirs: PublishedTable) -> Layout:
    sources = {column: Source(run=column) for column in theirs.columns}
    measures = {row: row.lower().replace(", ", "/") for row in theirs.rows}
    return Layout(theirs, "texts", sources, measures, _INSTRUMENTS, across=True)
