"""Section "Results": the method beside its baselines, intervals, ties, and results by what training had seen."""

from __future__ import annotations

import re
from typing import Any

from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.evaluate.results_file import COMPARED
from jaxrec.evaluate.results_table import blend_lines
from jaxrec.report.formatting import decimals, number
from jaxrec.report.page import Section, Tile, render

METRICS = tuple(f"{metric}@{k}" for k in CUTOFFS for metric in ("hr", "ndcg", "mrr"))
TIE_ORDERS = ("optimistic", "expected", "pessimistic")
SEEN_OR_UNSEEN = re.compile(r", (un)?seen (users|items)$")
"""Ends the name of a row that measures only a part of the users."""


def results_section(report: dict[str, Any]) -> Section:
    """The tables of what results.json holds; its "rows" must not be empty."""
    rows = [row for row in report["rows"] if not SEEN_OR_UNSEEN.search(row["system"])]
    content = render(
        "results.html",
        metrics=[metric for metric in METRICS if any(metric in row for row in report["rows"])],
        rows=rows,
        rows_by_seen=[row for row in report["rows"] if SEEN_OR_UNSEEN.search(row["system"])],
        n_items=report["n_items"],
        mask_seen=report["mask_seen"],
        intervals=report.get("intervals") or [],
        blend_lines=blend_lines(report),
        tied_rows=[row for row in rows if row.get("ties")],
        tie_metrics=COMPARED,
        tie_orders=TIE_ORDERS,
    )
    return Section("results", "Results", content)


def best_baseline(report: dict[str, Any]) -> dict[str, Any] | None:
    """The row of results.json with the highest NDCG@10 among those of other systems; None if there are none."""
    own_name = report["rows"][0]["system"]
    rows = [
        row
        for row in report["rows"]
        if not row["system"].startswith(own_name) and not SEEN_OR_UNSEEN.search(row["system"])
    ]
    rows = [row for row in rows if row.get("baseline")] or rows
    return max(rows, key=lambda row: row.get("ndcg@10", 0.0), default=None)


def ranking_tiles(report: dict[str, Any]) -> list[Tile]:
    """HR@10 and NDCG@10 beside those of the best baseline, time per user, and how much was measured."""
    main, best = report["rows"][0], best_baseline(report)
    tiles = [
        Tile(metric.upper(), decimals(main[metric]), f"{best['system']}: {decimals(best.get(metric))}" if best else "")
        for metric in ("hr@10", "ndcg@10")
        if metric in main
    ]
    return [
        *tiles,
        Tile("a list of ten", f"{decimals(report['ms_per_user'], 2)} ms", "per user"),
        Tile("measured on", number(main["n_users"]), f"users, all {number(report['n_items'])} items ranked"),
    ]
