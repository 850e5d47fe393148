"""What a backbone is: a language model that users and items are new tokens of, and its form on Hugging Face."""

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
    """Makes a language model with random weights."""

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
        """The model.

        Args:
          shape: its sizes, as `Backbone.shape` gives them; `vocab` is that of the extended vocabulary.
          settings: its OOV projection and LoRA.
          anchors: f32[M,F], of the tokens first_oov, first_oov + 1, ...; None: no token has any.
          first_oov: number of the first new token.
          start: the token that precedes an answer: of a decoder-only model one between prompt and answer, else 0.
          rngs: its "params" stream initialises.
        """
        ...


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """How weights of a backbone are stored on Hugging Face; "flat" is a dict of arrays by Hugging Face's names.

    Attributes:
      transformers_class: the class of transformers that loads an export, by name.
      table: name of the input's embedding table.
      head: name of the head's weights; both have a row for each token.
      read: read(folder or hub name) -> the shape, and flat weights in their stored dtype.
      tensor_names: tensor_names(shape) -> our path of every weight, to its name and whether it is transposed there.
      to_hf: to_hf(model) -> flat weights f32, LoRA and the OOV projection merged.
      exported_shape: exported_shape(model) -> the shape that `to_hf` has.
      config_json: config_json(shape, tokens) -> what config.json says, "tokens" being the tokenizer's bos_token_id,
        eos_token_id and pad_token_id.
      input_table: input_table(model) -> what the input reads of each token but for the OOV projection, f32[V,D].
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
        """Names of the tensors with a row for each token."""
        return self.table, self.head


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A kind of language model; a new one is a file with such a record and a line in the registry.

    Attributes:
      label: what tables and model cards call it.
      model: its class.
      shape: shape(settings) -> its sizes, a frozen dataclass with `vocab`, `d_model`, `dropout`, `compute_dtype`,
        `remat` and its own.
      build: see `Build`.
      depth: depth(shape) -> how many layers it has, in words: "6+6".
      decoder_only: whether prompt and answer are one sequence, with a token between them.
      lora: whether `ModelConfig.lora` can adapt it.
      suffix: what the names of methods end with in tables.
      sharding: sharding(fsdp) -> how its parameters lie on the mesh, see `jaxrec.training.sharding.shardings`.
      hugging_face: how its weights are read and exported; None where it starts from random weights alone and cannot be
        exported.
    """

    label: str
    model: type[LanguageModel]
    shape: Callable[[ModelConfig], Any]
    build: Build
    depth: Callable[[Any], str]
    decoder_only: bool
    lora: bool = False
    suffix: str = ""
    sharding: Callable[[bool], Sequence[tuple[str, PartitionSpec]]] = lambda fsdp: ()
    hugging_face: HuggingFace | None = None
