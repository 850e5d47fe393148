"""Recommenders whose users and items are new tokens of a language model, in JAX.

    import jaxrec
    run = jaxrec.train(jaxrec.load_config("demo"), data="events.csv", out="runs/mine")
    run.results
    run.recommend("user0007", k=10)

Nothing but this file is imported until a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrec.api.blend import Blend, blend
    from jaxrec.api.functions import (
        BaselineSettings,
        compare,
        compare_baselines,
        compare_protocols,
        load,
        sweep,
        train,
    )
    from jaxrec.api.inspection import audit, download, id_scores
    from jaxrec.api.papers import paper_tables
    from jaxrec.api.recommendations import Recommendation, Recommendations
    from jaxrec.api.results import Results
    from jaxrec.api.run import EXPORTED_ABOUT_USERS, TrainedRun, evaluate_run, push_export
    from jaxrec.api.serving import serve
    from jaxrec.config import Config, load_config, load_study, presets
    from jaxrec.progress import log_to_stderr, messages_to

__version__ = "0.1.0"

_HOMES = {
    "jaxrec.config": ("Config", "load_config", "load_study", "presets"),
    "jaxrec.api.functions": (
        "train",
        "load",
        "compare",
        "compare_protocols",
        "compare_baselines",
        "sweep",
        "BaselineSettings",
    ),
    "jaxrec.api.blend": ("Blend", "blend"),
    "jaxrec.api.run": ("TrainedRun", "evaluate_run", "push_export", "EXPORTED_ABOUT_USERS"),
    "jaxrec.api.results": ("Results",),
    "jaxrec.api.recommendations": ("Recommendation", "Recommendations"),
    "jaxrec.api.inspection": ("audit", "id_scores", "download"),
    "jaxrec.api.papers": ("paper_tables",),
    "jaxrec.api.serving": ("serve",),
    "jaxrec.progress": ("log_to_stderr", "messages_to"),
}
"""Public names by the module that each is imported from when it is first used."""
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "EXPORTED_ABOUT_USERS",
    "BaselineSettings",
    "Blend",
    "Config",
    "Recommendation",
    "Recommendations",
    "Results",
    "TrainedRun",
    "audit",
    "blend",
    "compare",
    "compare_baselines",
    "compare_protocols",
    "download",
    "evaluate_run",
    "id_scores",
    "load",
    "load_config",
    "load_study",
    "log_to_stderr",
    "messages_to",
    "paper_tables",
    "presets",
    "push_export",
    "serve",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxrec' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
