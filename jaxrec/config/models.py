"""Language models: their shapes, what is trained of them, how new tokens start and what answers in vectors."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Shape of a T5. Defaults: T5 v1.0 small (Raffel et al. 2020)."""

    vocab: int = 32128
    d_model: int = 512
    d_kv: int = 64
    heads: int = 8
    d_ff: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    buckets: int = 32
    max_distance: int = 128
    activation: Literal["relu", "gated-gelu"] = "relu"
    tied: bool = True
    """v1.0 ties the head to the embedding table and scales hidden states by d_model**-0.5; v1.1 does neither."""
    dropout: float = 0.1
    epsilon: float = 1e-6
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of matrix products; parameters, softmax, norms and loss stay float32."""
    remat: bool = False
    """Gradient checkpointing: layers are computed again in the backward pass instead of kept."""


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary positions (Su et al. 2021), and how they are stretched beyond the length of pretraining."""

    theta: float = 10000.0
    kind: Literal["default", "linear", "llama3", "yarn"] = "default"
    factor: float = 1.0
    original_length: int = 8192
    """Positions of pretraining; "llama3" and "yarn" read it."""
    low: float = 1.0
    high: float = 4.0
    """"llama3": wavelengths above original_length / low are stretched, those below original_length / high kept."""
    beta_slow: float = 1.0
    beta_fast: float = 32.0
    """"yarn": rotations over original_length between which stretching fades out."""
    attention_factor: float | None = None
    """"yarn": scale of cosines and sines; None: 0.1 ln(factor) + 1."""


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Shape of a decoder-only model of the LLaMA family. Defaults: LLaMA 2 7B (Touvron et al. 2023)."""

    family: Literal["llama", "mistral", "qwen2", "qwen3"] = "llama"
    """Hugging Face's model_type."""
    vocab: int = 32000
    d_model: int = 4096
    d_kv: int = 128
    heads: int = 32
    kv_heads: int = 32
    """Heads of keys and values; fewer than `heads` is grouped-query attention."""
    d_ff: int = 11008
    layers: int = 32
    rope: RopeConfig = RopeConfig()
    positions: int = 0
    """How many the whole model is for, as a stored one said; 0: as many as `rope` makes of its original length."""
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    """RMS norms of each head's queries and keys (Qwen 3)."""
    tied: bool = False
    """Whether the head is the embedding table."""
    window: int = 0
    """Sliding window: how many of the newest positions a query sees, itself among them; 0 = all."""
    windowed: tuple[int, ...] = ()
    """Numbers of the layers that the window holds for; empty = all."""
    dropout: float = 0.0
    epsilon: float = 1e-5
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation (Hu et al. 2022) of a decoder-only model: W + alpha / rank * A B, with W frozen."""

    rank: int = 0
    """0: no LoRA, every weight is trained. META ID (L) has 16."""
    alpha: float = 32.0
    dropout: float = 0.05
    """Of the input of A."""
    targets: tuple[Literal["attention", "mlp", "embedding", "head"], ...] = ("attention", "mlp")
    """What is adapted; META ID (L) adapts embedding and head. Rows of new tokens are trained whole in any case."""
    base_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen weights."""


@dataclasses.dataclass(frozen=True)
class OovConfig:
    """Linear OOV projection E'(x) + alpha F(anchor); META ID, eq. 8 and appendix C.3.1."""

    scope: Literal["encoder", "shared", "none"] = "encoder"
    """"encoder": the encoder's input alone (the released code), in a decoder-only model its input; "shared": every
    use of the table."""
    alpha: float = 0.1


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The language model."""

    backbone: str = "t5"
    """A name of `jaxrec.hub.registry`: "t5", an encoder-decoder, is META ID (T); "llama", a decoder-only model of the
    LLaMA family, META ID (L)."""
    t5: T5Config = T5Config()
    llama: LlamaConfig = LlamaConfig()
    lora: LoraConfig = LoraConfig()
    oov: OovConfig = OovConfig()
    init_from: str | None = None
    """A local Hugging Face folder or a hub name with weights and tokenizer of the backbone's kind; None: random
    weights and a tokenizer trained on the prompts."""
    new_rows: Literal["random", "mean", "anchors"] = "random"
    """How rows of new tokens start beside pretrained ones: "random" draws from a normal with each column's mean and
    deviation, "mean" is the mean row, "anchors" the mean row plus the token's anchor, projected to the rows' spread
    (tokens without an anchor are drawn)."""


@dataclasses.dataclass(frozen=True)
class RetrievalConfig:
    """How a model that answers with a vector is built and trained; TokenRec, section 2.4."""

    loss: str = "full"
    """"margin": eq. 20 with one negative. Beyond the paper: softmax over cosine / temperature, "sampled" against
    `negatives` items that the whole batch shares, "full" against all items."""
    similarity: Literal["cosine", "inner"] = "cosine"
    """"cosine" (eq. 19) forgets how long an item's vector is. "inner" ranks by inner product, as LightGCN does, which
    is a cosine in one more dimension (Bachrach et al. 2014)."""
    margin: float = 0.1
    temperature: float = 0.07
    negatives: int = 512
    align: float = 0.0
    """Weight of 1 - cosine between the answer and the user's own collaborative vector, added to any loss: the
    embedder's ranking is what the language model then starts from."""
    mask_known: bool = True
    """Whether a softmax leaves out the user's other training items, which a ranking leaves out too."""
    pooling: Literal["mean", "flatten"] = "mean"
    """Of the decoder's positions before the projection: their mean (the paper), or all side by side (its code)."""
    decoder_prompt: str = "The user prefers"
    """What the decoder is fed."""
    hidden: int = 256
    """Width of the projection's two hidden layers."""
    approximate: bool = False
    """Search with `approx_max_k`, which a TPU does faster than an exact top-k."""
