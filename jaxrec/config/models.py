"""Settings of the language model: sizes, LoRA, initialisation of new tokens, and the retrieval head."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from jaxrec.config.limits import (
    Epsilon,
    Fraction,
    Layers,
    Limits,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Temperature,
    Width,
)


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes of a T5. Defaults: T5 v1.0 small (Raffel et al. 2020)."""

    vocab: PositiveInt = 32128
    """Tokens of the text vocabulary."""
    d_model: Width = 512
    """Width of hidden states."""
    d_kv: Width = 64
    """Width of an attention head."""
    heads: Annotated[int, Limits(at_least=1, at_most=1024)] = 8
    """Attention heads of a layer."""
    d_ff: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 2048
    """Width of the feed-forward part."""
    encoder_layers: Layers = 6
    """Layers of the encoder."""
    decoder_layers: Layers = 6
    """Layers of the decoder."""
    buckets: Annotated[int, Limits(at_least=4, at_most=65_536)] = 32
    """Buckets of relative positions, each with a bias for every head."""
    max_distance: PositiveInt = 128
    """From here on, relative positions share the last bucket."""
    activation: Literal["relu", "gated-gelu"] = "relu"
    """Of the feed-forward part: "relu" in v1.0, "gated-gelu" in v1.1."""
    tied: bool = True
    """Whether the head shares the embedding table and hidden states are scaled by d_model**-0.5: so in v1.0, neither in
    v1.1."""
    dropout: Probability = 0.1
    """Probability that a value is dropped in training."""
    epsilon: Epsilon = 1e-6
    """Added to the mean square in RMS norms."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of matrix products; parameters, softmax, norms and loss are always float32."""
    remat: bool = False
    """Gradient checkpointing: recompute the activations of each layer in the backward pass."""


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary position embeddings (Su et al. 2021), and their scaling beyond the context length of pretraining."""

    theta: Annotated[float, Limits(above=1, at_most=1e12)] = 10000.0
    """Base of the frequencies."""
    kind: Literal["default", "linear", "llama3", "yarn"] = "default"
    """How a longer context scales frequencies: not at all, all alike, or by wavelength as in LLaMA 3 or YaRN."""
    factor: Annotated[float, Limits(at_least=1, at_most=1e6)] = 1.0
    """How many times longer the context becomes; "default" ignores it."""
    original_length: PositiveInt = 8192
    """Context length of pretraining, in tokens; read by "llama3" and "yarn"."""
    low: PositiveFloat = 1.0
    """"llama3": wavelengths above original_length / low are scaled in full."""
    high: PositiveFloat = 4.0
    """"llama3": wavelengths above original_length / low are scaled, those below original_length / high are kept."""
    beta_slow: PositiveFloat = 1.0
    """"yarn": below this number of rotations over original_length, scaling is full."""
    beta_fast: PositiveFloat = 32.0
    """"yarn": scaling ramps from full to none between these numbers of rotations over original_length."""
    attention_factor: Annotated[float | None, Limits(above=0, at_most=1e6)] = None
    """"yarn": multiplies cosines and sines; None: 0.1 ln(factor) + 1."""


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a decoder-only model of the LLaMA family. Defaults: LLaMA 2 7B (Touvron et al. 2023)."""

    family: Literal["llama", "mistral", "qwen2", "qwen3"] = "llama"
    """Hugging Face's model_type."""
    vocab: PositiveInt = 32000
    """Tokens of the text vocabulary."""
    d_model: Width = 4096
    """Width of hidden states."""
    d_kv: Width = 128
    """Width of an attention head."""
    heads: Annotated[int, Limits(at_least=1, at_most=1024)] = 32
    """Attention heads of a layer."""
    kv_heads: Annotated[int, Limits(at_least=1, at_most=1024)] = 32
    """Key-value heads; fewer than `heads` is grouped-query attention."""
    d_ff: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 11008
    """Width of the feed-forward part."""
    layers: Layers = 32
    """Layers, each with attention and a feed-forward part."""
    rope: RopeConfig = RopeConfig()
    positions: NonNegativeInt = 0
    """Maximum context length, max_position_embeddings of a stored model; 0: what `rope` gives (original_length, times
    factor for "llama3" and "yarn")."""
    qkv_bias: bool = False
    """Whether the projections to queries, keys and values have a bias (Qwen 2)."""
    output_bias: bool = False
    """Whether attention's output projection has a bias."""
    mlp_bias: bool = False
    """Whether the feed-forward part has biases."""
    qk_norm: bool = False
    """RMSNorm on the queries and keys of each head (Qwen 3)."""
    tied: bool = False
    """Whether the head shares the embedding table."""
    window: NonNegativeInt = 0
    """Sliding window: number of latest positions a query attends to, its own included; 0: all."""
    windowed: tuple[NonNegativeInt, ...] = ()
    """Indices of the layers with a sliding window; empty: all layers."""
    dropout: Probability = 0.0
    """Probability that a value is dropped in training."""
    epsilon: Epsilon = 1e-5
    """Added to the mean square in RMS norms."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of matrix products; parameters, softmax, norms and loss are always float32."""
    remat: bool = False
    """Gradient checkpointing: recompute the activations of each layer in the backward pass."""


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation (Hu et al. 2022) of a decoder-only model: W + alpha / rank * A B, with W frozen."""

    rank: Annotated[int, Limits(at_least=0, at_most=65_536)] = 0
    """0: no LoRA, all weights are trained. META ID (L) uses 16."""
    alpha: PositiveFloat = 32.0
    """Weight of the adaptation, before it is divided by the rank."""
    dropout: Probability = 0.05
    """Dropout rate on the input of A."""
    targets: tuple[Literal["attention", "mlp", "embedding", "head"], ...] = ("attention", "mlp")
    """Which weights get LoRA; META ID (L) adapts embedding and head. Rows of new tokens are always trained in full."""
    base_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Dtype in which the frozen weights are held."""


@dataclasses.dataclass(frozen=True)
class OovConfig:
    """Linear OOV projection E'(x) + alpha F(anchor); META ID, eq. 8 and appendix C.3.1."""

    scope: Literal["encoder", "shared", "none"] = "encoder"
    """Where the projection is added: "encoder", to the input embeddings of the encoder, or of a decoder-only model (the
    released code); "shared", to every use of the embedding table, the decoder and a tied head included; "none"."""
    alpha: NonNegativeFloat = 0.1
    """Weight of the projection."""


@dataclasses.dataclass(frozen=True)
class FilterConfig:
    """A low-pass filter along the history beside the self-attention of an item decoder (BSARec, Shin et al. 2024)."""

    weight: Fraction = 0.0
    """Share of the filter in the mixture with self-attention; 0: no filter. BSARec has 0.7 on Amazon Beauty."""
    frequencies: Annotated[int, Limits(at_least=0, at_most=512)] = 2
    """Frequencies that the filter keeps, beside the mean."""
    period: Annotated[int, Limits(at_least=1, at_most=1024)] = 50
    """Number of latest items that the filter spans."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The language model."""

    backbone: str = "t5"
    """A name in `jaxrec.hub.registry`: "t5", an encoder-decoder, as in META ID (T); "llama", a decoder-only model of
    the LLaMA family, as in META ID (L); "item_decoder", LLaMA's layers over items instead of tokens, with the sizes of
    `llama`, for answer "both"."""
    t5: T5Config = T5Config()
    llama: LlamaConfig = LlamaConfig()
    filter: FilterConfig = FilterConfig()
    """Of the backbone "item_decoder"."""
    lora: LoraConfig = LoraConfig()
    oov: OovConfig = OovConfig()
    init_from: str | None = None
    """Pretrained model of this backbone: a local Hugging Face folder or a hub name, with weights and tokenizer; None:
    random weights and a tokenizer trained on the prompts."""
    new_rows: Literal["random", "mean", "anchors"] = "random"
    """Initial embeddings of new tokens in a pretrained model: "random", normal with each column's mean and standard
    deviation over the pretrained rows; "mean", the mean row; "anchors", the mean row plus the token's projected anchor,
    scaled to the rows' deviation from their mean (tokens without an anchor: as "random")."""


@dataclasses.dataclass(frozen=True)
class ItemHeadConfig:
    """A row for each item and a head over these rows, beside the item's id, for answer "both"."""

    weight: NonNegativeFloat = 1.0
    """Weight of the loss of the head: the mean over items of -log p(item)."""
    id_weight: NonNegativeFloat = 1.0
    """Weight of the loss of the id: the mean over its codes of the negative log-likelihood."""
    share: Fraction = 0.8
    """An item's score is share * log p(item) + (1 - share) * log p(id); 1 answers by the head alone, 0 by the id."""
    similarity: Literal["inner", "cosine"] = "cosine"
    """Logits of the head: hidden state times row, or their cosine divided by `temperature`."""
    temperature: Temperature = 0.07
    """Divides cosines in the loss."""
    negatives: NonNegativeInt = 0
    """Items that the head's loss is computed over, drawn anew each step for the whole batch; 0, or as many as there are
    items: all items."""
    mask_seen: bool = False
    """Whether the items that an example has before an answer are no candidates in the head's loss, as they are none in
    a list without seen items. An example is a piece of at most `task.max_history` events, less what `task.augment`
    drops."""
    rows: Literal["own", "vectors"] = "own"
    """An item's row: parameters of its own, or a linear map of its collaborative vector, which a new item has, too."""
    initial: Literal["random", "vectors"] = "random"
    """Own rows before training: "random", or "vectors", the items' collaborative vectors, centred, rotated to the
    model's width, scaled alike and with some noise, so that the model starts from what items occur together."""
    row_input: bool = True
    """Whether an item's row is added to the input where its id ends."""
    row_output: bool = False
    """Whether an item's row also takes part where its id is said: the logit of the last code is the inner
    product with its token's vector plus the row, and its odds are among the items whose ids differ in it alone."""
    tied: bool = True
    """Whether the rows of the input are the head's weights, too."""


@dataclasses.dataclass(frozen=True)
class RetrievalConfig:
    """The retrieval head and its loss, for answer "vector"; TokenRec, section 2.4."""

    loss: str = "full"
    """A name in `jaxrec.models.losses`: "margin", eq. 20 with one negative. Not in the paper: cross-entropy of a
    softmax over similarity / temperature, "sampled" over `negatives` items shared by the batch, "full" over all
    items."""
    similarity: Literal["cosine", "inner"] = "cosine"
    """"cosine" (eq. 19) ignores the norms of item vectors. "inner" ranks by inner product, as LightGCN does, by
    reduction to cosine in one more dimension (Bachrach et al. 2014)."""
    margin: Annotated[float, Limits(at_least=0, at_most=2)] = 0.1
    """Of the loss "margin"."""
    temperature: Temperature = 0.07
    """Divides similarities in a softmax loss."""
    negatives: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 512
    """Of the loss "sampled"."""
    align: NonNegativeFloat = 0.0
    """Weight of 1 - cosine(output, the user's collaborative vector), added to any loss, so that the model starts out
    close to the embedder's ranking."""
    mask_known: bool = True
    """Whether a softmax loss masks the user's other training items, as ranking does."""
    pooling: Literal["mean", "flatten"] = "mean"
    """How the decoder's hidden states are pooled before the projection: mean over positions (the paper), or
    concatenation (its code)."""
    decoder_prompt: str = "The user prefers"
    """Fixed decoder input."""
    hidden: Width = 256
    """Width of the two hidden layers of the projection MLP."""
    approximate: bool = False
    """Use `jax.lax.approx_max_k`, which is faster on TPU than an exact top-k."""
