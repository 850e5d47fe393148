"""Order of rounds, arithmetic of ratios, and the files and tables made from them."""

import json
import pathlib

import numpy as np
import pytest

from benchmarks import harness, roofline
from benchmarks.run import workload_table
from jaxrec.config import T5Config


class Counter:
    """A workload of known order; the peer takes far longer."""

    name, reach, aim = "counter", 2.0, 3.0

    def __init__(self) -> None:
        self.calls: list[str] = []

    def cases(self, quick: bool):
        def peer() -> None:
            self.calls.append("peer")
            np.linalg.svd(np.ones((120, 120)))

        return lambda: self.calls.append("ours"), peer, 10.0, "events", "a note"


def test_rounds_are_interleaved_after_a_warm_up() -> None:
    workload = Counter()
    report = harness.measure(workload, quick=False)
    assert workload.calls == ["ours", "peer"] * (harness.ROUNDS + 1)
    assert len(report["ours"]["rounds"]) == len(report["peer"]["rounds"]) == harness.ROUNDS
    assert report["verdict"] == "aim"


def test_ratio_is_that_of_the_medians() -> None:
    timing = harness.Timing(ours=(1.0, 2.0, 9.0), peer=(4.0, 8.0, 8.0))
    assert timing.ratio == 4.0
    assert timing.spread == (pytest.approx(8 / 9), 4.0)


@pytest.mark.parametrize(("ratio", "verdict"), [(3.0, "aim"), (2.0, "reach"), (1.9, "below")])
def test_verdicts(ratio: float, verdict: str) -> None:
    assert harness.verdict(ratio, 2.0, 3.0, quick=False) == verdict
    assert harness.verdict(ratio, 2.0, 3.0, quick=True) == "quick"


def test_files_and_table(tmp_path: pathlib.Path) -> None:
    report = harness.measure(Counter(), quick=True)
    harness.write(tmp_path, "counter", report)
    read = json.loads((tmp_path / "counter.json").read_text())
    assert {"command", "device", "processor", "versions", "ratio_spread"} <= set(read)
    head, row, *_ = workload_table([read]).splitlines()
    assert head.split() == ["workload", "ours", "peer", "ratio", "(range)", "reach", "aim", "verdict"]
    assert row.split()[0] == "counter"
    assert row.endswith("2x     3x   quick")


def test_step_flops_are_six_for_each_weight_and_token_where_attention_is_small() -> None:
    config = T5Config(vocab=4, d_model=512, d_kv=64, heads=8, d_ff=2048)
    feed_and_attention = 2 * 512 * 2048 + 4 * 512 * 512
    encoder, decoder = 6 * feed_and_attention, 6 * (feed_and_attention + 2 * 512 * 512)
    cross = 6 * 2 * 512 * 512  # its keys and values are made from the source's tokens
    expected = 6 * 2 * (8 * (encoder + cross) + 8 * decoder)
    assert roofline.step_flops(config, 2, 8, 8) == pytest.approx(expected, rel=0.01)
