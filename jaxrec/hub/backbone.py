"""The record of a backbone: how a language model is built and sharded, and how it is stored on Hugging Face."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from jaxrec.config import ModelConfig
from jaxrec.hub.weights import Names
from jaxrec.models.language_model import LanguageModel


class Build(Protocol):
    """Builds a language model with random weights."""

    def __call__(
        self,
        shape: Any,
        settings: ModelConfig,
        anchors: np.ndarray | jax.Array | None,
        first_oov: int,
        start: int,
        *,
        rngs: nnx.Rngs,
    ) -> LanguageModel:
        """Builds the model.

        Args:
          shape: sizes, from `Backbone.shape`; `vocab` is the size of the extended vocabulary.
          settings: `oov` and `lora` are read.
          anchors: f32[M,F], anchor vectors of the tokens first_oov, first_oov + 1, ...; None: no token has one.
          first_oov: the first new token.
          start: the token before an answer: in a decoder-only model the one between prompt and answer, else 0.
          rngs: the stream "params" initialises the weights.
        """
        ...


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """How a backbone's weights are stored on Hugging Face; "flat" means a dict of arrays by Hugging Face's names.

    Attributes:
      transformers_class: name of the transformers class that loads an export.
      table: name of the input embedding table.
      head: name of the output head's weights; both have a row per token.
      read: read(folder or hub name) -> the sizes, and flat weights in their stored dtype.
      tensor_names: tensor_names(shape) -> for the path of each weight its Hugging Face name, and whether it is stored
        transposed.
      to_hf: to_hf(model) -> flat weights f32, LoRA and the OOV projection merged.
      exported_shape: exported_shape(model) -> the sizes of the model that `to_hf` returns.
      config_json: config_json(shape, tokens) -> the content of config.json; "tokens" holds the tokenizer's
        bos_token_id, eos_token_id and pad_token_id.
      input_table: input_table(model) -> input embeddings without the OOV projection, f32[V,D].
      peft_adapter: peft_adapter(model) -> adapter_config.json and flat LoRA factors; None where there is no LoRA.
    """

    transformers_class: str
    table: str
    head: str
    read: Callable[[str | os.PathLike[str]], tuple[Any, dict[str, np.ndarray]]]
    tensor_names: Callable[[Any], Names]
    to_hf: Callable[[Any], dict[str, np.ndarray]]
    exported_shape: Callable[[Any], Any]
    config_json: Callable[[Any, Mapping[str, int | None]], dict[str, Any]]
    input_table: Callable[[Any], jax.Array]
    peft_adapter: Callable[[Any], tuple[dict[str, Any], dict[str, np.ndarray]]] | None = None

    @property
    def tables(self) -> tuple[str, str]:
        """Names of the tensors with a row per token."""
        return self.table, self.head


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A kind of language model; a new one is a module with such a record and a line in the registry.

    Attributes:
      label: its name in tables.
      model: its class.
      shape: shape(settings) -> its sizes, a frozen dataclass with `vocab`, `d_model`, `dropout`, `compute_dtype`,
        `remat` and fields of its own; it raises ValueError for sizes that it can't have.
      build: see `Build`.
      depth: depth(shape) -> number of layers as text, such as "6+6".
      decoder_only: whether prompt and answer are one sequence, with a token between them.
      lora: whether it supports `ModelConfig.lora`.
      items_alone: whether it reads nothing but items, for answer "both" without user ids.
      suffix: appended to the names of methods in tables, such as " (L)".
      sharding: sharding(fsdp) -> partition rules of its parameters, see `jaxrec.training.sharding.shardings`.
      hugging_face: how its weights are read and exported; None: it can only start from random weights and cannot be
        exported.
    """

    label: str
    model: type[LanguageModel]
    shape: Callable[[ModelConfig], Any]
    build: Build
    depth: Callable[[Any], str]
    decoder_only: bool
    lora: bool = False
    items_alone: bool = False
    suffix: str = ""
    sharding: Callable[[bool], Sequence[tuple[str, PartitionSpec]]] = lambda fsdp: ()
    hugging_face: HuggingFace | None = None
