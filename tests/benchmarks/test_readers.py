"""The workloads of readers, tiny: both sides agree, as each workload asserts."""

import pytest

from benchmarks import harness
from benchmarks.readers import WORKLOADS
from benchmarks.run import WORKLOADS as NAMES
from benchmarks.run import workload


@pytest.mark.parametrize("name", WORKLOADS)
def test_readers_agree_with_polars(name: str) -> None:
    assert f"readers.{name}" in NAMES
    report = harness.measure(workload(f"readers.{name}"), quick=True)
    assert (report["workload"], report["unit"], report["work"]) == (f"readers.{name}", "events", 2000)
