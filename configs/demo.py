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
    # About as many clusters as planted tastes, so that a cluster token means a taste.
    ids=IdConfig(clusters=24),
    model=ModelConfig(
        t5=T5Config(d_model=64, d_kv=32, heads=2, d_ff=256, encoder_layers=2, decoder_layers=2, dropout=0.1)
    ),
    # Half the examples direct would cost half the minutes; a fifth is enough to learn that question too.
    task=TaskConfig(direct_share=0.2, max_history=10),
    train=TrainConfig(
        epochs=12,
        rows=64,
        source_length=128,
        target_length=16,
        learning_rate=3e-3,
        validate_every=3,
        validate_users=500,
    ),
    eval=EvalConfig(beams=20),
)
