"""META ID on MovieLens 100K, with ratings, and a T5 that two CPU cores can train."""

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
    name="meta_id_ml100k_cpu",
    data=DataConfig(
        name="MovieLens 100K", path="ml-100k/ml-100k.inter.gz", items_path="ml-100k/ml-100k.item.gz", min_events=5
    ),
    walks=WalkConfig(rounds=32, length=32),
    skipgram=SkipGramConfig(epochs=5),
    ids=IdConfig(clusters=50, users="none"),
    model=ModelConfig(
        t5=T5Config(d_model=96, d_kv=32, heads=3, d_ff=384, encoder_layers=2, decoder_layers=2, dropout=0.0)
    ),
    task=TaskConfig(tasks=("sequential",), max_history=10),
    train=TrainConfig(epochs=6, rows=16, source_length=128, target_length=16, learning_rate=2e-2, relative=True),
    eval=EvalConfig(beams=20),
)
