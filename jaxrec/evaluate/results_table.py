"""results.json as a text table, with intervals and ties below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.evaluate.blending import RERANKED
from jaxrec.evaluate.bootstrap import LEVEL
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.evaluate.results_file import COMPARED


def results_table(report: dict[str, Any]) -> str:
    """The content of results.json as aligned lines, under a heading with dataset, protocol, part and seed."""
    masked = "seen items left out" if report["mask_seen"] else "seen items kept"
    head = (
        f"{report['dataset']}, {report['protocol']} protocol, {report['part']} part, seed {report['seed']}: "
        f"all {report['n_items']:,} items ranked, {masked}, ties count half"
    )
    columns = [f"{metric}@{k}" for k in CUTOFFS for metric in ("hr", "ndcg", "mrr")]
    width = max(len("system"), *(len(row["system"]) for row in report["rows"]))
    lines = [f"{'system':<{width}}" + "".join(f"{c.upper():>9}" for c in columns) + f"{'users':>9}"]
    for row in report["rows"]:
        values = "".join(f"{row[c]:>9.4f}" if c in row else f"{'-':>9}" for c in columns)
        lines.append(f"{row['system']:<{width}}{values}{row['n_users']:>9,}")
    lines += blend_lines(report)
    if embedder := report.get("embedder"):
        compared = ", ".join(f"{loss} {value:.4f}" for loss, value in embedder["validation_ndcg@10"].items())
        lines.append(f"the embedder's loss is {embedder['loss']}, chosen by validation NDCG@10: {compared}")
    return "\n".join([head, *lines, *notes_below_table(report["rows"], report.get("intervals", ()))])


def blend_lines(report: Mapping[str, Any]) -> list[str]:
    """A line for each blend of results.json: its weights, and how they were chosen."""
    return [_blend_line(report[key]) for key in ("blend", "blend_of_baselines") if report.get(key)]


def _blend_line(blend: Mapping[str, Any]) -> str:
    weights, validation = blend["weights"], blend["validation"]
    named = ", ".join(f"{weight:.2f} {name}" for name, weight in weights.items())
    line = (
        f"{blend['system']}: {named}; weights by {validation['metric'].upper()} on the validation items of "
        f"{validation['users']:,} users ({validation['value']:.4f}), the best of {validation['tries']}"
    )
    if reranker := blend.get("reranker"):
        chosen = reranker["validation"]
        return (
            f"{line}; re-ranked, {chosen['metric'].upper()} {chosen['value']:.4f} for {chosen['before']:.4f} on "
            f"{chosen['users']:,} validation users with the item among the first {reranker['candidates']}, by "
            "cross-validation"
        )
    if blend["system"].endswith(RERANKED) or blend.get("declined"):
        return f"{line}; not re-ranked, as cross-validation on validation items found nothing better"
    return line


def notes_below_table(rows: Sequence[Mapping[str, Any]], intervals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines to print below a table: intervals, and metrics under ties where they differ.

    Args:
      rows: of results.json; "ties" as in `Result.row`.
      intervals: of results.json.
    """
    lines = [
        f"{i['system']} - {i['baseline']}, {i['metric'].upper()}: {i['difference']:+.4f} "
        f"[{i['low']:+.4f}, {i['high']:+.4f}], {LEVEL:.0%} paired bootstrap over {i['n_users']:,} users"
        for i in intervals
    ]
    orders, metrics = ("optimistic", "expected", "pessimistic"), [m.upper() for m in COMPARED]
    tied = []
    for row in rows:
        if not (ties := row.get("ties")):
            continue
        shown = [[f"{ties[o][m]:.4f}" for o in orders] for m in COMPARED if m in ties["optimistic"]]
        if any(len(set(values)) > 1 for values in shown):
            tied.append((row["system"], f"{ties['share']:.1%}", [" ".join(f"{v:>11}" for v in vs) for vs in shown]))
    if tied:
        width = max(len("ties"), *(len(system) for system, *_ in tied))
        lines.append(f"{'':<{width}}{'targets':>9}" + "".join(f"{m:>38}" for m in metrics))
        names = " ".join(f"{o:>11}" for o in orders)
        lines.append(f"{'ties':<{width}}{'tied':>9}" + f"   {names}" * len(metrics))
        lines += [f"{system:<{width}}{share:>9}" + "".join(f"   {v}" for v in values) for system, share, values in tied]
    return lines
