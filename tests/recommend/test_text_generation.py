"""Free text equals Hugging Face's `generate` with the same random weights, greedy and with beams."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, RopeConfig, T5Config
from jaxrec.hub import llama as hub_llama
from jaxrec.hub import t5 as hub_t5
from jaxrec.models.llama import Llama
from jaxrec.models.t5 import T5
from jaxrec.recommend import text_generation as module
from jaxrec.recommend.text_generation import ChoiceScorer, TextGenerator

VOCAB, END, START, LONGEST = 24, 1, 3, 9
SHAPE = {"vocab": VOCAB, "d_model": 16, "d_kv": 4, "heads": 4, "d_ff": 24}
HEAD = np.where(np.arange(VOCAB) == END, 10.0, 2.5)  # the end is now likely and now not
MODELS = ("t5", "llama", "mistral")


@pytest.fixture(scope="module", params=MODELS)
def models(request):
    """Ours and theirs with the same weights, whose head is scaled so that answers end and differ."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    if request.param == "t5":
        config = T5Config(**SHAPE, encoder_layers=2, decoder_layers=2, buckets=6, max_distance=7, tied=False)
        ours = T5(config, OovConfig("none"), None, VOCAB, rngs=nnx.Rngs(4))
        ours.head[...] = 0.2 * HEAD[None] * ours.head[...]
        theirs = transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=VOCAB,
                d_model=16,
                d_kv=4,
                num_heads=4,
                d_ff=24,
                num_layers=2,
                num_decoder_layers=2,
                relative_attention_num_buckets=6,
                relative_attention_max_distance=7,
                tie_word_embeddings=False,
                scale_decoder_outputs=False,
                decoder_start_token_id=0,
            )
        ).eval()
        theirs.lm_head.weight = torch.nn.Parameter(torch.zeros(VOCAB, 16))  # else it is the table of inputs
        theirs.load_state_dict({name: torch.tensor(value) for name, value in hub_t5.to_hf(ours).items()}, strict=False)
        return ours, theirs
    windowed = {"window": 6} if request.param == "mistral" else {"rope": RopeConfig(theta=1000.0)}
    config = LlamaConfig(request.param, **SHAPE, kv_heads=2, layers=2, **windowed)
    ours = Llama(config, OovConfig("none"), LoraConfig(), None, VOCAB, START, rngs=nnx.Rngs(0))
    ours.head.table[...] = HEAD[:, None] * ours.head.table[...]
    values = hub_llama.llama_config_json(config) | {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**values), attn_implementation="eager"
    ).eval()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in hub_llama.to_hf(ours).items()})
    return ours, theirs


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    """Twelve prompts of 2 to 16 tokens."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, VOCAB, (12, 16)).astype(np.int32)
    return tokens * (np.arange(16)[None] < rng.integers(2, 17, 12)[:, None])


ALLOWED = np.isin(np.arange(VOCAB), [END, 2, 4, 6, 7, 9, 11, 15, 20, 23])


def theirs_say(model, source, allowed, beams, penalty):
    """Hugging Face's answers i32[B,LONGEST] with `end` and 0 after it, and their scores as they stand in `Texts`."""
    import torch

    encoder_decoder = model.config.is_encoder_decoder
    if not encoder_decoder:  # prompts on the left, so that all answers begin in one column; START ends each
        said = [[*row[row != 0], START] for row in source]
        source = np.array([[0] * (source.shape[1] + 1 - len(row)) + row for row in said])
    prompts = torch.tensor(source, dtype=torch.long)
    keep = [END, *range(2, VOCAB)] if allowed is None else np.flatnonzero(allowed).tolist()
    begin = 1 if encoder_decoder else prompts.shape[1]
    arguments = {"length_penalty": penalty, "early_stopping": False} if beams > 1 else {}
    with torch.no_grad():
        out = model.generate(
            input_ids=prompts,
            attention_mask=(prompts != 0).long(),
            num_beams=beams,
            suppress_tokens=sorted(set(range(VOCAB)) - set(keep)),
            max_new_tokens=LONGEST,
            do_sample=False,
            eos_token_id=END,
            pad_token_id=0,
            output_scores=True,
            output_logits=True,
            return_dict_in_generate=True,
            **arguments,
        )
    said = out.sequences.numpy()[:, begin:]
    if beams > 1:
        scores = out.sequences_scores.numpy()
    else:
        log_probs = torch.stack(out.logits, 1).log_softmax(-1).numpy()
        scores = (np.take_along_axis(log_probs, said[:, :, None], 2)[:, :, 0] * (said != 0)).sum(1)
    return np.pad(said, ((0, 0), (0, LONGEST - said.shape[1]))), scores


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beams", "penalty", "allowed"),
    [(1, 1.0, None), (1, 1.0, ALLOWED), (3, 1.0, ALLOWED), (4, 0.0, None), (2, 2.0, None)],
)
def test_tokens_and_scores_equal(models, source, beams, penalty, allowed) -> None:
    ours, theirs = models
    generate = TextGenerator(
        ours, end=END, allowed=allowed, longest=LONGEST, beams=beams, length_penalty=penalty, batch=5
    )
    actual = generate(source)
    said, scores = theirs_say(theirs, source, allowed, beams, penalty)
    np.testing.assert_array_equal(actual.finished, (said == END).any(1))
    np.testing.assert_array_equal(actual.tokens, np.where(said == END, 0, said))
    np.testing.assert_allclose(actual.scores, scores, rtol=1e-5, atol=1e-5)
    lengths = (actual.tokens != 0).sum(1)
    assert len(np.unique(actual.tokens, axis=0)) > 2  # else the comparison is worth little
    assert len(np.unique(lengths)) > 1
    assert actual.tokens.dtype == np.int32
    assert allowed is None or ALLOWED[actual.tokens[actual.tokens != 0]].all()


@pytest.mark.slow
def test_choices_equal_teacher_forcing(models, source) -> None:
    import torch

    ours, theirs = models
    choices = np.array([[5, END, 0], [6, 7, END], [22, 0, 0], [5, 5, END]], np.int32)
    actual = ChoiceScorer(ours, choices, batch=5)(source)
    assert actual.shape == (12, 4)
    for prompt, row in zip(source, actual):
        for choice, score in zip(choices, row):
            answer = torch.tensor(choice[choice != 0], dtype=torch.long)[None]
            said = torch.tensor(prompt[prompt != 0], dtype=torch.long)[None]
            with torch.no_grad():
                if theirs.config.is_encoder_decoder:
                    logits = theirs(input_ids=said, labels=answer).logits
                else:
                    said = torch.cat([said, torch.tensor([[START]]), answer], 1)
                    logits = theirs(input_ids=said).logits[:, -1 - answer.shape[1] : -1]
            expected = logits.log_softmax(-1).gather(-1, answer[:, :, None]).sum().item()
            np.testing.assert_allclose(score, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_position_on_the_device_is_the_same_position(models) -> None:
    """Three tokens, then three more, of two beams, in a cache that is longer than they are."""
    ours, _ = models
    said = np.random.default_rng(2).integers(1, VOCAB, (2, 2, 7)).astype(np.int32)
    memory = jax.jit(type(ours).read)(ours, np.array([[2, 3, 4], [5, 6, 0]], np.int32))
    step, static = jax.jit(type(ours).step), jax.jit(type(ours).step, static_argnums=2)
    caches = [ours.empty_cache(2, 2, 8)] * 2
    for begin, end in ((0, 3), (3, 6)):
        tokens = said[:, :, begin:end]
        want, caches[0] = static(ours, tokens, begin, caches[0], memory)
        actual, caches[1] = step(ours, tokens, jnp.int32(begin), caches[1], memory)
        np.testing.assert_allclose(actual, want, atol=1e-5)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """A stand-in whose logits are a row of a table, by the last token, plus one by the prompt's first token."""

    table: jax.Array  # f32[V,V]

    start = 0

    def read(self, source):
        return self.table[source[:, 0]]

    def empty_cache(self, batch, beams, length):
        return jnp.zeros((batch, beams, 1, length, 1))

    def step(self, tokens, position, cache, memory):
        return self.table[tokens] + memory[:, None, None], cache

    def logits(self, hidden):
        return hidden


@pytest.fixture
def pairs() -> Pairs:
    return Pairs(jnp.asarray(np.random.default_rng(3).normal(0, 2, (4, 4)), jnp.float32))


def answers(model: Pairs, first: int, longest: int) -> dict[tuple[int, ...], float]:
    """Every answer to a prompt that begins with `first`, `end` included, and its log-probability, by enumeration."""
    table = np.asarray(model.table, np.float64)
    actual = {}
    for length in range(1, longest + 1):
        for said in itertools.product((2, 3), repeat=length - 1):
            for last in (END,) if length < longest else (END, 2, 3):
                total = 0.0
                for before, token in itertools.pairwise((0, *said, last)):
                    logits = table[first] + table[before]
                    total += logits[token] - np.log(np.exp(logits).sum())
                actual[(*said, last)] = total
    return actual


def test_enough_beams_find_the_best_of_all_answers(pairs) -> None:
    source = np.array([[1], [2], [3]], np.int32)
    actual = TextGenerator(pairs, end=END, longest=4, beams=16, length_penalty=0.0)(source)
    for n, first in enumerate((1, 2, 3)):
        every = answers(pairs, first, 4)
        best = max(every, key=lambda said: every[said])
        assert tuple(t for t in actual.tokens[n] if t) == tuple(t for t in best if t != END)
        np.testing.assert_allclose(actual.scores[n], every[best], atol=1e-5)
        assert actual.finished[n] == (END in best)


def test_one_answer_worked_by_hand() -> None:
    """2 follows the start, 3 follows 2 and the end follows 3, each with probability e^5 / (e^5 + 3)."""
    table = np.zeros((4, 4), np.float32)
    table[0, 2] = table[2, 3] = table[3, END] = 5
    actual = TextGenerator(Pairs(jnp.asarray(table)), end=END, longest=6)(np.array([[END]], np.int32))
    np.testing.assert_array_equal(actual.tokens, [[2, 3, 0, 0, 0, 0]])
    np.testing.assert_allclose(actual.scores, 3 * (5 - np.log(np.exp(5) + 3)), rtol=1e-5)
    assert actual.finished.tolist() == [True]


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 2])
def test_the_loop_ends_with_the_last_answer_and_its_length_is_not_compiled(monkeypatch, beams) -> None:
    table = np.zeros((4, 4), np.float32)
    table[0, 2] = table[2, 3] = table[3, END] = 9
    model, source, steps = Pairs(jnp.asarray(table)), np.array([[END], [END]], np.int32), []

    def say(longest: int) -> module.Texts:
        return module._generate(model, source, None, end=END, longest=longest, beams=beams, penalty=1.0)

    sizes = [len(str(jax.make_jaxpr(functools.partial(say, n))()).splitlines()) for n in (10, 99)]
    assert sizes[0] == sizes[1]
    plain = Pairs.step
    monkeypatch.setattr(Pairs, "step", lambda *arguments: (steps.append(1), plain(*arguments))[1])
    with jax.disable_jit():
        actual = say(10)
    np.testing.assert_array_equal(actual.tokens[:, :3], [[2, 3, 0]] * 2)
    assert len(steps) == 3 + (beams > 1)  # with beams, until a second answer is there that is worse than the first


def test_newer_parameters_and_other_lengths_compile_nothing_again(pairs, monkeypatch) -> None:
    chex.clear_trace_counter()
    plain = module._generate.__wrapped__
    names = ("end", "longest", "beams", "penalty")
    counted = chex.assert_max_traces(lambda *args, **shape: plain(*args, **shape), n=2)
    monkeypatch.setattr(module, "_generate", jax.jit(counted, static_argnames=names))
    generate = TextGenerator(pairs, end=END, longest=5, beams=2, batch=4)
    rng = np.random.default_rng(0)
    source = rng.integers(1, 4, (9, 30)) * (np.arange(30)[None] < rng.integers(1, 31, 9)[:, None])
    before = generate(source)  # prompts of up to 16 and 32 tokens: two traces
    one_by_one = [generate(np.pad(row[None], ((0, 3), (0, 0)), mode="edge")).scores[0] for row in source]
    np.testing.assert_allclose(before.scores, one_by_one, atol=1e-6)
    generate.model = jax.tree.map(lambda x: -x, pairs)
    assert (generate(source).tokens != before.tokens).any()


def test_no_prompt_gives_no_answer(pairs) -> None:
    actual = TextGenerator(pairs, end=END, longest=5)(np.zeros((0, 3), np.int32))
    assert actual.tokens.shape == (0, 5)
    assert actual.scores.shape == actual.finished.shape == (0,)
    assert ChoiceScorer(pairs, [[2], [3]])(np.zeros((0, 3), np.int32)).shape == (0, 2)


def test_clear_errors(pairs) -> None:
    with pytest.raises(ValueError, match="beams=0 must be at least 1"):
        TextGenerator(pairs, end=END, longest=5, beams=0)
    with pytest.raises(ValueError, match="end=0 must be a token above 0"):
        TextGenerator(pairs, end=0, longest=5)
    with pytest.raises(ValueError, match=r"allowed must be bool\[V\] and hold end=1"):
        TextGenerator(pairs, end=END, longest=5, allowed=np.zeros(4, bool))
    with pytest.raises(ValueError, match="allowed has 3 entries for a model of 4 logits"):
        TextGenerator(pairs, end=END, longest=5, allowed=np.ones(3, bool))(np.ones((1, 1), np.int32))
    with pytest.raises(ValueError, match=r"source must be i32\[B,S\]"):
        TextGenerator(pairs, end=END, longest=5)(np.ones(3, np.int32))
    with pytest.raises(ValueError, match="a token in each row"):
        ChoiceScorer(pairs, [[2, 0], [0, 0]])
    with pytest.raises(ValueError, match="padded with 0 at the end of each row only"):
        ChoiceScorer(pairs, [[2, 0, 3]])
