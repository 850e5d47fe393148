"""A run of each method with a fixed seed gives what it gave before: a change of figures is never by accident.

Where a change of the code is meant to change them, the numbers below are replaced by those that the failure prints.
"""

import json
from pathlib import Path

import numpy as np
import pytest

GOLDEN = {
    "META ID": {"first loss": 6.757144, "last loss": 6.535850, "item codes": 32191},
    "TokenRec": {"first loss": 8.025024, "last loss": 5.994451, "item codes": 16258},
}


@pytest.mark.parametrize("method", list(GOLDEN))
def test_a_run_gives_what_it_gave_before(method: str, finished_run, tmp_path: Path) -> None:
    system = finished_run(method, tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    codes = system.ids.items.codes.values
    weights = np.arange(1, codes.size + 1).reshape(codes.shape)
    got = {"first loss": losses[0], "last loss": losses[-1], "item codes": int((codes * weights).sum())}
    assert got == pytest.approx(GOLDEN[method], rel=1e-5), got
