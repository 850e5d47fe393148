"""Formats a filled table as text and as Markdown: our figures next to the paper's, with both protocols."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from jaxrec.evaluate.text_results import events_line
from jaxrec.studies.comparison import mean_and_deviation
from jaxrec.studies.papers.intervals import interval_lines
from jaxrec.studies.papers.layout import DATASETS
from jaxrec.studies.papers.paper_table import PaperTable

PROTOCOLS = {
    ("meta_id", "ranking"): (
        "the last item of a user tests, all items ranked by beam search (sections 6.1 and C.1); pretrained T5-small, "
        "10 epochs; baselines by the code of S3-Rec. The released code makes vectors, and with them ids, from every "
        "event, test items included (docs/protocol.md), so these are no strict figures. Not said: whether seen items "
        "are left out, how ties count, how many runs"
    ),
    ("meta_id", "texts"): (
        "events drawn into 80/10/10, every user and item in training, greedy decoding, pretrained T5-small, 10 epochs "
        "(sections C.1 and C.3.2); which BLEU is not said"
    ),
    ("meta_id", "time"): "Toys, T5-small on two RTX 3090 (appendix D)",
    ("token_rec", "ranking"): (
        "leave-one-out, histories shuffled, T5-small for all language models (section 3.1). The code selects on the "
        "test items, gives seen items the score 0, which is above negative cosines, and its LightGCN is not propagated "
        "(docs/protocol.md): no strict figures. Not said: how many runs"
    ),
    ("token_rec", "time"): "T5-small; the paper names no machine",
}
"""The papers' evaluation protocols."""
PROTOCOLS["meta_id", "error"] = PROTOCOLS["meta_id", "ranking"]


def table_text(table: PaperTable) -> str:
    """A filled table for a terminal."""
    grid = _grid(table)
    widths = [max(map(len, column)) for column in zip(*grid)]
    aligned = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) for row in grid
    ]
    return "\n".join([f"{table.name}: {table.caption}", _datasets(table), "", *aligned, "", *_remarks(table)])


def table_markdown(table: PaperTable) -> str:
    """A filled table for a page."""
    head, *rows = ([cell.replace("*", "\\*").replace("|", "\\|") for cell in row] for row in _grid(table))
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
    remarks = [f"- {line}" for line in _remarks(table)]
    return "\n".join([f"### {table.name}: {table.caption}", "", _datasets(table), "", *lines, "", *remarks])


def _remarks(table: PaperTable) -> list[str]:
    """Remarks on the figures, one per line: notes, intervals, both protocols, contradictory figures."""
    remarks = [f"{names}: {note}" for names, note in table.notes]
    remarks += interval_lines(table.intervals)
    remarks.append(f"Ours: {_our_protocol(table)}")
    remarks += [f"{names}: {setting}" for names, setting in table.settings]
    remarks.append(f"Paper: {PROTOCOLS[table.paper, table.kind]}")
    remarks += table.printed
    if table.contradictions:
        rows = "; ".join(f"{row} ({', '.join(columns)})" for row, columns in table.contradictions.items())
        remarks.append(
            "Printed figures that can't both be right, as a rise of the hit rate bounds that of NDCG with one held-out "
            f"item a user: {rows}"
        )
    return remarks


def _datasets(table: PaperTable) -> str:
    """The datasets of our figures and of the paper's."""
    line = f"{table.dataset}: ours (the paper's, {table.beside})"
    if DATASETS.get(table.dataset, table.dataset) != table.beside:
        line += (
            f". These are other data than {table.beside}: the two figures of a cell can't be held against each other"
        )
    return line


def _grid(table: PaperTable) -> list[list[str]]:
    """Headings and rows as texts."""
    rows = [[table.first, *(column.replace(":", " ") for column in table.columns)]]
    for row in table.rows:
        texts = []
        for cell in row.cells.values():
            paper = "-" if cell.paper is None else cell.paper.replace("±", " ± ")
            texts.append(f"{_figure(cell.ours, table.kind, percent=paper.endswith('%'))} ({paper})")
        rows.append([row.row, *texts])
    return rows


def _figure(values: Sequence[float], kind: str, *, percent: bool) -> str:
    """Mean over the seeds, with standard deviation or, in a table of errors, standard error."""
    if not values or kind in ("ranking", "texts"):
        return mean_and_deviation(values)
    mean = statistics.mean(values)
    if kind == "error":
        error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.5f}" if len(values) > 1 else ""
        return f"{mean:.4f}{error}"
    return f"{mean:.0f}%" if percent else f"{mean:.2f}"


def _our_protocol(table: PaperTable) -> str:
    if not table.settings:
        return "nothing of it was run yet"
    users = " to ".join(f"{n:,}" for n in sorted({table.users[0], table.users[-1]}))
    seeds = f"seed{'s' if len(table.seeds) > 1 else ''} {', '.join(map(str, table.seeds))}"
    if table.kind == "texts":
        events = events_line(table.events or {})
        return (
            f"{table.dataset}, {events} ({table.protocol} protocol), {users} test events a "
            f"task, {seeds}; ±: standard deviation over several seeds"
        )
    if table.kind == "time":
        return (
            f"{table.device}, {table.dataset}, {seeds}. Lists of ten by `ms_per_user` of results.json: batches "
            "of the config's size, prompts included, compiled before, median of three rounds; all else likewise"
        )
    masked = "seen items left out" if table.mask_seen else "seen items kept"
    lengths = " or ".join(map(str, table.lists))
    lists = f", by language models in lists of {lengths} (a target outside is a miss)" if lengths else ""
    over = "standard deviation over several seeds"
    if table.kind == "error":
        over = "standard error over seeds" if len(table.seeds) > 1 else "one seed has none, give --seeds 0 1 2"
    ranked = f"all {table.n_items:,} items ranked{lists}, {masked}, ties count half"
    return f"{table.protocol} protocol, {table.part} part, {users} users, {ranked}, {seeds}; ±: {over}"
