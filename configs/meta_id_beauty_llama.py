"""META ID (L) on Amazon Beauty as the paper sets it (appendix C.3): LLaMA 2 7B with LoRA, one epoch; for an 80 GB GPU.

Meta's weights want a licence: `hf auth login` first, or give a local folder with --model.init-from. Without
weights, to see that a machine can hold it: --model.init-from None.
"""

from jaxrec.config import (
    Config,
    DataConfig,
    EvalConfig,
    IdConfig,
    LlamaConfig,
    LoraConfig,
    ModelConfig,
    TaskConfig,
    TrainConfig,
)

config = Config(
    name="meta_id_beauty_llama",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    ids=IdConfig(clusters=100),
    model=ModelConfig(
        backbone="llama",
        llama=LlamaConfig(compute_dtype="bfloat16", remat=True),
        # The paper adapts the embedding and the head.
        lora=LoraConfig(rank=16, alpha=32.0, targets=("embedding", "head")),
        init_from="meta-llama/Llama-2-7b-hf",
    ),
    task=TaskConfig(weights=("direct=1.0",), max_history=20),
    train=TrainConfig(
        epochs=1,
        # Four rows of 1,024 hold about 80 examples; the paper's batch is 28.
        rows=4,
        source_length=1024,
        target_length=64,
        learning_rate=1e-5,
        warmup=0.05,
        fsdp=True,
    ),
    eval=EvalConfig(beams=20, batch_users=32),
)
