"""A decoder-only model with two answers, the id and the item: trained, loaded, asked, updated."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec import experiment
from jaxrec.config import Config, FilterConfig, ItemHeadConfig, LlamaConfig, ModelConfig, OovConfig
from jaxrec.config.checks import check_config
from jaxrec.data.packing import packed
from jaxrec.export.whole_system import export
from jaxrec.inference import newcomers
from jaxrec.models.cross_entropy import sequence_loss, shift_right
from jaxrec.recommend.exact_scoring import score_all
from jaxrec.system import loading
from jaxrec.system.catalogue_scores import catalogue_component
from jaxrec.system.run import check_run
from jaxrec.system.system import System
from jaxrec.system.training import training_examples
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Batch, Histories, Interactions

SHAPE = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=2, tied=True)


HEADS = {
    "llama": ItemHeadConfig(),
    "item_decoder": ItemHeadConfig(),
    "item_decoder, filtered, rows that start as vectors": ItemHeadConfig(initial="vectors"),
    "item_decoder, rows of vectors in last codes": ItemHeadConfig(share=0.5, rows="vectors", row_output=True),
}


@pytest.fixture(
    scope="module",
    # The decoder without a filter is the one with it but for a weight of 0.
    params=[
        pytest.param("llama"),
        pytest.param("item_decoder", marks=pytest.mark.soak),
        pytest.param("item_decoder, filtered, rows that start as vectors", marks=pytest.mark.soak),
        pytest.param("item_decoder, rows of vectors in last codes"),
    ],
)
def config(tiny: Config, request: pytest.FixtureRequest) -> Config:
    return tiny.replace(
        item_head=HEADS[request.param],
        name="tiny",
        answer="both",
        ids__users="none",
        model=ModelConfig(
            backbone=request.param.partition(",")[0],
            llama=SHAPE,
            filter=FilterConfig(weight=0.5 if "filtered" in request.param else 0.0, period=6),
            oov=OovConfig("none"),
        ),
        task__tasks=("autoregressive",),
        train__steps=40,
        train__learning_rate=1e-2,
        train__source_length=32,
        train__target_length=64,
    )


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    return experiment.train(config.replace(out=str(tmp_path_factory.mktemp("runs") / "run")))[0]


@pytest.mark.slow
def test_both_answers_are_learned(trained: System) -> None:
    records = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    of_items = [record["item_loss"] for record in records if "item_loss" in record]
    assert of_items[-1] < 0.9 * of_items[0]
    again = loading.load(trained.folder)
    users = np.arange(6)
    np.testing.assert_array_equal(trained.recommend(users, 5).items, again.recommend(users, 5).items)
    names = {"llama": "META ID (L) with item head", "item_decoder": "META ID (item decoder)"}
    assert trained.name == names[trained.config.model.backbone]


@pytest.mark.slow
def test_losses_are_those_of_scoring_one_item_at_a_time(trained: System) -> None:
    """The packed losses of a history beside -log p of every item after the first, each asked for with a prompt."""
    train, model, trie = trained.split.train, trained.model, Trie.build(trained.answer_tokens)
    examples = training_examples(trained)
    row = int(np.argmax(examples.pieces.size))
    _, start, size = (int(column[row]) for column in examples.pieces)
    items = train.items[start : start + size + 1]
    lengths = np.arange(1, len(items))  # a new user for each beginning of the history
    beginnings = Histories(
        np.append(0, np.cumsum(lengths)), np.concatenate([items[:n] for n in lengths]), train.n_items
    )
    ask = trained.asker(beginnings, None, "autoregressive", "seen")
    prompts = jnp.asarray(ask(np.arange(len(lengths))))

    def expected(share: float) -> float:
        scores = np.asarray(jax.jit(score_all)(with_settings(model, share=share), prompts, trie))
        return -scores[np.arange(len(lengths)), items[1:]].mean()

    source, _, target, _ = (jnp.asarray(x)[None] for x in examples.build(np.array([row]), 0))
    batch = Batch(source, jnp.ones_like(source), target, jnp.ones_like(target), jnp.ones(target.shape))
    metrics = jax.jit(sequence_loss)(model, batch)[1]
    np.testing.assert_allclose(metrics["item_loss"], expected(1), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"] * model.items.n_codes, expected(0), rtol=1e-4)


@pytest.mark.slow
def test_items_before_an_answer_are_no_candidates(trained: System) -> None:
    """Two histories packed into one row: -log p among the items that the own history doesn't hold yet."""
    train, model = trained.split.train, with_settings(trained.model, mask_seen=True)
    examples = training_examples(trained)
    indices = np.argsort(-examples.pieces.size)[:2]
    assert len(set(examples.pieces.user[indices])) == 2
    source, source_ends, target, ends = examples.build(indices, 0)

    def segments(ends: np.ndarray) -> np.ndarray:
        return np.repeat([[1, 2]], np.diff(ends), axis=1).astype(np.int32)

    batch = Batch(
        jnp.asarray(source)[None],
        segments(source_ends),
        jnp.asarray(target)[None],
        segments(ends),
        jnp.ones((1, len(target))),
    )
    losses = []
    for index in indices:
        _, start, size = (int(column[index]) for column in examples.pieces)
        items = train.items[start : start + size + 1]
        alone, _, answers, _ = (jnp.asarray(x)[None] for x in examples.build(np.array([index]), 0))
        one = Batch(alone, jnp.ones_like(alone), answers, jnp.ones_like(answers), jnp.ones(answers.shape))
        inputs = shift_right(one.target, one.target_segments, model.start)
        hidden = model(one.source, one.source_segments, inputs, one.target_segments)
        positions = np.flatnonzero(inputs[0] == model.start)
        log_probs = np.asarray(model.items.log_probs(hidden[0, positions]))
        for n, (row, item) in enumerate(zip(log_probs, items[1:], strict=True)):
            offered = np.ones(train.n_items, bool)
            offered[items[: n + 1]] = False
            offered[item] = True
            losses.append(np.log(np.exp(row[offered]).sum()) - row[item])
    actual = jax.jit(sequence_loss)(model, batch)[1]["item_loss"]
    np.testing.assert_allclose(actual, np.mean(losses), rtol=1e-4)
    assert actual < jax.jit(sequence_loss)(trained.model, batch)[1]["item_loss"] - 1e-3


def with_settings(model, **settings):
    model = model.with_items(nnx.clone(model.items))
    model.items.config = dataclasses.replace(model.items.config, **settings)
    return model


@pytest.mark.slow
def test_a_loss_of_weight_0_is_not_computed(trained: System) -> None:
    batch = next(iter(packed([training_examples(trained)], rows=2, source_length=32, target_length=64, seed=0)))
    both = trained.model.items.config
    loss, metrics = sequence_loss(trained.model, batch)
    expected = both.id_weight * metrics["loss"] + both.weight * metrics["item_loss"]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for absent, settings in (("item_loss", {"weight": 0.0}), ("loss", {"id_weight": 0.0})):
        assert absent not in sequence_loss(with_settings(trained.model, **settings), batch)[1]


@pytest.mark.slow
def test_items_are_found_by_their_ids_alone(trained: System) -> None:
    head, tokens = trained.model.items, trained.item_tokens
    np.testing.assert_array_equal(head.items_of(jnp.asarray(tokens[:, 1:])), np.arange(len(tokens)))
    prompt = np.concatenate([[7], tokens[5], tokens[9][:2], tokens[3]])[None]
    width = tokens.shape[1]
    expected = np.zeros((*prompt.shape, 16), np.float32)
    expected[0, width], expected[0, -1] = 4 * head.input()[np.array([5, 3])]
    np.testing.assert_allclose(head.added(prompt), expected, rtol=1e-6)
    assert head.items_of(jnp.full((1, width - 1), 10**6)) == -1


@pytest.mark.slow
def test_scores_are_weighted_means_of_both_answers(trained: System) -> None:
    source = jnp.asarray(trained.asker(trained.histories, None, "autoregressive", "seen")(np.arange(4)))
    trie = Trie.build(trained.answer_tokens)

    def scores(share: float) -> np.ndarray:
        model = with_settings(trained.model, share=share)
        return np.asarray(jax.jit(score_all)(model, source, trie))

    of_ids, of_items = scores(0), scores(1)
    np.testing.assert_allclose(np.exp(of_items).sum(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(scores(0.7), 0.7 * of_items + 0.3 * of_ids, rtol=1e-4)


@pytest.mark.slow
def test_beam_search_and_the_head_find_what_scoring_all_finds(trained: System) -> None:
    """With as many candidates as items, and with seen items left out."""
    users = np.arange(12)
    exact = dataclasses.replace(trained, config=trained.config.replace(eval__recommender="exact"))
    beam = dataclasses.replace(trained, config=trained.config.replace(eval__beams=trained.data.n_items))
    wanted, found = exact.recommend(users, 10), beam.recommend(users, 10)
    np.testing.assert_array_equal(found.items, wanted.items)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4)
    few = trained.recommend(users, 10)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(few.items, wanted.items, strict=True)]) > 0.9


@pytest.mark.slow
def test_an_item_that_came_later_gets_a_row(trained: System) -> None:
    """The mean row of its cluster or, where rows are made of vectors, that of its own vector."""
    head, tokens, vectors = trained.model.items, trained.item_tokens, trained.embedding.vectors.item
    assert head.extended(tokens, vectors) is head
    new = tokens[4].copy()
    new[-1] = tokens[:, -1].max() + 1
    new_vectors = np.concatenate([vectors[:4], vectors[:1] + vectors[1:2], vectors[4:]])
    grown = head.extended(np.concatenate([tokens[:4], new[None], tokens[4:]]), new_vectors)
    in_cluster = (tokens[:, 1:-1] == tokens[4, 1:-1]).all(axis=1)
    rows, of_vectors = np.asarray(head.input()), head.config.rows == "vectors"
    expected = rows[0] + rows[1] if of_vectors else rows[in_cluster].mean(axis=0)
    np.testing.assert_allclose(grown.input()[4], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.delete(np.asarray(grown.input()), 4, axis=0), rows, rtol=1e-5, atol=1e-7)
    assert grown.items_of(jnp.asarray(new[None, 1:])) == 4
    if of_vectors:
        moved = head.extended(tokens, 2 * vectors)  # an unseen item's vector may change where its id stays
        np.testing.assert_allclose(moved.input(), 2 * rows, rtol=1e-5, atol=1e-7)
        return
    far = np.full(tokens.shape[1], tokens.max() + 7)
    far[0] = tokens[0, 0]
    extended = head.extended(np.append(tokens, far[None], axis=0), np.append(vectors, vectors[:1], axis=0))
    np.testing.assert_allclose(extended.input()[-1], rows.mean(0), atol=1e-6)


def test_sizes_that_an_item_decoder_cannot_have_are_refused_at_once(config: Config) -> None:
    config = config.replace(model__backbone="item_decoder")
    for field, value in (("window", 4), ("tied", False)):
        with pytest.raises(ValueError, match=rf"model\.llama\.window.*{value}.*set window 0 and tied true"):
            check_run(config.replace(**{f"model__llama__{field}": value}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task__tasks": ("sequential",)}, "answer 'both' reads histories"),
        ({"item_head__share": 1.5}, "item_head.share is 1.5; it must be"),
        ({"item_head__temperature": 0.0}, "item_head.temperature is 0.0; it must be"),
        ({"item_head__weight": 0.0, "item_head__id_weight": 0.0}, "one of them above 0"),
        ({"train__members": 0}, "train.members is 0; it must be"),
        ({"train__average": 1.0}, "train.average is 1.0; it must be"),
    ],
)
def test_settings_that_contradict_each_other(config: Config, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_config(config.replace(**changes))


@pytest.mark.slow
def test_in_a_blend_all_items_are_scored_by_both_answers(trained: System) -> None:
    component = catalogue_component(trained)
    users = np.arange(5, dtype=np.int32)
    scores = component.score(trained.histories, users)
    assert component.distribution == "softmax"
    source = trained.asker(trained.histories, None, "autoregressive", "seen")(users)
    expected = jax.jit(score_all)(trained.model, jnp.asarray(source), Trie.build(trained.answer_tokens))
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.slow
def test_new_items_are_served(trained: System) -> None:
    served = newcomers.served(trained)
    names = served.data.item_names
    events = Interactions(
        np.zeros(2, np.int32), np.array([0, 1], np.int32), np.array(["new user"]), np.array([str(names[3]), "new item"])
    )
    served, done = newcomers.update(served, events)
    assert (done.new_users, done.new_items) == (1, 1)
    top = served.recommend(np.array([served.histories.n_users - 1]), 10)
    assert np.isfinite(top.scores).all()
    exact = dataclasses.replace(served, config=served.config.replace(eval__recommender="exact"))
    everything = exact.recommend(np.array([0]), served.data.n_items)
    assert len(names) in everything.items, "the new item is ranked among the others"


@pytest.mark.slow
def test_it_is_not_exported(trained: System, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="answer both has no form on Hugging Face"):
        export(trained, tmp_path / "export")
    assert not (tmp_path / "export").exists()
