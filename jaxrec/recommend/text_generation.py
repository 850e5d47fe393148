"""Text generation with a language model: greedy or beam search, cached decoding in one loop on the device.

Inside this file, arrays are named by their axes: B prompts, W beams, N tokens of an answer, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.models.decoding import reorder
from jaxrec.recommend.batches import check_prompts, run_by_length
from jaxrec.recommend.decoding_steps import StepDecoder, log_probs_of
from jaxrec.types import Array

NEVER = -1e9
"""The score of missing beams and answers, as in Hugging Face's search; below all real scores."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Texts:
    """Generated texts.

    Attributes:
      tokens: the tokens before `end`, i32[B,longest], 0 after them.
      scores: sum of the log-probabilities of the tokens and of `end`, f32[B]; for beam search, divided by the number
        of these tokens to the power of `length_penalty`.
      finished: whether `end` was generated, bool[B].
    """

    tokens: Array
    scores: Array
    finished: Array


class TextGenerator:
    """Generates text after a prompt, greedily or by Hugging Face's beam search.

    With beams > 1 this is `generate(num_beams=beams, do_sample=False, early_stopping=False)` of transformers: finished
    answers are collected, and a prompt is done when there are as many as beams and the best beam, scored at its current
    length, is not better than the worst of them. Log-probabilities are normalised over the whole vocabulary before
    disallowed tokens are excluded.

    `model` may be replaced by one of the same shape, for instance with newer parameters, without recompilation.

    Args:
      model: a pytree, evaluated without dropout; an argument of the compiled function, not a constant in it.
      end: the token that ends an answer.
      allowed: mask of allowed tokens, bool[V], V as in the model's logits, or None for all; never the padding, 0.
      longest: maximum number of tokens, including `end`; the compile time does not depend on it.
      beams: 1 is greedy.
      length_penalty: above 0 favours long answers, for beams > 1.
      batch: prompts on the device at a time.
    Raises:
      ValueError: `longest`, `beams` or `batch` is not positive, or `end` is not allowed.
    """

    def __init__(
        self,
        model: StepDecoder,
        *,
        end: int,
        allowed: Array | None = None,
        longest: int,
        beams: int = 1,
        length_penalty: float = 1.0,
        batch: int = 64,
    ) -> None:
        for name, value in (("longest", longest), ("beams", beams), ("batch", batch)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if end < 1:
            raise ValueError(f"end={end} must be a token above 0, which is padding")
        if allowed is not None and (np.ndim(allowed) != 1 or end >= len(allowed) or not allowed[end]):
            raise ValueError(f"allowed must be bool[V] and hold end={end}; got shape {list(np.shape(allowed))}")
        self.model = model
        self.end = end
        self.allowed = None if allowed is None else jnp.asarray(allowed, bool)
        self.longest = longest
        self.beams = beams
        self.length_penalty = length_penalty
        self.batch = batch

    def __call__(self, source: Array) -> Texts:
        """An answer to each prompt.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
        Returns:
          Texts of numpy arrays, in the order of prompts.
        Raises:
          ValueError: `source` has another shape, or `allowed` is not as wide as the model's logits.
        """
        source, _ = check_prompts(source, None, 0)
        if not len(source):
            return Texts(np.zeros((0, self.longest), np.int32), np.zeros(0, np.float32), np.zeros(0, bool))

        def run(source: np.ndarray, *_: object) -> Texts:
            shape = {"end": self.end, "longest": self.longest, "beams": self.beams, "penalty": self.length_penalty}
            return _generate(self.model, source, self.allowed, **shape)

        return run_by_length(run, source, users=self.batch)


class ChoiceScorer:
    """Log-probabilities of a few given answers; `model` may be replaced as in `TextGenerator`.

    Args:
      model: a pytree, evaluated without dropout.
      choices: the answers, i32[C,T], padded with 0 at the end; an end token is scored like the others.
      batch: prompts on the device at a time; logits take batch * C * T * V floats.
    Raises:
      ValueError: an answer is empty or padded elsewhere than at its end, or `batch` is not positive.
    """

    def __init__(self, model: StepDecoder, choices: Array, batch: int = 64) -> None:
        choices = np.asarray(choices, np.int32)
        if choices.ndim != 2 or not choices.size or not (choices[:, 0] != 0).all():
            raise ValueError(f"choices must be i32[C,T] with a token in each row; got shape {list(choices.shape)}")
        if ((choices[:, 1:] != 0) & (choices[:, :-1] == 0)).any():
            raise ValueError("choices must be padded with 0 at the end of each row only")
        if batch < 1:
            raise ValueError(f"batch={batch} must be at least 1")
        self.model = model
        self.choices = jnp.asarray(choices)
        self.batch = batch

    def __call__(self, source: Array) -> np.ndarray:
        """The log-probability of each choice after each prompt.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
        Returns:
          f32[B,C]: sums over the tokens of a choice, each normalised over the whole vocabulary.
        Raises:
          ValueError: `source` has another shape.
        """
        source, _ = check_prompts(source, None, 0)
        if not len(source):
            return np.zeros((0, len(self.choices)), np.float32)
        return run_by_length(lambda source, *_: _score(self.model, source, self.choices), source, users=self.batch)


@jax.jit
def _score(model: StepDecoder, source: Array, choices_CT: Array) -> Array:
    batch, (count, length) = source.shape[0], choices_CT.shape
    inputs_CT = jnp.pad(choices_CT[:, :-1], ((0, 0), (1, 0)), constant_values=model.start)
    inputs_BCT, choices_BCT = (jnp.broadcast_to(x, (batch, count, length)) for x in (inputs_CT, choices_CT))
    hidden, _ = model.step(inputs_BCT, 0, model.empty_cache(batch, count, length), model.read(source))
    flat = hidden.reshape(batch, count * length, -1), choices_BCT.reshape(batch, count * length, 1)
    log_probs_BCT = log_probs_of(model, *flat).reshape(batch, count, length)
    return jnp.sum(jnp.where(choices_BCT != 0, log_probs_BCT, 0), axis=-1)


@functools.partial(jax.jit, static_argnames=("end", "longest", "beams", "penalty"))
def _generate(
    model: StepDecoder, source: Array, allowed: Array | None, *, end: int, longest: int, beams: int, penalty: float
) -> Texts:
    decoder, batch = _Decoder(model, model.read(source), allowed), source.shape[0]
    if beams > 1:
        tokens, scores = _beam_search(decoder, batch, end, longest, beams, penalty)
    else:
        tokens, scores = _greedy(decoder, batch, end, longest)
    ended = jnp.cumsum(tokens == end, axis=1) > 0
    return Texts(jnp.where(ended, 0, tokens), scores, ended[:, -1])


class _Decoder(NamedTuple):
    """A model that has read its prompts."""

    model: StepDecoder
    memory: Any
    allowed: Array | None

    def next(self, tokens_BWN: Array, position: Array, cache: Any) -> tuple[Array, Any]:
        """Log-probabilities f32[B,W,V] of the token at `position`, -inf where not allowed, and the filled cache."""
        previous = jax.lax.dynamic_index_in_dim(tokens_BWN, jnp.maximum(position - 1, 0), axis=2)
        previous = jnp.where(position == 0, self.model.start, previous)
        hidden, cache = self.model.step(previous, position, cache, self.memory)
        log_probs_BWV = jax.nn.log_softmax(self.model.logits(hidden[:, :, 0]))
        vocab = log_probs_BWV.shape[-1]
        allowed = jnp.ones(vocab, bool) if self.allowed is None else self.allowed
        if len(allowed) != vocab:
            raise ValueError(f"allowed has {len(allowed)} entries for a model of {vocab} logits; pad it with False")
        allowed &= jnp.arange(vocab) != 0
        return jnp.where(allowed[None, None], log_probs_BWV, -jnp.inf), cache


class _Greedy(NamedTuple):
    position: Array
    tokens_B1N: Array
    scores_B: Array
    done_B: Array
    cache: Any


def _greedy(decoder: _Decoder, batch: int, end: int, longest: int) -> tuple[Array, Array]:
    """Greedy decoding: tokens i32[B,N], 0 after `end`, and the sums of their log-probabilities."""

    def step(state: _Greedy) -> _Greedy:
        log_probs_BWV, cache = decoder.next(state.tokens_B1N, state.position, state.cache)
        best_B = jnp.where(state.done_B, 0, jnp.argmax(log_probs_BWV[:, 0], axis=-1).astype(jnp.int32))
        scores_B = state.scores_B + jnp.where(state.done_B, 0, jnp.max(log_probs_BWV[:, 0], axis=-1))
        tokens_B1N = state.tokens_B1N.at[:, 0, state.position].set(best_B)
        return _Greedy(state.position + 1, tokens_B1N, scores_B, state.done_B | (best_B == end), cache)

    first = _Greedy(
        jnp.int32(0),
        jnp.zeros((batch, 1, longest), jnp.int32),
        jnp.zeros(batch),
        jnp.zeros(batch, bool),
        decoder.model.empty_cache(batch, 1, longest),
    )
    last = jax.lax.while_loop(lambda state: (state.position < longest) & ~state.done_B.all(), step, first)
    return last.tokens_B1N[:, 0], last.scores_B


class _Beams(NamedTuple):
    """Unfinished beams and finished answers, both best first; `open_B`: whether a better answer is still possible."""

    position: Array
    tokens_BWN: Array
    scores_BW: Array
    answers_BWN: Array
    answer_scores_BW: Array
    open_B: Array
    cache: Any


def _beam_search(
    decoder: _Decoder, batch: int, end: int, longest: int, beams: int, penalty: float
) -> tuple[Array, Array]:
    """The best answer to each prompt, i32[B,N] with its `end`, 0 after it, and its score / length**penalty."""

    def step(state: _Beams) -> _Beams:
        log_probs_BWV, cache = decoder.next(state.tokens_BWN, state.position, state.cache)
        vocab, length = log_probs_BWV.shape[-1], (state.position + 1).astype(jnp.float32)
        # Twice as many as beams, as up to half of them may be finished: every beam can end in one way.
        scores_BWV = state.scores_BW[:, :, None] + log_probs_BWV
        scores_BR, chosen_BR = jax.lax.top_k(scores_BWV.reshape(batch, -1), 2 * beams)
        parents_BR, tokens_BR = chosen_BR // vocab, chosen_BR % vocab
        tokens_BRN = jnp.take_along_axis(state.tokens_BWN, parents_BR[:, :, None], axis=1)
        tokens_BRN = tokens_BRN.at[:, :, state.position].set(tokens_BR)
        stops_BR = (tokens_BR == end) | (state.position == longest - 1)

        # An answer counts if it is among the best `beams` continuations.
        counts_BR = stops_BR & (jnp.arange(2 * beams) < beams)[None] & state.open_B[:, None]
        finished_BR = jnp.where(counts_BR, scores_BR / length**penalty, NEVER)
        merged = jnp.concatenate([state.answer_scores_BW, finished_BR], axis=1)
        answer_scores_BW, kept_BW = jax.lax.top_k(merged, beams)
        answers_BWN = jnp.concatenate([state.answers_BWN, tokens_BRN], axis=1)
        answers_BWN = jnp.take_along_axis(answers_BWN, kept_BW[:, :, None], axis=1)

        scores_BW, open_BW = jax.lax.top_k(jnp.where(stops_BR, -jnp.inf, scores_BR), beams)
        tokens_BWN = jnp.take_along_axis(tokens_BRN, open_BW[:, :, None], axis=1)
        parents_BW = jnp.take_along_axis(parents_BR, open_BW, axis=1)
        open_B = state.open_B & (scores_BW[:, 0] / length**penalty > answer_scores_BW[:, -1])
        cache = reorder(cache, parents_BW)
        return _Beams(state.position + 1, tokens_BWN, scores_BW, answers_BWN, answer_scores_BW, open_B, cache)

    no_tokens = jnp.zeros((batch, beams, longest), jnp.int32)
    first = _Beams(
        jnp.int32(0),
        no_tokens,
        jnp.full((batch, beams), NEVER).at[:, 0].set(0),  # all beams start equal, so only one is active
        no_tokens,
        jnp.full((batch, beams), NEVER),
        jnp.ones(batch, bool),
        decoder.model.empty_cache(batch, beams, longest),
    )
    last = jax.lax.while_loop(lambda state: (state.position < longest) & state.open_B.any(), step, first)
    return last.answers_BWN[:, 0], last.answer_scores_BW[:, 0]
