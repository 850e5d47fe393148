"""Attention of an answer's tokens to its prompt, summed over the tokens of each id; META ID, figure 8."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever
from jaxrec.system.system import System
from jaxrec.tasks.ragged import histories_of


@dataclasses.dataclass(frozen=True)
class AnswerAttention:
    """How the tokens of an answer distribute their attention over the pieces of a prompt.

    Attributes:
      pieces: the prompt's P pieces: text between ids, and ids as people read them.
      items: the item of each piece, i64[P]; -1 where the piece is no item's id, or the id of several items.
      answer: the answer's T tokens as text.
      shares: of each token's attention, in [0, 1], f32[P,T]; the rest to 1 went to earlier tokens of the answer.
      item: the item that is answered, or None where the answer is a vector.
    """

    pieces: list[str]
    items: np.ndarray
    answer: list[str]
    shares: np.ndarray
    item: int | None


def answer_attention(system: System, user: int) -> AnswerAttention | None:
    """The attention of one answer: the id of the user's held-out item, or the fixed tokens a retriever is fed.

    Args:
      system: a trained system.
      user: a user that has a test item.
    Returns:
      None where the model has no attention.
    """
    histories = histories_of(system.histories, np.array([user]))
    codes = system.user_codes(histories, np.array([user]))
    prompt = "seen" if system.config.eval.prompt == "both" else system.config.eval.prompt
    ask = system.asker(histories, codes, system.config.task.ranking[0], prompt)
    source = ask(np.arange(1), np.array([user]))[0]
    source, tokenizer = source[source != 0], system.vocabulary.tokenizer

    def texts(tokens: np.ndarray) -> list[str]:
        return [str(text).strip("▁Ġ") for text in tokenizer.convert_ids_to_tokens(tokens.tolist())]

    if isinstance(system.model, Retriever):
        backbone, item = system.model.backbone, None
        inputs = np.asarray(system.model.prompt[...])
        answer = ["start", *texts(inputs[1:])]
    else:
        backbone, item = system.current_model, int(system.split.test[user])
        tokens = system.answer_tokens[item]
        inputs = np.array([backbone.start, *tokens[:-1]])
        answer = texts(tokens)
    weights_TS = mean_attention(backbone, jnp.asarray(source)[None], jnp.asarray(inputs)[None])
    if weights_TS is None:
        return None
    starts, pieces, items = _pieces(system, source)
    shares_PT = np.add.reduceat(np.asarray(weights_TS).T, starts, axis=0)
    return AnswerAttention(pieces, items, answer, shares_PT, item)


@nnx.jit
def mean_attention(model: LanguageModel, source: jax.Array, inputs: jax.Array) -> jax.Array | None:
    """Attention from an answer's positions to its prompt's, the mean over layers and heads, f32[T,S].

    Args:
      model: a language model.
      source: one prompt without padding, i32[1,S].
      inputs: the answer shifted right, i32[1,T].
    Returns:
      None where the model has no attention.
    """
    weights_YBHTS = model.attention_to_prompt(source, inputs)
    return None if weights_YBHTS is None else weights_YBHTS.mean(axis=(0, 1, 2))


def _pieces(system: System, source: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Where each piece of a prompt i32[S] starts, its text, and its item (-1 = none)."""
    vocabulary, ids = system.vocabulary, system.ids
    unsaid = system.item_mentions.shape[1] - system.item_tokens.shape[1]  # collaborative tokens, which have no text
    tokenizer = vocabulary.tokenizer
    prefix = {name: vocabulary.first_oov + vocabulary.new_tokens.index(name) for name in ("<User>", "<Item>")}
    levels = {"<User>": len(ids.users.codes.levels), "<Item>": len(ids.items.codes.levels)}
    if system.config.ids.users == "none":
        levels["<User>"] = 0
    id_length = {prefix[name]: 1 + count + unsaid for name, count in levels.items()}
    starts, pieces, items, start = [], [], [], 0
    while start < len(source):
        end, item = start + id_length.get(int(source[start]), 0), -1
        if end > start:
            said = source[start : end - unsaid]
            piece = "".join(str(token) for token in tokenizer.convert_ids_to_tokens(said.tolist()))
            if source[start] == prefix["<Item>"]:
                same_id = np.flatnonzero((system.item_tokens == said).all(axis=1))
                item = int(same_id[0]) if len(same_id) == 1 else -1
        else:
            end = start + 1
            while end < len(source) and int(source[end]) not in id_length:
                end += 1
            piece = str(tokenizer.decode(source[start:end].tolist(), skip_special_tokens=True)).strip() or "end"
        starts.append(start)
        pieces.append(piece)
        items.append(item)
        start = end
    return np.array(starts), pieces, np.array(items)
