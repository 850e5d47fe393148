"""All five tasks (and review preference) from one config: META ID on Amazon Musical Instruments, for two CPU cores."""

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
    name="instruments_cpu",
    data=DataConfig(
        name="Amazon Musical Instruments", path="amazon-instruments/reviews_Musical_Instruments_part.json.gz"
    ),
    walks=WalkConfig(rounds=16, length=32),
    skipgram=SkipGramConfig(epochs=5),
    # A few hundred items: about ten in a cluster, with their users.
    ids=IdConfig(clusters=40, users="static"),
    model=ModelConfig(
        t5=T5Config(d_model=128, d_kv=32, heads=4, d_ff=512, encoder_layers=2, decoder_layers=2, dropout=0.1)
    ),
    task=TaskConfig(
        tasks=("sequential", "direct", "rating", "explanation", "review", "preference"),
        words=4000,
        max_history=10,
    ),
    # A review and its answer need more room than a history of ids.
    train=TrainConfig(
        epochs=8,
        rows=16,
        source_length=256,
        target_length=64,
        learning_rate=1e-2,
        relative=True,
        validate_users=500,
        select="nll",  # of all tasks that write; NDCG@10 of 500 users is noisier than what training gains at its end
    ),
    eval=EvalConfig(beams=20),
)
