"""A new baseline is one new file and one line: here a toy from outside the package, registered by one record."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxrec.baselines.baseline import Baseline
from jaxrec.baselines.registry import BASELINES, Settings
from jaxrec.config import Config
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.studies.baselines import compare_baselines
from jaxrec.types import Histories, Split


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Its one setting."""

    sign: float = 1.0


def train_toy(settings: ToyConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    """Items by how often training holds them, times the sign."""
    counts = settings.sign * np.bincount(split.train.items, minlength=split.train.n_items).astype(np.float32)

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        return np.broadcast_to(counts, (len(users), len(counts)))

    return score


def test_it_is_trained_measured_and_tabled(
    tiny: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BASELINES, "toy", Baseline("toy", ToyConfig(), train_toy))
    comparison = compare_baselines(["toy"], tiny, [0], tmp_path, Settings())
    assert comparison.row("toy").metrics["hr@10"] == comparison.row("popularity").metrics["hr@10"]
    assert json.loads((tmp_path / "toy-0" / "settings.json").read_text()) == {"toy": {"sign": 1.0}}
    assert "toy" in str(comparison)
