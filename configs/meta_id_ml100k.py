"""META ID on MovieLens 100K, with ratings: walks keep to edges of one rating (eq. 6); for a GPU."""

from jaxrec.config import Config, DataConfig, EvalConfig, IdConfig, ModelConfig, T5Config, TaskConfig, TrainConfig

config = Config(
    name="meta_id_ml100k",
    data=DataConfig(
        name="MovieLens 100K", path="ml-100k/ml-100k.inter.gz", items_path="ml-100k/ml-100k.item.gz", min_events=5
    ),
    # 2,625 entities: 100 clusters would hold 26 each, and most of an id's meaning would be in its rank.
    ids=IdConfig(clusters=50),
    model=ModelConfig(t5=T5Config(compute_dtype="bfloat16")),
    task=TaskConfig(weights=("direct=0.5",), max_history=20),
    train=TrainConfig(epochs=10, rows=64, source_length=512, target_length=64, learning_rate=1e-3),
    eval=EvalConfig(recommender="beam", beams=20, batch_users=256),
)
