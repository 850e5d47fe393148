"""META ID on Amazon Beauty with a T5 that two CPU cores can train."""

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
    name="meta_id_beauty_cpu",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    walks=WalkConfig(rounds=16, length=32),
    skipgram=SkipGramConfig(epochs=5),
    ids=IdConfig(clusters=100),
    model=ModelConfig(
        t5=T5Config(d_model=128, d_kv=32, heads=4, d_ff=512, encoder_layers=2, decoder_layers=2, dropout=0.1)
    ),
    # Direct recommendation would double the time.
    task=TaskConfig(tasks=("sequential",), max_history=10),
    train=TrainConfig(epochs=10, rows=64, source_length=128, target_length=16, learning_rate=2e-3),
    eval=EvalConfig(beams=20),
)
