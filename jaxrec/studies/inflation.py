"""What the papers' leak adds: a study under the strict protocol and as released, side by side."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.config import Config
from jaxrec.embedders.registry import embedder
from jaxrec.evaluate.bootstrap import LEVEL, paired_bootstrap
from jaxrec.evaluate.report import COMPARED
from jaxrec.files import write_whole
from jaxrec.studies.compare import compare, over_seeds, run_folder
from jaxrec.system import run as runs
from jaxrec.system.run import command
from jaxrec.system.system import method_name


def under_both(study: Mapping[str, Config], seeds: Sequence[int], folder: pathlib.Path) -> dict[str, Any]:
    """`compare` under the strict protocol and as released, and what the papers' leak adds to each system.

    Args:
      study: configs by what their rows are called; their protocol is replaced.
      seeds: each config is run with each, under both.
      folder: gets the folders strict/ and as-released/, each as `compare` leaves it, and inflation.json.
    Returns:
      what inflation.json holds: "strict" and "as-released", as of `compare`; and "inflation", for each main row or
      embedder and metric both values, the share that is added, and an interval of the difference, paired by users.
    Raises:
      ValueError: a config can't be run under both.
    """
    both = {
        protocol: {name: dataclasses.replace(config, protocol=protocol) for name, config in study.items()}
        for protocol in ("strict", "as-released")
    }
    for configs in both.values():  # before hours of training
        for config in configs.values():
            runs.check(dataclasses.replace(config, out=str(folder / "none")))
    found: dict[str, Any] = {p: compare(configs, seeds, folder / p) for p, configs in both.items()}
    found["inflation"] = []
    rows = {name: (name, method_name(config)) for name, config in study.items()}
    # An embedder's own ranking is a row as well, and what leaks is what it was trained on.
    embedders = {name: embedder(config.embedder) for name, config in study.items()}
    rows |= {record.title: (name, record.title) for name, record in embedders.items() if record.ranks}
    for name, (run, system) in rows.items():
        strict, released = (
            over_seeds(
                [(run_folder(folder / protocol, run, seed), system) for seed in seeds], study[run].data.path is None
            )
            for protocol in both
        )
        for metric in COMPARED if strict and released else ():
            assert strict is not None
            assert released is not None
            one, other = float(np.nanmean(strict[metric])), float(np.nanmean(released[metric]))
            row = {"system": name, "metric": metric, "strict": one, "as-released": other}
            row["inflation"] = other / one - 1 if one else None
            found["inflation"].append(row | dataclasses.asdict(paired_bootstrap(released[metric], strict[metric])))
    write_whole(folder / "inflation.json", json.dumps({"command": command(), **found}, indent=1) + "\n")
    return found


def inflation_lines(found: dict[str, Any]) -> list[str]:
    """What `under_both` found, a line for each main row and metric."""
    lines = []
    for row in found["inflation"]:
        added = "from nothing" if row["inflation"] is None else f"inflation {row['inflation']:+.1%}"
        lines.append(
            f"as-released / strict, {row['system']}: {row['metric'].upper()} {row['strict']:.4f} -> "
            f"{row['as-released']:.4f} ({added}), difference {row['difference']:+.4f} "
            f"[{row['low']:+.4f}, {row['high']:+.4f}], {LEVEL:.0%} paired bootstrap over {row['n_users']:,} users"
        )
    return lines
