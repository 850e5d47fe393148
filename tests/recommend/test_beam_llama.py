"""Beam search on a decoder-only model: sequences and scores equal to Hugging Face's `generate`, same weights."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, RopeConfig
from jaxrec.hub.llama import llama_config_json, to_hf
from jaxrec.models.llama import Llama
from jaxrec.recommend.beam_search import beam_search
from jaxrec.recommend.exact_scoring import score_all
from jaxrec.tokenizers.trie import Trie

SHAPE = {"vocab": 96, "d_model": 32, "d_kv": 8, "heads": 4, "kv_heads": 2, "d_ff": 48, "layers": 2}
FAMILIES = {
    "llama": {"rope": RopeConfig(theta=1000.0)},
    "mistral": {"window": 6},  # shorter than the prompts
}
START, END_OF_TEXT = 3, 1
search = jax.jit(beam_search, static_argnames=("beams", "k"))


@pytest.fixture(scope="module", params=FAMILIES)
def models(request):
    """Ours and theirs with the same weights."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = LlamaConfig(request.param, **SHAPE, **FAMILIES[request.param])
    ours = Llama(config, OovConfig("none"), LoraConfig(), None, 60, START, rngs=nnx.Rngs(0))
    ours.head.table[...] = 3 * ours.head.table[...]  # so that scores differ
    values = llama_config_json(config) | {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**values), attn_implementation="eager"
    ).eval()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in to_hf(ours).items()})
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
    """Hugging Face's sequences [B,beams,L'] after the start token, and sums of log-probabilities."""
    import torch

    allowed: dict[tuple[int, ...], set[int]] = {}
    for row in ids.tolist():
        for n, token in enumerate(row):
            allowed.setdefault(tuple(row[:n]), set()).add(token)
    lists = {prefix: sorted(tokens) for prefix, tokens in allowed.items()}
    ends = bool((ids[:, -1] == END_OF_TEXT).all())
    model.generation_config.eos_token_id = END_OF_TEXT if ends else None
    # On the left, so that all answers begin in one column; the start token ends each prompt.
    prompts = np.zeros((len(source), source.shape[1] + 1), np.int64)
    for row, tokens in zip(prompts, source):
        said = [*tokens[tokens != 0], START]
        row[-len(said) :] = said
    width, prompts = prompts.shape[1], torch.tensor(prompts)
    with torch.no_grad():
        out = model.generate(
            input_ids=prompts,
            attention_mask=(prompts != 0).long(),
            num_beams=beams,
            num_return_sequences=beams,
            prefix_allowed_tokens_fn=lambda _, said: lists[tuple(said.tolist()[width:])],
            max_new_tokens=ids.shape[1],
            length_penalty=0.0,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
    sequences = out.sequences.numpy().reshape(len(source), beams, -1)[:, :, width:]
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
        begin = torch.tensor([*prompt[prompt != 0], START], dtype=torch.long).expand(len(ids), -1)
        with torch.no_grad():
            logits = theirs(input_ids=torch.cat([begin, labels], 1)).logits[:, begin.shape[1] - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, labels[:, :, None])[:, :, 0].sum(1).numpy()
        np.testing.assert_allclose(row, expected, atol=1e-4)
