"""One tiny config, small enough to be trained whole inside a test, and helpers for exports."""

import importlib.util
import pathlib
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from flax import nnx

from jaxrec.config import (
    Config,
    DataConfig,
    EvalConfig,
    IdConfig,
    ModelConfig,
    SkipGramConfig,
    T5Config,
    TaskConfig,
    TrainConfig,
    WalkConfig,
    WorldConfig,
)
from jaxrec.methods.system import System


@pytest.fixture(scope="session")
def tiny() -> Config:
    return Config(
        name="tiny",
        data=DataConfig(world=WorldConfig(users=80, items=48, events_per_user=9.0, tastes=4)),
        walks=WalkConfig(rounds=2, length=12),
        skipgram=SkipGramConfig(dim=8, epochs=2, batch_walks=64),
        ids=IdConfig(clusters=6, restarts=1, spare=4),
        model=ModelConfig(t5=T5Config(d_model=16, d_kv=8, heads=2, d_ff=32, encoder_layers=1, decoder_layers=1)),
        task=TaskConfig(max_history=6),
        train=TrainConfig(
            steps=8, rows=8, source_length=96, target_length=16, validate_every=0.25, validate_users=20, log_every=1
        ),
        eval=EvalConfig(beams=10, batch_users=32),
    )


@pytest.fixture(scope="session")
def adapted() -> Callable[[System], System]:
    """Gives LoRA's factors values as if they had learned something."""
    return _adapted


@pytest.fixture(scope="session")
def script() -> Callable[[pathlib.Path], ModuleType]:
    """An exported folder's recommend.py as a module of this process, where torch is loaded once."""
    return _script


def _adapted(system: System) -> System:
    draw = np.random.default_rng(0)
    for path, factor in nnx.to_flat_state(nnx.state(system.model)):
        if path[-1] == "b":
            factor[...] = draw.normal(size=factor[...].shape).astype(np.float32) * 0.1
    return system


def _script(folder: pathlib.Path) -> ModuleType:
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("recommend", folder / "recommend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
