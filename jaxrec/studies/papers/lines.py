"""A filled table as lines for a terminal and as Markdown: ours beside the paper's, and the protocol of each."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.evaluate.text_results import events_line
from jaxrec.studies.comparison import mean_and_deviation
from jaxrec.studies.papers.intervals import interval_lines
from jaxrec.studies.papers.rows import DATASETS

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
"""How the papers measured."""
PROTOCOLS["meta_id", "error"] = PROTOCOLS["meta_id", "ranking"]


def lines(found: Mapping[str, Any]) -> str:
    """A filled table for a terminal."""
    head, *rows = _cells(found)
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    laid = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))
        for row in (head, *rows)
    ]
    return "\n".join([f"{found['name']}: {found['caption']}", _which(found), "", *laid, "", *below(found)])


def markdown(found: Mapping[str, Any]) -> str:
    """A filled table for a page."""
    head, *rows = ([cell.replace("*", "\\*").replace("|", "\\|") for cell in row] for row in _cells(found))
    laid = [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
    said = [f"- {line}" for line in below(found)]
    return "\n".join([f"### {found['name']}: {found['caption']}", "", _which(found), "", *laid, "", *said])


def below(found: Mapping[str, Any]) -> list[str]:
    """What has to be known beside the figures, a line each: notes, intervals, both protocols, what can't be right."""
    said = [f"{who}: {note}" for who, note in found["notes"]]
    said += interval_lines(found["intervals"])
    said.append(f"Ours: {_ours(found)}")
    said += [f"{names}: {setting}" for names, setting in found["settings"]]
    said.append(f"Paper: {PROTOCOLS[found['paper'], found['kind']]}")
    said += found["printed"]
    if found["contradictions"]:
        rows = "; ".join(f"{row} ({', '.join(which)})" for row, which in found["contradictions"].items())
        said.append(
            "Printed figures that can't both be right, as a rise of the hit rate bounds that of NDCG with one held-out "
            f"item a user: {rows}"
        )
    return said


def _which(found: Mapping[str, Any]) -> str:
    theirs, mine = found["beside"], DATASETS.get(found["dataset"], found["dataset"])
    said = f"{found['dataset']}: ours (the paper's, {theirs})"
    if mine != theirs:
        said += f". These are other data than {theirs}: the two figures of a cell can't be held against each other"
    return said


def _cells(found: Mapping[str, Any]) -> list[list[str]]:
    """Head and rows as texts."""
    kind, rows = found["kind"], []
    for row in found["rows"]:
        texts = []
        for cell in row["cells"].values():
            paper = "-" if cell["paper"] is None else cell["paper"].replace("±", " ± ")
            texts.append(f"{_figure(cell['ours'], kind, percent=paper.endswith('%'))} ({paper})")
        rows.append([row["row"], *texts])
    return [[found["first"], *(column.replace(":", " ") for column in found["columns"])], *rows]


def _figure(values: Sequence[float], kind: str, *, percent: bool) -> str:
    """Mean over the seeds, with standard deviation or, in a table of errors, standard error."""
    if not values or kind == "ranking" or kind == "texts":
        return mean_and_deviation(values)
    mean = statistics.mean(values)
    if kind == "error":
        error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.5f}" if len(values) > 1 else ""
        return f"{mean:.4f}{error}"
    return f"{mean:.0f}%" if percent else f"{mean:.2f}"


def _ours(found: Mapping[str, Any]) -> str:
    """Our protocol in words."""
    if not found["settings"]:
        return "nothing of it was run yet"
    users = " to ".join(f"{n:,}" for n in sorted({found["users"][0], found["users"][-1]}))
    seeds = f"seed{'s' if len(found['seeds']) > 1 else ''} {', '.join(map(str, found['seeds']))}"
    if found["kind"] == "texts":
        return (
            f"{found['dataset']}, {events_line(found['events'])} ({found['protocol']} protocol), {users} test events a "
            f"task, {seeds}; ±: standard deviation over several seeds"
        )
    if found["kind"] == "time":
        return (
            f"{found['device']}, {found['dataset']}, {seeds}. Lists of ten by `ms_per_user` of results.json: batches "
            "of the config's size, prompts included, compiled before, median of three rounds; all else likewise"
        )
    held = "seen items left out" if found["mask_seen"] else "seen items kept"
    short = " or ".join(map(str, found["lists"]))
    listed = f", by language models in lists of {short} (a target outside is a miss)" if short else ""
    over = "standard deviation over several seeds"
    if found["kind"] == "error":
        over = "standard error over seeds" if len(found["seeds"]) > 1 else "one seed has none, give --seeds 0 1 2"
    ranked = f"all {found['n_items']:,} items ranked{listed}, {held}, ties count half"
    return f"{found['protocol']} protocol, {found['part']} part, {users} users, {ranked}, {seeds}; ±: {over}"
