"""Programs for TPUs are traced at tiny sizes, and compiled where libtpu is installed."""

import importlib.util

import jax
import pytest

from benchmarks import compiled
from jaxrec.platform import compiling_for


@pytest.mark.slow
@pytest.mark.parametrize("name", compiled.PROGRAMS)
def test_programs_are_traced(name: str) -> None:
    with compiling_for("tpu"):
        _, program = compiled.PROGRAMS[name](jax.devices()[:1], True)
        results = jax.eval_shape(program.function, *program.arguments)
    assert jax.tree.leaves(results)


def test_collectives_are_counted() -> None:
    program = """
      %x = f32[8]{0} all-reduce(f32[8]{0} %a), replica_groups={}
      %y = (f32[8]{0}, f32[8]{0}) all-gather-start(f32[4]{0} %b), dimensions={0}
      %z = f32[8]{0} all-gather-done((f32[8]{0}, f32[8]{0}) %y)
      ROOT %w = (f32[8]{0}, f32[2]{0}) all-reduce(f32[8]{0} %c, f32[2]{0} %d)
    """
    assert compiled.collectives(program) == {"all-reduce": 2, "all-gather": 1}


def test_unknown_chips_are_refused() -> None:
    with pytest.raises(SystemExit, match="names no known chip; there are: v5e, v5p, v6e"):
        compiled.described("v1:2x2", 1)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="the TPU's compiler, libtpu, is not installed")
def test_a_step_compiles_for_a_tpu() -> None:
    chip, devices = compiled.described("v5e:2x2", 1)
    row = compiled.measure(compiled.PROGRAMS["meta_id_step"], chip, devices, quick=True)
    assert row["fits"]
    assert row["bytes"] < 1e9, "0.76 GB when this was written"
    assert row["collectives"] == {}
