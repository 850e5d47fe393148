"""TokenRec on Amazon Beauty as the paper sets it: T5-small, K = 3, L = 512, histories of up to 100 items; for a GPU."""

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
    name="token_rec_beauty",
    embedder="lightgcn",
    answer="vector",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    lightgcn=LightGcnConfig(epochs=300),
    ids=IdConfig(kind="mq", users="static"),
    quantizer=QuantizerConfig(codebooks=3, codewords=512, mask=0.2),
    # T5-small's shape. Its pretrained weights come with --model.init-from google-t5/t5-small, or a local folder.
    model=ModelConfig(t5=T5Config(compute_dtype="bfloat16"), oov=OovConfig(scope="encoder", alpha=1.0)),
    task=TaskConfig(tasks=("collaborative", "direct"), weights=("direct=0.2",), max_history=100),
    # The paper's own loss is --retrieval.loss margin.
    retrieval=RetrievalConfig(loss="full", align=2.0, hidden=512),
    # A row holds about seven examples of ten items, or one of a hundred.
    train=TrainConfig(epochs=10, rows=64, source_length=512, target_length=32, learning_rate=1e-3),
    eval=EvalConfig(prompt="both", batch_users=512),
)
