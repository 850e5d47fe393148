"""Where an answer looks in its prompt, ids aggregated; META ID, figure 8."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.models.attention import MASKED
from jaxrec.models.dropout import Dropout
from jaxrec.models.llama import Drops, Llama
from jaxrec.models.retriever import Retriever
from jaxrec.models.rope import rotations
from jaxrec.models.t5 import T5
from jaxrec.system.system import System, histories_of

NOTHING = Dropout(0, None)


@dataclasses.dataclass(frozen=True)
class Attention:
    """How an answer's tokens share their attention among the pieces of a prompt.

    Attributes:
      pieces: what the prompt consists of: runs of text, and ids as people read them.
      items: the item of each piece, i64[P], -1 where it is none or several items have that id.
      said: the answer's tokens.
      shares: f32[P,T]; what a column lacks to 1 went to the answer's own earlier tokens.
      item: the item that is answered, or None where the answer is a vector.
    """

    pieces: list[str]
    items: np.ndarray
    said: list[str]
    shares: np.ndarray
    item: int | None


def look(system: System, user: int) -> Attention:
    """The attention of one answer: the user's held-out item, or what a retriever is always fed.

    Args:
      system: a trained system.
      user: who has a test item.
    """
    known = histories_of(system.histories, np.array([user]))
    codes = system.user_codes(known, np.array([user]))
    prompt = "seen" if system.config.eval.prompt == "both" else system.config.eval.prompt
    ask = system.asker(known, codes, system.config.task.ranking[0], prompt)
    source = ask(np.arange(1), np.array([user]))[0]
    source, names = source[source != 0], system.vocabulary.tokenizer.convert_ids_to_tokens
    if isinstance(system.model, Retriever):
        backbone, item = system.model.backbone, None
        inputs = np.asarray(system.model.prompt[...])
        said = ["start", *(str(name).strip("▁Ġ") for name in names(inputs[1:].tolist()))]
    else:
        backbone, item = system.model, int(system.split.test[user])
        answer = system.item_tokens[item]
        inputs = np.array([backbone.start, *answer[:-1]])
        said = [str(name).strip("▁Ġ") for name in names(answer.tolist())]
    weights = np.asarray(_weights(backbone, jnp.asarray(source)[None], jnp.asarray(inputs)[None]))
    starts, pieces, items = _pieces(system, source)
    return Attention(pieces, items, said, np.add.reduceat(weights.T, starts, axis=0), item)


@nnx.jit
def _weights(model: T5 | Llama, source: jax.Array, inputs: jax.Array) -> jax.Array:
    """Attention from the answer's positions to the prompt's, the mean of heads and layers, f32[T,S].

    Args:
      model: an encoder-decoder, whose decoder is asked, or a decoder-only model.
      source: one prompt without padding, i32[1,S].
      inputs: what the answer's positions are fed, i32[1,T].
    """
    found = _of_decoder(model, source, inputs) if isinstance(model, T5) else _of_llama(model, source, inputs)
    return jnp.stack(found).mean(axis=(0, 1, 2))


def _of_decoder(model: T5, source: jax.Array, inputs: jax.Array) -> list[jax.Array]:
    """A decoder's cross-attention by layer, f32[1,H,T,S] each: its layers run one after the other, as in `decode`."""
    encoded, length, found = model.encode(source), inputs.shape[1], []
    causal, everything = jnp.tri(length, dtype=bool)[None], jnp.ones((1, 1, source.shape[1]), bool)
    bias = model.decoder.bias(length, length)
    x = model.embedding(inputs, encoder=False)
    for layer in model.decoder.layers:
        x = layer.attend_self(x, bias, causal, NOTHING)
        keys, values = layer.cross.keys_values(encoded)
        queries = layer.cross.queries(layer.cross_norm(x))
        found.append(jax.nn.softmax(jnp.einsum("bhqk,bhsk->bhqs", queries, keys)))
        x = layer.feed(layer.attend_cross(x, keys, values, everything, NOTHING), NOTHING)
    return found


def _of_llama(model: Llama, source: jax.Array, inputs: jax.Array) -> list[jax.Array]:
    """A decoder-only model's self-attention from answer to prompt by layer, f32[1,H,T,S] each."""
    config, drops, found = model.config, Drops(NOTHING, NOTHING), []
    tokens = jnp.concatenate([source, inputs], axis=1)
    place = np.arange(tokens.shape[1])
    rotation = rotations(jnp.asarray(place)[None], config.rope, config.d_kv)
    causal = np.tri(len(place), dtype=bool)[None]
    near = causal & (place[:, None] - place[None] < config.window)[None] if config.window else causal
    x = model.embedding(tokens, encoder=True)
    x = x if model.embedding_adapter is None else x + model.embedding_adapter.of_tokens(tokens)
    for n, layer in enumerate(model.layers):
        mask = jnp.asarray(near if not config.windowed or n in config.windowed else causal)
        queries, keys, values = layer.project(x, rotation, drops)
        whole = jnp.repeat(keys, config.heads // config.kv_heads, axis=1)
        scores = jnp.einsum("bhqk,bhsk->bhqs", queries * config.d_kv**-0.5, whole)
        weights = jax.nn.softmax(jnp.where(mask[:, None], scores, MASKED))
        found.append(weights[:, :, source.shape[1] :, : source.shape[1]])
        x = layer.attend(x, queries, keys, values, mask, drops)
    return found


def _pieces(system: System, source: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Where each piece of a prompt i32[S] starts, what it reads, and which item it is."""
    vocabulary, ids = system.vocabulary, system.ids
    tokenizer = vocabulary.tokenizer
    prefix = {n: vocabulary.first_oov + vocabulary.new_tokens.index(n) for n in ("<User>", "<Item>")}
    width = {prefix["<User>"]: 1 + len(ids.users.codes.levels), prefix["<Item>"]: 1 + len(ids.items.codes.levels)}
    starts, pieces, items, at = [], [], [], 0
    while at < len(source):
        end, item = at + width.get(int(source[at]), 0), -1
        if end > at:
            read = "".join(str(name) for name in tokenizer.convert_ids_to_tokens(source[at:end].tolist()))
            if source[at] == prefix["<Item>"]:
                same = np.flatnonzero((system.item_tokens == source[at:end]).all(axis=1))
                item = int(same[0]) if len(same) == 1 else -1
        else:
            end = at + 1
            while end < len(source) and int(source[end]) not in width:
                end += 1
            read = str(tokenizer.decode(source[at:end].tolist(), skip_special_tokens=True)).strip() or "end"
        starts.append(at)
        pieces.append(read)
        items.append(item)
        at = end
    return np.array(starts), pieces, np.array(items)
