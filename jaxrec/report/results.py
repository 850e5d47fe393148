"""Parts of a report that are about results: the table, curves, who is served well, recommendations, what was run."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.config import Config
from jaxrec.embedders.registry import EMBEDDERS
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.evaluate.results_file import COMPARED
from jaxrec.report.attention import AnswerAttention
from jaxrec.report.draw import charts
from jaxrec.report.draw.markup import element, escape, number, table
from jaxrec.report.draw.page import figure, grid, paragraph, section
from jaxrec.report.ids import Section
from jaxrec.system.system import System
from jaxrec.training.writer import read_records
from jaxrec.types import Split

METRICS = tuple(f"{metric}@{k}" for k in CUTOFFS for metric in ("hr", "ndcg", "mrr"))
ORDERS = ("optimistic", "expected", "pessimistic")
PART = re.compile(r", (un)?seen (users|items)$")


def best_baseline(found: dict[str, Any]) -> dict[str, Any] | None:
    """The row with the highest NDCG@10 among those that are not the method's own."""
    own = found["rows"][0]["system"]
    rows = [row for row in found["rows"] if not row["system"].startswith(own) and not PART.search(row["system"])]
    rows = [row for row in rows if row.get("baseline")] or rows
    return max(rows, key=lambda row: row.get("ndcg@10", 0.0), default=None)


def results(found: dict[str, Any]) -> Section:
    """The table of results.json."""
    metrics = [m for m in METRICS if any(m in row for row in found["rows"])]
    main = [row for row in found["rows"] if not PART.search(row["system"])]
    parts = [row for row in found["rows"] if PART.search(row["system"])]

    def lines(rows: Sequence[dict[str, Any]]) -> str:
        head = ["system", *(m.upper() for m in metrics), "users"]
        cells = [[escape(r["system"]), *(_measured(r, m) for m in metrics), number(r["n_users"])] for r in rows]
        return element("div", table(head, cells, caption=None), class_="sticky wide")

    masked = "items of the history left out" if found["mask_seen"] else "items of the history kept"
    text = f"All {number(found['n_items'])} items are ranked for every user, {masked}; ties count half."
    more = [_beside(found["intervals"])] if found.get("intervals") else []
    more += [_ties(main)] if any("ties" in row for row in main) else []
    more += [element("h3", "By what training had seen"), lines(parts)] if parts else []
    return section("results", "Results", paragraph(text), lines(main), *more)


def _measured(row: dict[str, Any], metric: str) -> str:
    return f"{row[metric]:.4f}" if metric in row else "–"


def _beside(intervals: Sequence[dict[str, Any]]) -> str:
    """The method beside the best baseline, as results.json has it: paired bootstrap over users."""
    rows = []
    for one in intervals:
        class_ = "good" if one["low"] > 0 else "bad" if one["high"] < 0 else "unsure"
        far = element("span", _signed(one["difference"]), class_=class_)
        span = f"{_signed(one['low'])} to {_signed(one['high'])}"
        told = [escape(one["system"]), one["metric"].upper(), far, span]
        rows.append([*told, escape(one["baseline"]), number(one["n_users"])])
    head = ["system", "metric", "difference", "95% interval", "best baseline", "users"]
    return table(head, rows, caption="Beside the best baseline: paired bootstrap over users")


def _ties(rows: Sequence[dict[str, Any]]) -> str:
    """What the order of items of one score could make of the metrics."""
    cells = []
    for row in rows:
        if ties := row.get("ties"):
            told = [" / ".join(_measured(ties[order], metric) for order in ORDERS) for metric in COMPARED]
            cells.append([escape(row["system"]), f"{ties['share']:.1%}", *told])
    head = ["system", "targets tied", *(metric.upper() for metric in COMPARED)]
    caption = "Targets that share their score: before the others / the mean over all orders / behind them"
    return table(head, cells, caption=caption)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def curves(folder: pathlib.Path) -> Section:
    """Losses and validations of the model's training, and of the embedder's."""
    records, shown = read_records(folder / "metrics.jsonl"), []

    def series(records: Sequence[dict[str, Any]], *names: str) -> dict[str, tuple[list[float], list[float]]]:
        found = {}
        for name in names:
            kept = [r for r in records if name in r]
            if kept:
                title = name.removeprefix("valid/").upper() if "@" in name else name
                found[title] = [r["step"] for r in kept], [r[name] for r in kept]
        return found

    def add(title: str, found: dict[str, tuple[list[float], list[float]]], y: str) -> None:
        chart = charts.lines(found, label=title, x="step", y=y)
        numbers = ""
        if found and all(len(xs) <= 40 for xs, _ in found.values()):
            steps = next(iter(found.values()))[0]
            rows = [[number(s), *(f"{ys[n]:.4f}" for _, ys in found.values())] for n, s in enumerate(steps)]
            numbers = table(["step", *found], rows)
        shown.append(figure(title, chart, legend=list(found), numbers=numbers))

    add("Training loss", series(records, "loss"), "loss")
    valid = "valid/" if any("valid/hr@10" in r for r in records) else ""
    if any(f"{valid}hr@10" in r for r in records):
        add("Validation", series(records, *(f"{valid}{m}" for m in ("hr@10", "ndcg@10"))), "metric")
    nll = "valid/nll" if any("valid/nll" in r for r in records) else "nll"
    if any(nll in r for r in records):
        add("Validation of answers in words", series(records, nll), "negative log-likelihood a token")
    for name, embedder in EMBEDDERS.items():
        if (file := folder / name / "metrics.jsonl").is_file():
            add(f"Loss of the embedder ({embedder.title})", series(read_records(file), "loss"), "loss")
    return section("curves", "Training", grid(*shown))


class Group(NamedTuple):
    """HR@10 among users who are alike in a number: its range, how many users, the share of hits and its interval."""

    low: int
    high: int
    users: int
    rate: float
    interval: tuple[float, float]


def by_group(ranks: np.ndarray, numbers: np.ndarray, most: int = 5) -> list[Group]:
    """HR@10 in groups of about as many users, by a number of each.

    Args:
      ranks: f32[U], NaN where nobody was asked.
      numbers: i64[U].
      most: groups.
    Returns:
      Groups from the lowest numbers to the highest; intervals are Wilson's, of 95%.
    """
    asked = ~np.isnan(ranks)
    numbers, hits = numbers[asked], ranks[asked] < 11  # a rank of 10.5 is a hit, as in `ranking.metrics`
    if not len(numbers):
        return []
    edges = np.unique(np.quantile(numbers, np.arange(1, most) / most, method="lower"))
    group = np.searchsorted(edges, numbers, side="left")
    found = []
    for one in np.unique(group):
        mine = group == one
        n, rate, z = int(mine.sum()), float(hits[mine].mean()), 1.96
        middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
        span = max(0.0, float(middle - half)), min(1.0, float(middle + half))
        found.append(Group(int(numbers[mine].min()), int(numbers[mine].max()), n, rate, span))
    return found


def served(split: Split, found: dict[str, Any], ranks: dict[str, np.ndarray]) -> Section:
    """HR@10 by how much training holds of the user, and of the item that was asked for."""
    target = split.target(found["part"])
    events = np.bincount(split.train.items, minlength=split.train.n_items)
    kinds = {
        "By user activity": ("training events of the user", np.diff(split.train.offsets)),
        "By item popularity": ("training events of the item", np.where(target >= 0, events[target], 0)),
    }
    best = best_baseline(found)
    systems = [name for name in (found["rows"][0]["system"], *([best["system"]] if best else [])) if name in ranks]
    shown = []
    for title, (x, numbers) in kinds.items():
        groups = {name: by_group(ranks[name], numbers) for name in systems}
        first = next(iter(groups.values()), [])
        names = [f"{g.low:,}" if g.low == g.high else f"{g.low:,}–{g.high:,}" for g in first]
        chart = charts.bars(
            names,
            {name: [g.rate for g in row] for name, row in groups.items()},
            intervals={name: [g.interval for g in row] for name, row in groups.items()},
            notes=[f"n={g.users:,}" for g in first],
            label=f"HR@10 {title.lower()}",
            x=x,
            y="HR@10",
        )
        rows = [
            [escape(name), number(first[n].users), *(_spanned(row[n]) for row in groups.values())]
            for n, name in enumerate(names)
        ]
        legend = list(groups)
        shown.append(figure(f"HR@10 {title.lower()}", chart, legend=legend, numbers=table([x, "users", *legend], rows)))
    text = "Groups of about as many users; whiskers are 95% intervals. Beside the best baseline by NDCG@10."
    return section("served", "Who is served well", paragraph(text), grid(*shown))


def _spanned(group: Group) -> str:
    return f"{group.rate:.4f}<small>{group.interval[0]:.4f}–{group.interval[1]:.4f}</small>"


def attention(system: System, found: AnswerAttention, who: str, rank: float) -> Section:
    """Shares of attention as a table of shades."""
    titles, rows = system.data.titles(), []
    most = float(found.shares.max(initial=0.0)) or 1.0

    def cell(share: float) -> str:
        shade = f"color-mix(in srgb,var(--s0) {60 * share / most:.0f}%,transparent)"
        return element("td", f"{share:.1%}", class_="share", style=f"background:{shade}")

    def line(name: str, shares: Sequence[float]) -> str:
        return element("tr", element("th", name, scope="row"), *(cell(float(s)) for s in shares))

    for piece, item, shares in zip(found.pieces, found.items, found.shares):
        told = element("code", escape(piece)) if piece.startswith("<") else escape(f"“{piece}”")
        told += f" {escape(titles[item])}" if item >= 0 and str(titles[item]) not in piece else ""
        rows.append(line(told, shares))
    rest = np.clip(1 - found.shares.sum(axis=0), 0, 1)
    if (rest > 1e-3).any():
        rows.append(line("the answer so far", rest.tolist()))
    head = element("tr", *(element("th", escape(n), scope="col") for n in ("prompt", *found.answer)))
    whole = element("table", element("thead", head), element("tbody", *rows), class_="attention")
    if found.item is None:
        answer = "The columns are the words that the decoder is always fed; their states make the answer's vector."
    else:
        name = str(titles[found.item])
        stands = f"stands at rank {number(rank, 1)}" if np.isfinite(rank) else "is not in the list"
        answer = f"The answer is the held-out item, {name}, which {stands}."
    text = f"{who}. {answer} Shares are means of all heads and layers; an id's tokens are added up (META ID, figure 8)."
    label = "Attention from the answer's tokens to the prompt"
    scrolls = element("div", whole, class_="scroll sticky", tabindex="0", role="region", aria_label=label)
    return section("attention", "Where the answer looks", paragraph(text), scrolls)


def about(config: Config, found: dict[str, Any]) -> Section:
    """The command, the machine, and where the config differs from the defaults."""
    rows = [
        ["device", escape(found["device"])],
        ["versions", escape(", ".join(f"{name} {version}" for name, version in found["versions"].items()))],
    ]
    if found.get("seconds"):
        minutes, seconds = divmod(round(found["seconds"]), 60)
        rows.append(["whole run", f"{minutes} min {seconds} s" if minutes else f"{seconds} s"])
    if "ms_per_user" in found:
        rows.append(["a list of ten", f"{found['ms_per_user']:.2f} ms per user"])
    mine, usual = (flatten_dict(dataclasses.asdict(c), sep=".") for c in (config, Config(config.name)))
    differing = [
        [element("code", escape(n)), *(element("code", escape(_short(v[n]))) for v in (mine, usual))]
        for n in mine
        if mine[n] != usual[n] and n not in ("name", "out")
    ]
    parts = [element("pre", element("code", escape(_short(found["command"]))))] if "command" in found else []
    parts.append(table(["", ""], rows, class_="text"))
    parts.append(element("h3", "Config, where it differs from the defaults"))
    parts.append(table(["field", "here", "default"], differing, class_="text"))
    return section("about", "How it was made", *parts)


def _short(value: object) -> str:
    """A value as text; of a path from the root its last part alone, for a page may be passed on."""
    return re.sub(r"(?<![\w.])/(?:[^/\s'\"]+/)+([^/\s'\"]+)", r"…/\1", str(value))
