"""A page of sections with its style sheet: one HTML file for wide and narrow, light and dark screens."""

from __future__ import annotations

from collections.abc import Sequence

from jaxrec.report.draw.markup import element, escape

STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#5b6675;--edge:#dfe3e9;--grid:#e8ebf0;
--s0:#2f62d9;--s1:#d9822b;--s2:#1f8f74;--s3:#8a55c7;--plus:#1f5fd0;--minus:#c8541c;--good:#1b7f4b;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1a2028;--ink:#e6eaf0;--soft:#a0acba;--edge:#2c3541;
--grid:#2a323d;--s0:#7fa8ff;--s1:#f0a653;--s2:#4cc7a5;--s3:#c197f2;--plus:#6c9dff;--minus:#f08a50;--good:#5fd394;
--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main,header,footer{max-width:1160px;margin:0 auto;padding:0 20px}
header{padding-top:32px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 6px}
h2{font-size:1.3rem;margin:0 0 6px}
h3{font-size:1rem;margin:22px 0 6px}
p{margin:0 0 12px;max-width:75ch}
.soft,.lead,figcaption,.caption{color:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:14px 0 18px;font-size:.95rem}
a{color:var(--s0);text-decoration:none}
a:hover,a:focus{text-decoration:underline}
section{background:var(--card);border:1px solid var(--edge);border-radius:12px;padding:22px 24px;margin:0 0 20px}
footer{padding-bottom:36px;color:var(--soft);font-size:.9rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:0 0 20px}
.tile{background:var(--card);border:1px solid var(--edge);border-radius:12px;padding:14px 18px}
.tile b{display:block;font-size:1.7rem;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.9rem;display:block}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:22px 30px}
.grid>*{min-width:0}
.grid+.grid{margin-top:26px}
figure{margin:8px 0 0}
figcaption{font-size:.95rem;margin-bottom:6px}
figcaption b{color:var(--ink)}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.9rem;margin-bottom:4px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.chart{display:block;width:100%;height:auto;max-width:560px}
.points,.matrix{max-width:470px}
.matrix{border:1px solid var(--edge)}
.chart text{font-size:12px;fill:var(--ink)}
.chart text.soft{fill:var(--soft)}
.chart text.name{fill:var(--soft);font-weight:600}
.chart .rule{stroke:var(--grid);fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.hidden{fill:transparent}
.hidden circle:hover{fill:var(--ink)}
.whisker{stroke:var(--ink);stroke-width:1.3;opacity:.75}
.points circle{fill-opacity:.85}
.points circle:hover,.bar rect:hover{fill:var(--ink)}
.plus{fill:var(--plus)}.minus{fill:var(--minus)}
.line.s0{stroke:var(--s0)}.line.s1{stroke:var(--s1)}.line.s2{stroke:var(--s2)}.line.s3{stroke:var(--s3)}
.dot.s0,.bar.s0{fill:var(--s0)}.dot.s1,.bar.s1{fill:var(--s1)}.dot.s2,.bar.s2{fill:var(--s2)}.dot.s3,.bar.s3{fill:var(--s3)}
i.s0{background:var(--s0)}i.s1{background:var(--s1)}i.s2{background:var(--s2)}i.s3{background:var(--s3)}
.scale{height:10px;max-width:470px;border-radius:5px;border:1px solid var(--edge);margin-top:8px;
background:linear-gradient(90deg,var(--minus),transparent 50%,var(--plus))}
.ends{display:flex;justify-content:space-between;max-width:470px;font-size:.85rem;color:var(--soft)}
.scroll{overflow-x:auto;margin:8px 0 4px}
table{border-collapse:separate;border-spacing:0;font-size:.95rem;font-variant-numeric:tabular-nums}
.caption{margin:12px 0 0;font-size:.95rem;font-weight:600}
th,td{padding:6px 12px;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap;vertical-align:top}
th:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:600;font-size:.88rem;vertical-align:bottom}
tbody th{font-weight:500}
tr.mine th,tr.mine td{font-weight:700}
td small{display:block;color:var(--soft);font-weight:400;font-size:.8rem}
table.text td{text-align:left;white-space:normal}
table.text th:not(:first-child){text-align:left}
.wide table{width:100%}.wide th,.wide td{padding:6px 8px}.wide th:first-child{padding-left:0}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
table code{overflow-wrap:break-word}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--ground);border:1px solid var(--edge);border-radius:8px;
padding:10px 14px;margin:8px 0 12px}
details{margin-top:10px}
summary{cursor:pointer;color:var(--s0);font-size:.92rem}
.good{color:var(--good);font-weight:650}.bad{color:var(--bad);font-weight:650}
.unsure{color:var(--soft);font-weight:650}
ol.list{list-style:none;margin:0;padding:0}
ol.list li{display:grid;grid-template-columns:1.9em minmax(0,1fr) auto;gap:0 8px;padding:5px 0;
border-bottom:1px solid var(--grid)}
ol.list li>span:first-child,ol.list .score{color:var(--soft);font-variant-numeric:tabular-nums}
ol.list code{display:block;color:var(--soft);font-size:.8rem}
ol.list li.hit{background:color-mix(in srgb,var(--good) 14%,transparent);
border-radius:6px;padding-left:6px;margin-left:-6px}
td.share{min-width:76px}
@media (max-width:640px){body{font-size:15.5px}main,header,footer{padding-left:12px;padding-right:12px}
header{padding-top:20px}h1{font-size:1.5rem}section{padding:16px 14px;border-radius:10px}.chart text{font-size:15px}
.tiles{grid-template-columns:repeat(2,1fr);gap:8px}.tile{padding:10px 12px}.tile b{font-size:1.4rem}
th,td{padding:6px 8px}.sticky th:first-child{position:sticky;left:0;background:var(--card);
max-width:40vw;white-space:normal}}
@media print{body{background:#fff}section{break-inside:avoid}}
"""


def section(name: str, title: str, *parts: str) -> tuple[str, str, str]:
    """A part of the page: its anchor, its title, and its markup under that title."""
    whole = element(
        "section", element("h2", escape(title), id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title"
    )
    return name, title, whole


def paragraph(text: str, class_: str | None = None) -> str:
    """Plain text as a paragraph."""
    return element("p", escape(text), class_=class_)


def figure(title: str, chart: str, *, note: str = "", legend: Sequence[str] = (), numbers: str = "") -> str:
    """A chart with its title, its series' names and, folded away, its numbers as a table.

    Args:
      title: what is shown, plain text.
      chart: markup.
      note: more words, plain text.
      legend: names of the series in the order of their colours; one needs none.
      numbers: a table.
    """
    parts = [element("figcaption", element("b", escape(title)), escape(f" {note}" if note else ""))]
    if len(legend) > 1:
        keys = [element("span", element("i", "", class_=f"s{n}"), escape(name)) for n, name in enumerate(legend)]
        parts.append(element("div", *keys, class_="legend"))
    parts.append(chart)
    if numbers:
        parts.append(element("details", element("summary", "the numbers"), numbers))
    return element("figure", *parts)


def grid(*parts: str) -> str:
    """Parts side by side where there is room."""
    return element("div", *parts, class_="grid")


def tiles(values: Sequence[tuple[str, str, str]]) -> str:
    """Numbers to be seen first: (what, number, what it is beside)."""
    each = [
        element("div", element("span", escape(a)), element("b", escape(b)), element("span", escape(c)), class_="tile")
        for a, b, c in values
    ]
    return element("div", *each, class_="tiles")


def page(title: str, lead: str, top: str, sections: Sequence[tuple[str, str, str]], foot: str) -> str:
    """The whole file.

    Args:
      title: plain text.
      lead: plain text below it.
      top: markup before the sections.
      sections: of `section`.
      foot: plain text.
    """
    links = element("nav", *(element("a", escape(t), href=f"#{n}") for n, t, _ in sections), aria_label="Sections")
    header = element("header", element("h1", escape(title)), element("p", escape(lead), class_="lead"), links)
    main = element("main", top, *(markup for _, _, markup in sections))
    footer = element("footer", paragraph(foot))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{header}{main}{footer}</body></html>\n'
