"""A tiny run of `fit`: functions for tests of this process, and a program for tests that kill it or start two.

python small_run.py FOLDER [--steps N] [--pause SECONDS] [--data D --model M] [--process I --processes N --port P]
"""

import argparse
import time

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from jaxrec.config import TrainConfig
from jaxrec.progress import log_to_stderr
from jaxrec.training.loop import fit
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.plan import Plan
from jaxrec.training.sharding import make_mesh, share_of_data
from jaxrec.training.state import functional, rebuilder

VOCAB, WIDTH, ROWS = 64, 8, 8
RULES = (("embedding$", PartitionSpec("model", None)),)
STEPS = 40


class Model(nnx.Module):
    """Guesses the next token from the mean embedding of the ones before, with noise in training."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(0.5 * jax.random.normal(rngs.params(), (VOCAB, WIDTH)))
        self.hidden = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.shift = nnx.Variable(jnp.ones((1, WIDTH)))

    def __call__(self, tokens, key=None):
        x = self.hidden(self.embedding[...][tokens].mean(1)) + self.shift[...]
        if key is not None:
            x = x * jax.random.bernoulli(key, 0.8, x.shape)
        return x @ self.embedding[...].T


def loss(model, batch, key):
    scores = jax.nn.log_softmax(model(batch["tokens"][:, :-1], key))
    chosen = jnp.take_along_axis(scores, batch["tokens"][:, -1:], axis=1)
    return -chosen.mean(), {"hits": (scores.argmax(1) == batch["tokens"][:, -1]).mean()}


class Rows:
    """Row i: five tokens that count up from a drawn start."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        start = np.random.default_rng(index).integers(VOCAB)
        return {"tokens": ((start + np.arange(5)) % VOCAB).astype(np.int32)}


def data(index: int = 0, count: int = 1) -> grain.IterDataset:
    """Shuffled global batches of ROWS, of which block `index` of `count` is read."""
    share = ROWS // count
    batches = grain.MapDataset.source(Rows()).seed(0).shuffle().repeat().batch(ROWS)
    mine = batches.map(lambda batch: {k: v[index * share : (index + 1) * share] for k, v in batch.items()})
    return mine.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def train(folder=None, *, steps=STEPS, mesh=None, pause=0.0, loss=loss, schedule_steps=STEPS, **changes):
    """A run with every setting that matters to resuming: dropout, schedule, validation and its patience."""
    model = Model(rngs=nnx.Rngs(0))
    params, buffers, loss_fn = functional(model, loss)
    rebuild = rebuilder(model)
    held_out = {"tokens": np.stack([Rows()[i]["tokens"] for i in range(1000, 1016)])}
    measure = jax.jit(lambda params, buffers: loss(rebuild(params, buffers), held_out, None)[0])

    def count(batch):
        time.sleep(pause)
        return {"examples": len(batch["tokens"]), "tokens": batch["tokens"].size}

    def validate(params, buffers):
        return {"score": float(-measure(params, buffers))}

    validate = changes.pop("validate", validate)
    plan = Plan(
        steps, **{"validate_every": 8, "select": "score", "log_every": 1, "rules": RULES, "mesh": mesh, **changes}
    )
    optimizer = make_optimizer(TrainConfig(learning_rate=3e-2), schedule_steps)
    rows = data(*share_of_data(mesh)) if mesh else data()
    key = jax.random.key(1)
    return fit(loss_fn, params, buffers, optimizer, rows, plan, key=key, folder=folder, count=count, validate=validate)


def losses(records) -> dict[int, float]:
    """Step -> loss of its record."""
    return {r["step"]: r["loss"] for r in records if "loss" in r}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--data", type=int, default=0)
    parser.add_argument("--model", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    log_to_stderr()
    jax.config.update("jax_platforms", "cpu")
    if asked.processes > 1:
        jax.config.update("jax_num_cpu_devices", 1)
        jax.distributed.initialize(f"127.0.0.1:{asked.port}", asked.processes, asked.process, initialization_timeout=60)
    train(asked.folder, steps=asked.steps, pause=asked.pause, mesh=make_mesh(asked.data, asked.model))
    if asked.processes > 1:
        jax.distributed.shutdown()
