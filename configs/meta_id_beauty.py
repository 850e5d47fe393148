"""META ID (T) on Amazon Beauty as the paper sets it (appendix C.3): T5-small, |G| = 100, ten epochs; for a GPU."""

from jaxrec.config import Config, DataConfig, EvalConfig, IdConfig, ModelConfig, T5Config, TaskConfig, TrainConfig

config = Config(
    name="meta_id_beauty",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    ids=IdConfig(clusters=100),
    # T5-small's shape. Its pretrained weights come with --model.init-from google-t5/t5-small, or a local folder.
    # From random weights, as this stands, the CPU configs learned faster with --train.relative
    # --train.learning-rate 0.02; that has not been tried at this size.
    model=ModelConfig(t5=T5Config(compute_dtype="bfloat16")),
    task=TaskConfig(weights=("direct=1.0",), max_history=20),
    train=TrainConfig(
        epochs=10,
        # 64 rows of 512 hold about 700 examples: the paper's batch of 64 leaves a large accelerator idle.
        rows=64,
        source_length=512,
        target_length=64,
        learning_rate=1e-3,
        warmup=0.05,
    ),
    eval=EvalConfig(recommender="beam", beams=20, batch_users=256),
)
