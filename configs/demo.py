"""META ID on the generated world: a few minutes on two CPU cores, no network."""

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
)

config = Config(
    name="demo",
    data=DataConfig(name="generated world"),
    # A small graph is known after a few rounds; the paper's 32 rounds of 64 change no id for the better here.
    walks=WalkConfig(rounds=8, length=32),
    skipgram=SkipGramConfig(dim=32, epochs=5),
    # A few more clusters than planted tastes, so that a cluster token means a taste.
    ids=IdConfig(clusters=16),
    model=ModelConfig(
        t5=T5Config(d_model=64, d_kv=32, heads=2, d_ff=512, encoder_layers=2, decoder_layers=2, dropout=0.0)
    ),
    # Direct recommendation costs its share of the minutes; a fifth is enough to learn that question too.
    task=TaskConfig(weights=("direct=0.2",), max_history=5),
    # Many small steps: 8 rows hold about 35 examples.
    train=TrainConfig(
        epochs=5,
        rows=8,
        source_length=128,
        target_length=20,
        learning_rate=2e-2,
        relative=True,
        validate_users=500,
    ),
    eval=EvalConfig(beams=20),
)
