"""Results over several seeds: joined rows, and per-user averages for paired intervals."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.results_file import COMPARED, against_best_baseline
from jaxrec.files import read_kept
from jaxrec.studies.comparison import TABLE_METRICS, ComparisonRow, PairedInterval

RankFiles = Sequence[tuple[pathlib.Path, str]]
"""Location of a system's ranks for each seed: the folder of ranks.npz, and the system's name in it."""


class RowCollector:
    """Gathers rows of results.json files by system and seed.

    Attributes:
      rank_files: location of each system's ranks.
    """

    def __init__(self) -> None:
        self.rank_files: dict[str, list[tuple[pathlib.Path, str]]] = {}
        self._rows: dict[str, dict[int, Mapping[str, Any]]] = {}

    def add(self, system: str, seed: int, row: Mapping[str, Any], folder: pathlib.Path) -> None:
        """Adds a row, unless the system has one with this seed.

        Args:
          system: its name in the table.
          seed: of the run.
          row: as in results.json, with the run's own name of the system.
          folder: holds the run's ranks.npz.
        """
        by_seed = self._rows.setdefault(system, {})
        if seed not in by_seed:
            by_seed[seed] = row
            self.rank_files.setdefault(system, []).append((folder, row["system"]))

    def rows(self, first: Sequence[str] = ()) -> tuple[ComparisonRow, ...]:
        """All rows: those of `first`, then the others in the order they were added."""
        return tuple(_joined(system, self._rows[system]) for system in dict.fromkeys([*first, *self._rows]))


def intervals_beside_baselines(
    systems: Sequence[str],
    baselines: Sequence[str],
    rank_files: Mapping[str, RankFiles],
    *,
    blended: Collection[str] = (),
    own_users: bool = False,
) -> list[PairedInterval]:
    """Intervals of the difference between systems and the best baseline, by each user's mean over the seeds.

    Where there are blends of baselines, systems are compared with the best of these, too.

    Args:
      systems: rows of the table.
      baselines: rows of the table, measured on the same items.
      rank_files: of each row; a row that lacks ranks.npz for some seed is left out.
      blended: the baselines that are blends.
      own_users: whether each seed has users of its own, as generated worlds have; see `user_values_over_seeds`.
    """
    values = {name: user_values_over_seeds(rank_files[name], own_users) for name in {*systems, *baselines}}
    rivals = {name: user_metrics for name in baselines if (user_metrics := values[name])}
    return [
        PairedInterval(**interval)
        for name in systems
        if (ours := values[name])
        for interval in against_best_baseline(name, ours, rivals, blended)
    ]


def user_values_over_seeds(rank_files: RankFiles, own_users: bool) -> dict[str, np.ndarray] | None:
    """Each user's contribution to each metric, f64[U], NaN for users that were not evaluated.

    Args:
      rank_files: of one system, seed by seed.
      own_users: whether each seed has its own users, which are then concatenated; otherwise averaged over seeds.
    Returns:
      the values by metric; None if a seed's ranks are missing, or have another number of users.
    """
    ranks = []
    for folder, system in rank_files:
        file = folder / "ranks.npz"
        if not file.is_file():
            return None
        arrays = read_kept(file, "npz", "measure the run again, with jaxrec evaluate")
        if system not in arrays:
            return None
        ranks.append(arrays[system])
    if own_users:
        return {metric: np.concatenate([user_values(seed, metric) for seed in ranks]) for metric in COMPARED}
    if len({seed.shape for seed in ranks}) > 1:
        return None
    return {metric: np.mean([user_values(seed, metric) for seed in ranks], axis=0) for metric in COMPARED}


def _joined(system: str, by_seed: Mapping[int, Mapping[str, Any]]) -> ComparisonRow:
    rows = list(by_seed.values())
    return ComparisonRow(
        system,
        seeds=tuple(by_seed),
        metrics={metric: tuple(row.get(metric) for row in rows) for metric in TABLE_METRICS},
        n_users=tuple(row["n_users"] for row in rows),
        ties=tuple(row.get("ties") for row in rows),
    )
