"""Free text from a language model: greedy or by beam search, with cached steps in one loop on the device.

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
"""The score of beams and answers that are not there yet, as in Hugging Face's search; below all that are."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Texts:
    """Answers of a language model.

    Attributes:
      tokens: what was said before `end`, i32[B,longest], 0 after it.
      scores: sum of the log-probabilities of the tokens and of `end`, f32[B]; of a beam search divided by the number
        of these tokens to the power of `length_penalty`.
      finished: whether `end` was said, bool[B].
    """

    tokens: Array
    scores: Array
    finished: Array


class TextGenerator:
    """Says what the model finds likely after a prompt: greedily, or by Hugging Face's beam search.

    With beams > 1 this is `generate(num_beams=beams, do_sample=False, early_stopping=False)` of transformers: finished
    answers are kept aside, and a prompt is done when as many as there are beams are finished and the best beam, scored
    at its present length, is not better than the worst of them. Log-probabilities are normalised over the whole
    vocabulary before tokens that are not allowed are left out.

    `model` may be replaced by one of the same shape, for instance with newer parameters; nothing is compiled again.

    Args:
      model: a pytree, evaluated without dropout; an argument of the compiled function, not a constant in it.
      end: the token that ends an answer.
      allowed: which tokens may be said, bool[V], V as in the model's logits, or None for all; never the padding, 0.
      longest: how many tokens are said at most, `end` among them; the time to compile does not depend on it.
      beams: 1 is greedy.
      length_penalty: above 0 favours long answers, for beams > 1.
      batch: prompts on the device at a time.
    Raises:
      ValueError: `longest`, `beams` or `batch` is not positive, or `end` may not be said.
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
            raise ValueError(f"allowed must be bool[V] and hold end={end}; came shape {list(np.shape(allowed))}")
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

        def run(source: np.ndarray, _: object) -> Texts:
            shape = {"end": self.end, "longest": self.longest, "beams": self.beams, "penalty": self.length_penalty}
            return _generate(self.model, source, self.allowed, **shape)

        return run_by_length(run, source, users=self.batch)


class ChoiceScorer:
    """How likely a model finds each of a few given answers; `model` may be replaced as in `TextGenerator`.

    Args:
      model: a pytree, evaluated without dropout.
      choices: the answers, i32[C,T], padded with 0 at the end; the token that ends an answer counts where it stands.
      batch: prompts on the device at a time; logits take batch * C * T * V floats.
    Raises:
      ValueError: an answer is empty or padded elsewhere than at its end, or `batch` is not positive.
    """

    def __init__(self, model: StepDecoder, choices: Array, batch: int = 64) -> None:
        choices = np.asarray(choices, np.int32)
        if choices.ndim != 2 or not choices.size or not (choices[:, 0] != 0).all():
            raise ValueError(f"choices must be i32[C,T] with a token in each row; came shape {list(choices.shape)}")
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
        return run_by_length(lambda source, _: _score(self.model, source, self.choices), source, users=self.batch)


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
    speaker, batch = _Speaker(model, model.read(source), allowed), source.shape[0]
    if beams > 1:
        tokens, scores = _beam_search(speaker, batch, end, longest, beams, penalty)
    else:
        tokens, scores = _greedy(speaker, batch, end, longest)
    ended = jnp.cumsum(tokens == end, axis=1) > 0
    return Texts(jnp.where(ended, 0, tokens), scores, ended[:, -1])


class _Speaker(NamedTuple):
    """A model that has read its prompts."""

    model: StepDecoder
    memory: Any
    allowed: Array | None

    def next(self, tokens_BWN: Array, position: Array, cache: Any) -> tuple[Array, Any]:
        """Log-probabilities f32[B,W,V] of what is said at `position`, -inf where not allowed, and the filled cache."""
        before = jax.lax.dynamic_index_in_dim(tokens_BWN, jnp.maximum(position - 1, 0), axis=2)
        before = jnp.where(position == 0, self.model.start, before)
        hidden, cache = self.model.step(before, position, cache, self.memory)
        log_probs_BWV = jax.nn.log_softmax(self.model.logits(hidden[:, :, 0]))
        vocab = log_probs_BWV.shape[-1]
        allowed = jnp.ones(vocab, bool) if self.allowed is None else self.allowed
        if len(allowed) != vocab:
            raise ValueError(f"allowed has {len(allowed)} places for a model of {vocab} logits; pad it with False")
        allowed &= jnp.arange(vocab) != 0
        return jnp.where(allowed[None, None], log_probs_BWV, -jnp.inf), cache


class _Greedy(NamedTuple):
    position: Array
    tokens_B1N: Array
    scores_B: Array
    done_B: Array
    cache: Any


def _greedy(speaker: _Speaker, batch: int, end: int, longest: int) -> tuple[Array, Array]:
    """The likeliest token each time: what was said, i32[B,N], 0 after `end`, and the sums of log-probabilities."""

    def say(now: _Greedy) -> _Greedy:
        log_probs_BWV, cache = speaker.next(now.tokens_B1N, now.position, now.cache)
        best_B = jnp.where(now.done_B, 0, jnp.argmax(log_probs_BWV[:, 0], axis=-1).astype(jnp.int32))
        scores_B = now.scores_B + jnp.where(now.done_B, 0, jnp.max(log_probs_BWV[:, 0], axis=-1))
        tokens_B1N = now.tokens_B1N.at[:, 0, now.position].set(best_B)
        return _Greedy(now.position + 1, tokens_B1N, scores_B, now.done_B | (best_B == end), cache)

    first = _Greedy(
        jnp.int32(0),
        jnp.zeros((batch, 1, longest), jnp.int32),
        jnp.zeros(batch),
        jnp.zeros(batch, bool),
        speaker.model.empty_cache(batch, 1, longest),
    )
    last = jax.lax.while_loop(lambda now: (now.position < longest) & ~now.done_B.all(), say, first)
    return last.tokens_B1N[:, 0], last.scores_B


class _Beams(NamedTuple):
    """Beams that go on and answers that are finished, both best first; `open_B`: whether a better answer may come."""

    position: Array
    tokens_BWN: Array
    scores_BW: Array
    answers_BWN: Array
    answer_scores_BW: Array
    open_B: Array
    cache: Any


def _beam_search(
    speaker: _Speaker, batch: int, end: int, longest: int, beams: int, penalty: float
) -> tuple[Array, Array]:
    """The best answer of each prompt, i32[B,N] with its `end`, 0 after it, and its score over length**penalty."""

    def say(now: _Beams) -> _Beams:
        log_probs_BWV, cache = speaker.next(now.tokens_BWN, now.position, now.cache)
        vocab, length = log_probs_BWV.shape[-1], (now.position + 1).astype(jnp.float32)
        # Twice as many as go on, since half of them may be finished: every beam has one way to end.
        scores_BWV = now.scores_BW[:, :, None] + log_probs_BWV
        scores_BR, chosen_BR = jax.lax.top_k(scores_BWV.reshape(batch, -1), 2 * beams)
        parents_BR, said_BR = chosen_BR // vocab, chosen_BR % vocab
        tokens_BRN = jnp.take_along_axis(now.tokens_BWN, parents_BR[:, :, None], axis=1)
        tokens_BRN = tokens_BRN.at[:, :, now.position].set(said_BR)
        stops_BR = (said_BR == end) | (now.position == longest - 1)

        # An answer counts where it is among the best `beams` of all ways to go on.
        counts_BR = stops_BR & (jnp.arange(2 * beams) < beams)[None] & now.open_B[:, None]
        finished_BR = jnp.where(counts_BR, scores_BR / length**penalty, NEVER)
        merged = jnp.concatenate([now.answer_scores_BW, finished_BR], axis=1)
        answer_scores_BW, kept_BW = jax.lax.top_k(merged, beams)
        answers_BWN = jnp.concatenate([now.answers_BWN, tokens_BRN], axis=1)
        answers_BWN = jnp.take_along_axis(answers_BWN, kept_BW[:, :, None], axis=1)

        scores_BW, on_BW = jax.lax.top_k(jnp.where(stops_BR, -jnp.inf, scores_BR), beams)
        tokens_BWN = jnp.take_along_axis(tokens_BRN, on_BW[:, :, None], axis=1)
        parents_BW = jnp.take_along_axis(parents_BR, on_BW, axis=1)
        open_B = now.open_B & (scores_BW[:, 0] / length**penalty > answer_scores_BW[:, -1])
        cache = reorder(cache, parents_BW)
        return _Beams(now.position + 1, tokens_BWN, scores_BW, answers_BWN, answer_scores_BW, open_B, cache)

    nothing = jnp.zeros((batch, beams, longest), jnp.int32)
    first = _Beams(
        jnp.int32(0),
        nothing,
        jnp.full((batch, beams), NEVER).at[:, 0].set(0),  # all beams begin alike, so one of them goes on
        nothing,
        jnp.full((batch, beams), NEVER),
        jnp.ones(batch, bool),
        speaker.model.empty_cache(batch, beams, longest),
    )
    last = jax.lax.while_loop(lambda now: (now.position < longest) & now.open_B.any(), say, first)
    return last.answers_BWN[:, 0], last.answer_scores_BW[:, 0]
