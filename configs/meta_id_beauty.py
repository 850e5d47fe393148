"""META ID (T) on Amazon Beauty at the paper's size (appendix C.3), for a GPU: T5-small, |G| = 100, ten epochs.

Not as in the paper: batches of about 1,000 examples, so 2,570 updates where batches of 64 make about 41,000; ids of
users from the history before each target (`--ids.users static` takes all training events); 20 beams and up to 20 items
of history, twice those of the released code; random weights unless --model.init-from names others.
"""

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
        # 64 rows of 512 hold about 1,000 examples: the paper's batch of 64 leaves a large accelerator idle.
        rows=64,
        source_length=512,
        target_length=64,
        learning_rate=1e-3,
        warmup=0.05,
    ),
    eval=EvalConfig(recommender="beam", beams=20, batch_users=256),
)
