"""For any file of users' sequences: META ID's ids and an item head in a decoder over items; its table has a blend."""

from jaxrec.config import (
    AugmentConfig,
    Config,
    DataConfig,
    EvalConfig,
    FilterConfig,
    IdConfig,
    ItemHeadConfig,
    LlamaConfig,
    ModelConfig,
    OovConfig,
    SkipGramConfig,
    TaskConfig,
    TrainConfig,
    WalkConfig,
)

config = Config(
    name="best",
    answer="both",
    data=DataConfig(name="generated world"),
    walks=WalkConfig(rounds=8, length=32),
    skipgram=SkipGramConfig(dim=128, epochs=3),
    ids=IdConfig(clusters=0, users="none"),
    model=ModelConfig(
        backbone="item_decoder",
        llama=LlamaConfig(d_model=128, d_kv=32, heads=4, kv_heads=4, d_ff=256, layers=2, tied=True, dropout=0.5),
        filter=FilterConfig(weight=0.7),
        oov=OovConfig("none"),
    ),
    # The results were measured with a weight of 0.5 of a mean over three tokens, of which the prefix was certain.
    item_head=ItemHeadConfig(id_weight=1 / 3, share=1.0, negatives=4096, initial="vectors"),
    task=TaskConfig(
        tasks=("autoregressive",),
        max_history=50,
        words=300,
        augment=AugmentConfig(crop=0.2, drop=0.1, shuffle=0.3),
    ),
    train=TrainConfig(
        epochs=60,
        rows=8,
        source_length=112,
        target_length=200,
        learning_rate=3e-3,
        warmup=0.0,
        weight_decay=0.0,
        average=0.99,
        validate_every=2,
        validate_users=5000,
        patience=5,
    ),
    eval=EvalConfig(recommender="exact", batch_users=256, counts=True, blend_with=("lightgcn", "ease"), rerank=True),
)
