"""AdamW with warm-up, schedule, gradient clipping and masked weight decay."""

from __future__ import annotations

import re

import jax
import optax

from jaxrec.config import TrainConfig
from jaxrec.training.sharding import path_name

UNDECAYED = re.compile(r"embedding$|embedding_adapter|table|rows|relative|norm|bias")


def decay_mask(params):
    """True for parameters with weight decay.

    Those are the matrices that map hidden states to hidden states. Embedding tables and relative positions are
    excluded: a row that is not in the batch has no gradient, and decay alone would shrink rare users and items to
    zero. Norms and biases are excluded as usual.

    Returns:
      A pytree of bool like `params`: True if the array has at least two axes, and the name neither ends in "embedding"
      nor contains embedding_adapter, table, rows, relative, norm or bias.
    """

    def decays(path, leaf) -> bool:
        return leaf.ndim >= 2 and not UNDECAYED.search(path_name(path))

    return jax.tree_util.tree_map_with_path(decays, params)


def learning_rate(config: TrainConfig, steps: int) -> optax.Schedule:
    """A linear warm-up over the share `config.warmup` of the steps, then `config.schedule` down to zero.

    Raises:
      ValueError: `config.warmup` is outside [0, 1).
    """
    if not 0 <= config.warmup < 1:
        raise ValueError(f"train.warmup={config.warmup} is a share of the steps; give a number in [0, 1)")
    peak, warm = config.learning_rate, round(config.warmup * steps)
    rest = max(steps - warm, 1)
    schedules = {
        "linear": optax.linear_schedule(peak, 0.0, rest),
        "cosine": optax.cosine_decay_schedule(peak, rest),
        "constant": optax.constant_schedule(peak),
    }
    decay = schedules[config.schedule]
    if not warm:
        return decay
    # The warm-up starts above 0, as a rate of 0 would waste the first gradient.
    return optax.join_schedules([optax.linear_schedule(peak / warm, peak, warm - 1 or 1), decay], [warm])


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) after clipping by the global norm; moments have the parameters' float32.

    With `config.relative` an update is also multiplied by the root mean square of its parameter, the rule of
    Adafactor (Shazeer and Stern 2018) that T5 was trained with.

    Args:
      config: learning_rate, relative, warmup, schedule, weight_decay and clip (0 = no clipping) are used.
      steps: length of the whole run, over which the schedule decays.
    """
    parts = [
        optax.clip_by_global_norm(config.clip) if config.clip else optax.identity(),
        optax.scale_by_adam(),
        optax.scale_by_param_block_rms() if config.relative else optax.identity(),
        optax.add_decayed_weights(config.weight_decay, decay_mask),
        optax.scale_by_learning_rate(learning_rate(config, steps)),
    ]
    return optax.chain(*parts)
