"""TokenRec on Last.fm with a T5 that two CPU cores can train."""

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
    name="token_rec_lastfm",
    embedder="lightgcn",
    answer="vector",
    data=DataConfig(name="Last.fm", path="lastfm/user_sequence.txt.gz"),
    # 1,090 users make validation noisy: patience has to outlast several lower values.
    lightgcn=LightGcnConfig(patience=8),
    ids=IdConfig(kind="mq", users="static"),
    # K = 3 and L = 256, the paper's choice for this size (section 3.6.2), and its masking ratio (3.6.1).
    quantizer=QuantizerConfig(codebooks=3, codewords=256, mask=0.2),
    model=ModelConfig(
        t5=T5Config(d_model=64, d_kv=32, heads=2, d_ff=256, encoder_layers=2, decoder_layers=1, dropout=0.0),
        # A token starts as a projection of its codeword, so that tokens which mean alike begin alike.
        oov=OovConfig(scope="encoder", alpha=1.0),
    ),
    task=TaskConfig(tasks=("collaborative", "direct"), weights=("direct=0.2",), max_history=10),
    retrieval=RetrievalConfig(loss="full", temperature=0.07, align=2.0),
    # Many small steps with updates relative to a parameter's size: T5's random weights learn slowly otherwise.
    train=TrainConfig(
        epochs=1.5,
        rows=8,
        source_length=192,
        target_length=8,
        learning_rate=2e-2,
        relative=True,
        validate_every=0.5,
        patience=0,
        validate_users=0,
    ),
    eval=EvalConfig(prompt="both", batch_users=256),
)
