"""META ID (L) on MovieLens 100K: a small LLaMA of random, frozen weights, adapted by LoRA, for two CPU cores.

What a frozen random network still learns through new tokens' rows and low-rank additions; a pretrained one comes with
--model.init-from FOLDER.
"""

from jaxrec.config import (
    Config,
    DataConfig,
    EvalConfig,
    IdConfig,
    LlamaConfig,
    LoraConfig,
    ModelConfig,
    SkipGramConfig,
    TaskConfig,
    TrainConfig,
    WalkConfig,
)

config = Config(
    name="meta_id_ml100k_llama_cpu",
    data=DataConfig(
        name="MovieLens 100K", path="ml-100k/ml-100k.inter.gz", items_path="ml-100k/ml-100k.item.gz", min_events=5
    ),
    walks=WalkConfig(rounds=32, length=32),
    skipgram=SkipGramConfig(epochs=5),
    ids=IdConfig(clusters=50, users="none"),
    model=ModelConfig(
        backbone="llama",
        llama=LlamaConfig(d_model=96, d_kv=32, heads=3, kv_heads=1, d_ff=256, layers=2),
        lora=LoraConfig(rank=16, targets=("attention", "mlp", "embedding", "head")),
    ),
    task=TaskConfig(tasks=("sequential",), max_history=10),
    # At 1e-2 the loss rises again as soon as warm-up is over; new rows are trained at the same rate as LoRA's factors.
    train=TrainConfig(epochs=3, rows=16, source_length=128, target_length=16, learning_rate=2e-3),
    eval=EvalConfig(beams=20),
)
