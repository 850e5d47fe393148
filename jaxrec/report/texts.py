"""Parts of a report that are about ratings and texts: how well, and what was said."""

from __future__ import annotations

from typing import Any

from jaxrec.evaluate.text_results import events_line
from jaxrec.report.draw.markup import element, escape, number, table
from jaxrec.report.draw.page import paragraph, section
from jaxrec.report.ids import Section

TITLES = {
    "rating": "Rating: stars of a user for an item",
    "explanation": "Explanation: a sentence about a feature word",
    "review": "Review: a title for a text",
    "preference": "Preference: the stars that go with a text",
}


def texts(found: dict[str, Any]) -> Section:
    """The tables of results.json's "texts", each with a few answers beside what people wrote."""
    told = found["texts"]
    events = told["events"]
    parts = [
        paragraph(
            f"{events_line(events).capitalize()}. BLEU and ROUGE are in percent; of RMSE and MAE less is better. "
            "BLEU-4 of texts of fewer than four words says little."
        )
    ]
    for task in dict.fromkeys(row["task"] for row in told["rows"]):
        rows = [row for row in told["rows"] if row["task"] == task]
        metrics = [name for name in rows[0] if name not in ("task", "system", "baseline", "n", "ms")]
        digits = 4 if "rmse" in metrics else 2
        cells = [[escape(row["system"]), *(f"{row[m]:.{digits}f}" for m in metrics), number(row["n"])] for row in rows]
        parts.append(element("h3", TITLES[task]))
        whole = table(["system", *(m.upper() for m in metrics), "events"], cells, caption=None)
        parts.append(element("div", whole, class_="sticky wide"))
        shown = told.get("examples", {}).get(task, [])
        if shown:
            head = ["user", "item", "given", "answer", "what was written"]
            lines = [[escape(_cut(one[k])) for k in ("user", "item", "given", "answer", "truth")] for one in shown]
            parts.append(element("details", element("summary", "a few answers"), table(head, lines, class_="text")))
    return section("texts", "Ratings and texts", *parts)


def _cut(text: str, most: int = 240) -> str:
    return text if len(text) <= most else text[:most] + " …"
