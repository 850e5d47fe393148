"""Writes docs/reference/settings.md, the table of all settings: `python docs/settings.py`."""

import pathlib

from jaxrec.baselines.registry import BASELINES
from jaxrec.config import Config
from jaxrec.config.descriptions import sections

FILE = pathlib.Path(__file__).parent / "reference" / "settings.md"
START = """# Settings

Every setting of a run and of the baselines, with its default and what it allows. A value that is not allowed is
refused before anything is read: `train.rows is 0; it must be at least 1 and at most 65,536`.
`jaxrec train demo --train.rows 32` sets one on the command line, `config.replace(train__rows=32)` in Python, and
`jaxrec train demo --help` lists them with the defaults of a preset.

This page is written by `python docs/settings.py` from the dataclasses in `jaxrec/config/` and `jaxrec/baselines/`,
which also make the checks.
"""


def page() -> str:
    """The page's text."""
    parts = [START, "## A run\n"]
    for path, about, settings in sections(Config(name="demo")):
        parts += _table(f"### {path}\n" if path else "", path, about, settings)
    parts.append("## Baselines\n")
    for name, baseline in BASELINES.items():
        for path, about, settings in sections(baseline.settings, name):
            parts += _table(f"### {path}\n", path, about, settings)
    return "\n".join(parts)


def _table(heading: str, path: str, about: str, settings: list) -> list[str]:
    rows = ["| setting | default | allowed | |", "|---|---|---|---|"]
    for setting in settings:
        name = f"{path}.{setting.name}" if path else setting.name
        cells = f"`{name}`", f"`{setting.default!r}`", setting.allowed, _escaped(setting.text)
        rows.append(f"| {' | '.join(cells)} |")
    return [heading, about.split("\n\n")[0].replace("\n", " ") + "\n", *rows, ""]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
