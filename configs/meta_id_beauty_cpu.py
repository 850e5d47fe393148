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
    # Without user ids the history says all that a small model can use; docs/results compares the three forms.
    ids=IdConfig(clusters=100, users="none"),
    # Dropout costs a small model that is trained for minutes more than it saves.
    model=ModelConfig(
        t5=T5Config(d_model=96, d_kv=32, heads=3, d_ff=384, encoder_layers=2, decoder_layers=2, dropout=0.0)
    ),
    task=TaskConfig(tasks=("sequential",), max_history=10),
    # Rows of 128 keep attention cheap, 16 of them hold about the paper's 64 examples.
    train=TrainConfig(epochs=6, rows=16, source_length=128, target_length=16, learning_rate=2e-2, relative=True),
    eval=EvalConfig(beams=20),
)
