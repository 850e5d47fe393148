"""Recommendations by constrained beam search over Beauty's ids, beside transformers' generate with the same weights."""

from __future__ import annotations

import dataclasses
import gzip
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.hub.t5 import to_hf
from jaxrec.models.t5 import T5
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.tokenizers.trie import Trie

name = "beam"
reach, aim = 3.5, 6.0

BEAMS = 10
BATCH = 16
WORDS = 32128  # T5's own vocabulary; new tokens come after it
INSTRUCTION = 22  # tokens of a prompt around its history, as in the templates of jaxrec.tasks
MAX_HISTORY = 20
TOLERANCE = 1e-4  # nats
IDS = "amazon-beauty/meta_id_released_items.txt.gz"
SEQUENCES = "amazon-beauty/user_sequence.txt.gz"
QUICK = T5Config(d_model=64, d_kv=16, heads=4, d_ff=128, encoder_layers=2, decoder_layers=2)


def cases(quick: bool) -> tuple[Callable[[], None], Callable[[], None], float, str, str]:
    """A T5-small with random weights recommends ten items to users with the history lengths of Beauty."""
    users = BATCH if quick else 4 * BATCH
    codes, lengths, origin = _catalogue(users)
    first_fine = WORDS + 1 + codes[:, 0].max() + 1
    ids = np.column_stack([np.full(len(codes), WORDS), WORDS + 1 + codes[:, 0], first_fine + codes[:, 1]])
    ids = ids.astype(np.int32)
    vocab = -(-(int(ids.max()) + 1) // 128) * 128
    config = dataclasses.replace(QUICK if quick else T5Config(), vocab=vocab)
    model = T5(config, OovConfig(scope="none"), None, WORDS, rngs=nnx.Rngs(0))
    source = _prompts(ids, lengths)
    recommend = TrieRecommender(model, Trie.build(ids), beams=BEAMS, batch_users=BATCH)
    generate = _peer(model, ids)

    def peer() -> list[tuple[np.ndarray, np.ndarray]]:
        return [generate(source[begin : begin + BATCH]) for begin in range(0, users, BATCH)]

    with jax.default_matmul_precision("highest"):  # the check needs full precision; the timing uses the default
        top = recommend(source, None, BEAMS)
    sequences, scores = (np.concatenate(x) for x in zip(*peer()))
    np.testing.assert_allclose(top.scores, scores, atol=TOLERANCE)
    # Items whose scores differ by less than the tolerance may come in either order.
    apart = np.abs(np.diff(scores, axis=1)).min(axis=1) > TOLERANCE
    np.testing.assert_array_equal(ids[top.items[apart]], sequences[apart])
    _round_on_gpu_too()
    error = np.abs(top.scores - scores).max()
    longest, middle = INSTRUCTION + 3 * lengths.max(), INSTRUCTION + 3 * np.median(lengths)
    note = (
        f"{origin}, {len(ids):,} items, {users} users, prompts of {middle:.0f} tokens at the median and {longest} at "
        f"most, batches of {BATCH}, {BEAMS} beams; ours sorts prompts by length, the peer's batches are padded to "
        f"their longest; sequences equal, scores equal to {error:.0e}"
    )

    def ours() -> None:
        recommend(source, None, BEAMS)

    def theirs() -> None:
        peer()

    return ours, theirs, users, "users", note


def _round_on_gpu_too() -> None:
    """Lets PyTorch multiply in TF32 on a GPU, as JAX does by default."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True


def _catalogue(users: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Codes of the items i32[I,2], history lengths i64[users], and the name of their source."""
    folder = pathlib.Path(os.environ.get("JAXREC_DATA", "../shared/data"))
    if not ((folder / IDS).exists() and (folder / SEQUENCES).exists()):
        rng = np.random.default_rng(0)
        codes = np.column_stack([np.arange(12101) % 100, np.arange(12101) // 100])
        return codes, np.minimum(3 + rng.geometric(0.18, users), MAX_HISTORY), "generated"
    with gzip.open(folder / IDS, "rt") as file:
        codes = np.array([[int(n) for n in re.findall(r"\d+", line.split()[1])] for line in file])
    with gzip.open(folder / SEQUENCES, "rt") as file:
        lengths = np.array([len(line.split()) - 2 for line in file])
    chosen = np.random.default_rng(0).choice(lengths, users, replace=False)
    return codes, np.minimum(chosen, MAX_HISTORY), "Beauty"


def _prompts(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Words and ids of random items, i32[users,S], padded with 0 to the longest."""
    rng = np.random.default_rng(0)
    source = np.zeros((len(lengths), INSTRUCTION + 3 * lengths.max()), np.int32)
    for row, length in zip(source, lengths):
        row[:INSTRUCTION] = rng.integers(2, 32100, INSTRUCTION)
        row[INSTRUCTION : INSTRUCTION + 3 * length] = ids[rng.integers(0, len(ids), length)].ravel()
    return source


def _peer(model: T5, ids: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Transformers' T5 with these weights: a batch of prompts -> sequences [B,BEAMS,3] and their scores [B,BEAMS]."""
    import torch
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = model.config
    theirs: Any = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=shape.vocab,
            d_model=shape.d_model,
            d_kv=shape.d_kv,
            num_heads=shape.heads,
            d_ff=shape.d_ff,
            num_layers=shape.encoder_layers,
            decoder_start_token_id=0,  # pyright: ignore[reportCallIssue]
        )
    )
    mismatch = theirs.load_state_dict({name: torch.tensor(x) for name, x in to_hf(model).items()}, strict=False)
    assert not mismatch.unexpected_keys
    theirs = theirs.to(device).eval()
    theirs.generation_config.eos_token_id = None
    allowed: dict[tuple[int, ...], list[int]] = {}
    for row in np.unique(ids, axis=0).tolist():
        for n, token in enumerate(row):
            tokens = allowed.setdefault((0, *row[:n]), [])
            if not tokens or tokens[-1] != token:
                tokens.append(token)

    def generate(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        longest = np.flatnonzero(source.any(axis=0)).max() + 1
        prompts = torch.tensor(source[:, :longest], dtype=torch.long, device=device)
        with torch.inference_mode():
            out = theirs.generate(
                input_ids=prompts,
                attention_mask=(prompts != 0).long(),
                num_beams=BEAMS,
                num_return_sequences=BEAMS,
                prefix_allowed_tokens_fn=lambda _, prefix: allowed[tuple(prefix.tolist())],
                max_new_tokens=ids.shape[1],
                length_penalty=0.0,
                do_sample=False,
                output_scores=True,
                return_dict_in_generate=True,
            )
        sequences = out.sequences.cpu().numpy().reshape(len(source), BEAMS, -1)[:, :, 1:]
        return sequences, out.sequences_scores.cpu().numpy().reshape(len(source), BEAMS)

    return generate
