"""Section "How it was made": command, machine, versions, times, and the config where it differs from the defaults."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from flax.traverse_util import flatten_dict

from jaxrec.config import Config
from jaxrec.report.page import Section, render


def about_section(config: Config, report: dict[str, Any]) -> Section:
    """How a run was made, from its config and what results.json holds."""
    settings, defaults = (flatten_dict(dataclasses.asdict(c), sep=".") for c in (config, Config(config.name)))
    changed = [
        (field, without_folders(value), without_folders(defaults[field]))
        for field, value in settings.items()
        if value != defaults[field] and field not in ("name", "out")
    ]
    content = render(
        "about.html",
        command=without_folders(report["command"]) if "command" in report else None,
        device=report["device"],
        versions=report["versions"],
        seconds=report.get("seconds"),
        ms_per_user=report.get("ms_per_user"),
        embedder=report.get("embedder"),
        changed=changed,
    )
    return Section("about", "How it was made", content)


def without_folders(value: object) -> str:
    """A value as text in which an absolute path keeps its last part alone, for a page may be passed on."""
    return re.sub(r"(?<![\w.])/(?:[^/\s'\"]+/)+([^/\s'\"]+)", r"…/\1", str(value))
