"""One tiny config, small enough to be trained whole inside a test."""

import pytest

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
