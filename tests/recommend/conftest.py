"""A stand-in for T5: logits are sums of table rows, so that probabilities can be chosen by hand."""

import dataclasses
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tables:
    """logits = the source's rows of `prompt`, summed, + after[p, token] for each token read at position p."""

    prompt: jax.Array  # f32[V,V]
    after: jax.Array  # f32[P,V,V]

    start = 0
    items = None  # no item head
    says_rows = False

    def read(self, source):
        return (self.prompt[source] * (source > 0)[:, :, None]).sum(1)

    def empty_cache(self, batch, beams, length):
        return jnp.zeros((batch, beams, 1, length, 1), jnp.int32)

    def step(self, tokens, position, cache, memory):
        here = slice(position, position + tokens.shape[2])
        cache = cache.at[:, :, 0, here, 0].set(tokens)
        positions = jnp.arange(cache.shape[3])[None, None, :]
        read = self.after[positions, cache[:, :, 0, :, 0]].cumsum(axis=2)
        return memory[:, None, None] + read[:, :, here], cache

    def logits(self, hidden):
        return hidden


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., Tables]:
    def make(vocab: int, length: int, seed: int = 0) -> Tables:
        rng = np.random.default_rng(seed)
        return Tables(*(jnp.asarray(rng.normal(0, 2, s), jnp.float32) for s in ((vocab,) * 2, (length, vocab, vocab))))

    return make


@pytest.fixture(scope="session")
def log_prob() -> Callable[..., float]:
    """The log-probability of one id for one prompt under `Tables`, by plain loops in float64."""

    def compute(model: Tables, prompt: np.ndarray, tokens: np.ndarray) -> float:
        prompt_table, after = np.asarray(model.prompt, np.float64), np.asarray(model.after, np.float64)
        logits = sum((prompt_table[t] for t in prompt if t), np.zeros(prompt_table.shape[1]))
        total = 0.0
        for position, (read, said) in enumerate(itertools.pairwise([0, *tokens])):
            logits = logits + after[position, read]
            total += logits[said] - np.log(np.exp(logits).sum())
        return total

    return compute


@pytest.fixture(scope="session")
def make_ids() -> Callable[..., np.ndarray]:
    """Unique ids: a common first token, then random ones; some nodes have one child, some many."""

    def make(items: int, length: int, vocab: int, seed: int = 0, prefix: bool = True) -> np.ndarray:
        rng = np.random.default_rng(seed)
        ids = np.unique(rng.integers(1, vocab, (20 * items, length)), axis=0)
        ids[:, 0] = 2 if prefix else ids[:, 0]
        ids = rng.permutation(np.unique(ids, axis=0))[:items].astype(np.int32)
        assert len(ids) == items
        return ids

    return make


@pytest.fixture(scope="session")
def prompts() -> np.ndarray:
    """Four prompts of different lengths, i32[4,6]."""
    return np.array([[3, 1, 4, 1, 5, 2], [2, 6, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [5, 3, 5, 6, 2, 0]], np.int32)
