"""An ensemble: members that train side by side are those that train alone, and their log-probabilities are averaged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrec import experiment
from jaxrec.config import Config, LlamaConfig, ModelConfig, OovConfig
from jaxrec.config.checks import check_config
from jaxrec.data.packing import packed
from jaxrec.models.losses import loss_of
from jaxrec.models.members import Members, each_member, of_members
from jaxrec.recommend.exact_scoring import score_all
from jaxrec.system import loading
from jaxrec.system.system import System
from jaxrec.system.training import training_examples
from jaxrec.tokenizers.trie import Trie
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.state import functional

SHAPE = LlamaConfig(d_model=16, d_kv=8, heads=2, kv_heads=1, d_ff=32, layers=2)


@pytest.fixture(scope="module")
def config(tiny: Config) -> Config:
    return tiny.replace(
        name="tiny",
        answer="both",
        ids__users="none",
        model=ModelConfig(backbone="llama", llama=SHAPE, oov=OovConfig("none")),
        task__tasks=("autoregressive",),
        train__steps=10,
        train__members=3,
        train__average=0.9,
        train__learning_rate=1e-2,
        train__source_length=32,
        train__target_length=64,
    )


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    return experiment.train(config.replace(out=str(tmp_path_factory.mktemp("runs") / "run")))[0]


def members_of(model: Members) -> list:
    params = jax.tree.map(np.asarray, nnx.state(model.member, nnx.Param))
    graph, _, shared = nnx.split(model.member, nnx.Param, ...)
    return [nnx.merge(graph, jax.tree.map(lambda x, n=n: x[n], params), shared) for n in range(model.count)]


@pytest.mark.slow
def test_scores_are_the_mean_of_the_members(trained: System) -> None:
    source = jnp.asarray(trained.asker(trained.histories, None, "autoregressive", "seen")(np.arange(4)))
    trie, score = Trie.build(trained.answer_tokens), jax.jit(score_all)
    members = members_of(trained.model)
    settings = {"share": 1.0}
    alone = np.stack([score(member.with_items(_head(member, settings)), source, trie) for member in members])
    together = score(trained.model.with_items(_head(trained.model, settings)), source, trie)
    np.testing.assert_allclose(together, alone.mean(axis=0), rtol=1e-4)
    assert np.std(alone, axis=0).mean() > 1e-3


@pytest.mark.slow
def test_odds_of_last_codes_are_the_members_normalised_mean(trained: System) -> None:
    settings = {"row_output": True}
    hidden = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
    items, exists = np.array([[3, 1, 4, 0]]), np.array([[True, True, True, False]])
    members = [member.with_items(_head(member, settings)) for member in members_of(trained.model)]
    alone = [member.code_log_probs(hidden[:, n], items, exists) for n, member in enumerate(members)]
    together = trained.model.with_items(_head(trained.model, settings)).code_log_probs(hidden, items, exists)
    np.testing.assert_allclose(together, jax.nn.log_softmax(np.mean(alone, axis=0)), rtol=1e-4)
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1, rtol=1e-5)
    assert (np.asarray(together)[:, 3] == -np.inf).all()


def _head(model, settings):
    head = nnx.clone(model.items)
    head.config = dataclasses.replace(head.config, **settings)
    return head


@pytest.mark.long
def test_a_step_of_members_is_each_ones_own_step(trained: System, config: Config) -> None:
    examples = [training_examples(trained, member) for member in range(3)]
    batch = next(iter(packed(examples, rows=2, source_length=32, target_length=64, seed=0)))
    assert not np.array_equal(batch.target[:, 0], batch.target[:, 1]), "each has an order of its own"
    loss, optimizer = loss_of(config).make(config.train), make_optimizer(config.train, 10)

    def stepped(model, loss, optimizer, batch):
        params, buffers, loss_fn = functional(model, loss)
        value, gradients = jax.jit(jax.value_and_grad(lambda p: loss_fn(p, buffers, batch, None)[0]))(params)
        return value, optax.apply_updates(params, optimizer.update(gradients, optimizer.init(params), params)[0])

    value, together = stepped(trained.model, of_members(loss), each_member(optimizer), batch)
    alone = [
        stepped(member, loss, optimizer, jax.tree.map(lambda x, n=n: x[:, n], batch))
        for n, member in enumerate(members_of(trained.model))
    ]
    np.testing.assert_allclose(value, np.mean([v for v, _ in alone]), rtol=1e-5)
    expected = jax.tree.map(lambda *x: np.stack(x), *(params for _, params in alone))
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4)  # of steps of 1e-2


@pytest.mark.soak
def test_it_is_loaded_resumed_and_asked(trained: System) -> None:
    again = loading.load(trained.folder)
    users = np.arange(6)
    one, other = trained.recommend(users, 5), again.recommend(users, 5)
    np.testing.assert_array_equal(one.items, other.items)
    resumed = experiment.train(trained.config)[0]
    for a, b in zip(jax.tree.leaves(nnx.state(resumed.model)), jax.tree.leaves(nnx.state(again.model)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_beam_search_goes_through_all_members_at_once(trained: System) -> None:
    """Of ids alone, whose tokens' mean log-probabilities are normalised again."""
    users = np.arange(6)
    exact = dataclasses.replace(trained, config=trained.config.replace(eval__recommender="exact"))
    beam = dataclasses.replace(trained, config=trained.config.replace(eval__beams=trained.data.n_items))
    np.testing.assert_array_equal(beam.recommend(users, 10).items, exact.recommend(users, 10).items)


def test_members_of_a_vector_are_refused(config: Config) -> None:
    with pytest.raises(ValueError, match=r"train\.members=3: only models that answer with ids"):
        check_config(config.replace(answer="vector", task__tasks=("sequential",)))
