"""The five tasks on Amazon Musical Instruments as META ID sets them (C.3.2): T5-small, ten epochs; for a GPU."""

import dataclasses
import pathlib

from jaxrec.config import EvalConfig, ModelConfig, T5Config, TrainConfig, load_config

base = load_config(pathlib.Path(__file__).with_name("instruments_cpu.py"))

config = dataclasses.replace(
    base,
    name="instruments",
    # T5-small's shape. Its pretrained weights, which words need most, come with --model.init-from google-t5/t5-small.
    model=ModelConfig(t5=T5Config(compute_dtype="bfloat16")),
    # 512 tokens of a prompt and 64 of an answer.
    task=dataclasses.replace(base.task, max_text=400, max_answer=63),
    train=TrainConfig(epochs=10, rows=32, source_length=512, target_length=256, learning_rate=1e-3, warmup=0.05),
    eval=EvalConfig(beams=20, batch_users=256),
)
