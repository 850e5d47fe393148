"""Pages of jinja2 templates: one HTML file, for wide and narrow, light and dark screens, that loads nothing else."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from jaxrec.report.formatting import decimals, duration, number, percent, printable, signed


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
      anchor: its id, to which the navigation leads.
      title: its heading.
      content: what stands below the heading.
    """

    anchor: str
    title: str
    content: Markup


@dataclasses.dataclass(frozen=True)
class Tile:
    """A number to be seen first, with what it is and what to compare it with."""

    name: str
    value: str
    context: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart with its title.

    Attributes:
      title: what is shown.
      chart: SVG; None where there is too little to draw.
      note: more about it, beside the title.
      legend: names of the series in the order of their colours; a single series gets no legend.
    """

    title: str
    chart: Markup | None
    note: str = ""
    legend: Sequence[str] = ()


def render(template: str, **values: object) -> Markup:
    """Fills a template of `templates/`; every value that is not Markup is escaped.

    Args:
      template: the file's name.
      values: what the template reads, by name.
    Raises:
      jinja2.UndefinedError: the template reads a name that has no value.
    """
    return Markup(environment().get_template(template).render(values))


def render_page(title: str, lead: str, sections: Sequence[Section], *, footer: str, tiles: Sequence[Tile] = ()) -> str:
    """A whole page: header with navigation, tiles, sections, footer and style sheet.

    Args:
      title: of the page.
      lead: a line below the title.
      sections: in their order on the page.
      footer: a line at the end.
      tiles: numbers between the header and the sections.
    """
    return str(render("page.html", title=title, lead=lead, sections=sections, footer=footer, tiles=tiles))


@functools.cache
def environment() -> jinja2.Environment:
    """The templates of `templates/` and their filters; values are escaped, and a name without a value is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxrec.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_without_control_characters,
    )
    environment.filters |= {f.__name__: f for f in (number, decimals, signed, percent, duration)}
    return environment


def _without_control_characters(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
