"""Section "Leak meter": whether held-out items were in view when the ids were made."""

from __future__ import annotations

from jaxrec.data.audit import leak_meter
from jaxrec.report.page import Section, render
from jaxrec.report.sections.ids import share_clusters
from jaxrec.system.system import System


def leaks_section(system: System) -> Section:
    """How often users are in the clusters of their held-out items, where both have cluster tokens in common."""
    meter = None
    if share_clusters(system):
        train, ids = system.split.train, system.ids
        users, items = ids.users.codes.values[: train.n_users, 0], ids.items.codes.values[: train.n_items, 0]
        meter = leak_meter(system.split, users, items)
    return Section("leaks", "Leak meter", render("leaks.html", meter=meter))
