"""META ID's ids on Amazon Beauty in a decoder-only model that learns from every item of a history at once."""

from jaxrec.config import (
    Config,
    DataConfig,
    EvalConfig,
    IdConfig,
    LlamaConfig,
    ModelConfig,
    OovConfig,
    SkipGramConfig,
    TaskConfig,
    TrainConfig,
    WalkConfig,
)

config = Config(
    name="meta_id_beauty_autoregressive_cpu",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    walks=WalkConfig(rounds=16, length=32),
    skipgram=SkipGramConfig(epochs=5),
    ids=IdConfig(clusters=100, users="none"),
    model=ModelConfig(
        backbone="llama",
        llama=LlamaConfig(
            d_model=64,
            d_kv=32,
            heads=2,
            kv_heads=2,
            d_ff=128,
            layers=2,
            tied=True,
            dropout=0.2,
            compute_dtype="bfloat16",
        ),
        oov=OovConfig("none"),
    ),
    task=TaskConfig(tasks=("autoregressive",), max_history=20, words=300),
    train=TrainConfig(
        epochs=12, rows=16, source_length=48, target_length=128, learning_rate=3e-3, weight_decay=0.0, validate_every=2
    ),
    eval=EvalConfig(beams=20),
)
