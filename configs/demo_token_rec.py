"""TokenRec on the generated world: LightGCN, masked K-way quantizers, a T5 that answers with a vector."""

from jaxrec.config import (
    Config,
    DataConfig,
    EvalConfig,
    IdConfig,
    LightGcnConfig,
    ModelConfig,
    OovConfig,
    QuantizerConfig,
    RetrievalConfig,
    T5Config,
    TaskConfig,
    TrainConfig,
)

config = Config(
    name="demo_token_rec",
    embedder="lightgcn",
    answer="vector",
    data=DataConfig(name="generated world"),
    # More layers make all items of a planted taste alike, and the next item is one of them.
    lightgcn=LightGcnConfig(dim=32, layers=1, epochs=60, patience=4),
    # 600 items and 2,000 users do not fill the paper's 256 codewords.
    ids=IdConfig(kind="mq", users="static"),
    quantizer=QuantizerConfig(codewords=64, width=32, epochs=60),
    model=ModelConfig(
        t5=T5Config(d_model=64, d_kv=32, heads=2, d_ff=256, encoder_layers=2, decoder_layers=1, dropout=0.0),
        # A token starts as a projection of its codeword, so that tokens which mean alike begin alike.
        oov=OovConfig(scope="encoder", alpha=1.0),
    ),
    # This world's histories follow a planted order, which a shuffled history would hide.
    task=TaskConfig(tasks=("collaborative", "direct"), weights=("direct=0.2",), max_history=8, shuffle=False),
    retrieval=RetrievalConfig(loss="full", temperature=0.05),
    train=TrainConfig(
        epochs=2,
        rows=8,
        source_length=192,
        target_length=8,
        learning_rate=2e-2,
        relative=True,
        validate_users=500,
    ),
    eval=EvalConfig(prompt="both", batch_users=256),
)
