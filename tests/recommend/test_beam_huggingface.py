"""Beam search on a real T5: sequences and scores equal to Hugging Face's `generate` with the same random weights."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.hub.t5 import to_hf
from jaxrec.models.t5 import T5
from jaxrec.recommend.beam_search import beam_search
from jaxrec.recommend.exact_scoring import exact_top_k, score_all
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.tokenizers.trie import Trie

SHAPE = {"vocab": 96, "d_model": 32, "d_kv": 8, "heads": 4, "d_ff": 48, "encoder_layers": 2, "decoder_layers": 2}
VERSIONS = {"v1.0": {}, "v1.1": {"activation": "gated-gelu", "tied": False}}
END_OF_TEXT = 1
search = jax.jit(beam_search, static_argnames=("beams", "k"))


@pytest.fixture(scope="module", params=VERSIONS)
def models(request):
    """Ours and theirs with the same weights."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = T5Config(**SHAPE, **VERSIONS[request.param])
    ours = T5(config, OovConfig(scope="none"), None, 60, rngs=nnx.Rngs(0))
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab,
            d_model=config.d_model,
            d_kv=config.d_kv,
            num_heads=config.heads,
            d_ff=config.d_ff,
            num_layers=config.encoder_layers,
            num_decoder_layers=config.decoder_layers,
            feed_forward_proj=config.activation,
            tie_word_embeddings=config.tied,
            scale_decoder_outputs=config.tied,
            decoder_start_token_id=0,
        )
    ).eval()
    flat = {name: torch.tensor(value) for name, value in to_hf(ours).items()}
    if not config.tied:
        theirs.lm_head.weight = torch.nn.Parameter(flat["lm_head.weight"].clone())
    wrong = theirs.load_state_dict(flat, strict=False)
    assert not wrong.unexpected_keys
    assert set(wrong.missing_keys) <= {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    return ours, theirs


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    """150 items: a prefix, one of 12 clusters, one of 30 fine tokens."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation([(c, f) for c in range(12) for f in range(30)])[:150]
    return np.column_stack([np.full(150, 50), 51 + pairs[:, 0], 64 + pairs[:, 1]]).astype(np.int32)


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    """Six prompts of 5 to 20 tokens, padded to 24."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, 96, (6, 24)).astype(np.int32)
    return tokens * (np.arange(24)[None] < rng.integers(5, 21, 6)[:, None])


def generate(model, source, ids, beams):
    """Hugging Face's sequences [B,beams,L'] without the start token, and sums of log-probabilities."""
    import torch

    allowed: dict[tuple[int, ...], set[int]] = {}
    for row in ids.tolist():
        for n, token in enumerate(row):
            allowed.setdefault((0, *row[:n]), set()).add(token)
    lists = {prefix: sorted(tokens) for prefix, tokens in allowed.items()}
    ends = bool((ids[:, -1] == END_OF_TEXT).all())
    model.generation_config.eos_token_id = END_OF_TEXT if ends else None
    prompts = torch.tensor(source, dtype=torch.long)
    with torch.no_grad():
        out = model.generate(
            input_ids=prompts,
            attention_mask=(prompts != 0).long(),
            num_beams=beams,
            num_return_sequences=beams,
            prefix_allowed_tokens_fn=lambda _, said: lists[tuple(said.tolist())],
            max_new_tokens=ids.shape[1],
            length_penalty=0.0,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
    sequences = out.sequences.numpy().reshape(len(source), beams, -1)[:, :, 1:]
    return sequences, out.sequences_scores.numpy().reshape(len(source), beams)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [False, True], ids=["bare", "end-of-text"])
def test_sequences_and_scores_equal(models, ids, source, ends) -> None:
    ours, theirs = models
    if ends:
        ids = np.pad(ids, ((0, 0), (0, 1)), constant_values=END_OF_TEXT)
    actual = search(ours, source, Trie.build(ids), beams=10, k=10)
    sequences, scores = generate(theirs, source, ids, beams=10)
    np.testing.assert_allclose(actual.scores, scores, atol=1e-4)
    np.testing.assert_array_equal(ids[actual.items], sequences)
    assert np.asarray(actual.scores).std() > 0.1


def test_exact_equals_teacher_forcing(models, ids, source) -> None:
    import torch

    ours, theirs = models
    scores = jax.jit(score_all, static_argnames="block")(ours, source, Trie.build(ids), block=5)
    labels = torch.tensor(ids, dtype=torch.long)
    for prompt, row in zip(source, np.asarray(scores)):
        repeated = torch.tensor(prompt, dtype=torch.long).expand(len(ids), -1)
        with torch.no_grad():
            logits = theirs(input_ids=repeated, attention_mask=(repeated != 0).long(), labels=labels).logits
        expected = logits.log_softmax(-1).gather(-1, labels[:, :, None])[:, :, 0].sum(1).numpy()
        np.testing.assert_allclose(row, expected, atol=1e-4)


@pytest.mark.slow
def test_enough_beams_are_exact_and_seen_items_are_left_out(models, ids, source) -> None:
    ours, _ = models
    seen = np.random.default_rng(2).integers(-1, 150, (6, 40)).astype(np.int32)
    actual = TrieRecommender(ours, Trie.build(ids), beams=150, batch_users=4)(source, seen, 20)
    best = jax.jit(exact_top_k, static_argnames="k")(ours, source, Trie.build(ids), k=20, seen=seen)
    np.testing.assert_array_equal(actual.items, best.items)
    np.testing.assert_allclose(actual.scores, best.scores, atol=1e-4)
    for items, left_out in zip(actual.items, seen):
        assert not set(items) & set(left_out)
