"""Estimated memory against counts by hand, and its growth with layers."""

import argparse

import pytest

from benchmarks import memory

ARGUMENTS = {
    "shape": "mistral-7b",
    "devices": 1,
    "model_parallel": 1,
    "fsdp": False,
    "rows": 1,
    "length": 128,
    "whole": False,
    "layers": 2,
}


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, float]]:
    changes = {"lora": {}, "deeper": {"layers": 4}, "whole": {"whole": True}}
    return {name: memory.measure(argparse.Namespace(**ARGUMENTS | changed)) for name, changed in changes.items()}


@pytest.mark.slow
def test_what_is_held_is_what_the_shapes_say(figures) -> None:
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
    table = 33280 * 4096  # 32,000 rows and 1,280 new ones
    rows, adapted = 2 * 1280 * 4096, 16 * 2 * (33280 + 4096)
    adapted += 2 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    kernel = 64 * 4096
    trained = rows + adapted + kernel
    anchors = 1280 * 64
    held = 2 * (2 * layer + 2 * table + 4096) + 4 * anchors + 12 * trained
    assert figures["lora"]["held GB"] * 1e9 == pytest.approx(held, rel=1e-4)
    assert figures["lora"]["gradients GB"] * 1e9 == pytest.approx(4 * trained, rel=1e-4)
    assert figures["whole"]["held GB"] * 1e9 == pytest.approx(12 * (2 * layer + 2 * table + 4096 + kernel), rel=1e-3)


@pytest.mark.slow
def test_gradient_checkpointing_keeps_one_hidden_state_a_layer(figures) -> None:
    growth = (figures["deeper"]["kept GB"] - figures["lora"]["kept GB"]) * 1e9
    state = 4 * (128 + memory.TARGET) * 4096
    assert 2 * state <= growth <= 2 * 1.2 * state
