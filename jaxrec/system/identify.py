"""The id stage: fits a run's user and item ids, and stores them in ids/."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from jaxrec.embedders.fold_in import before_each_event, of_each_user
from jaxrec.files import write_kept
from jaxrec.keys import generator, stream
from jaxrec.system.run import Run
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.registry import id_kind
from jaxrec.types import Histories, Vectors


def identify(run: Run, vectors: Vectors) -> Ids:
    """A run's ids; read from ids/ where an earlier call stored them."""
    folder, config = run.folder / "ids", run.config
    names = run.data.user_names, run.data.item_names
    if folder.is_dir():
        return load_ids(folder, config.ids, *names)
    inputs = IdInputs(vectors, run.split.train, config, stream(run.key, "ids"))
    kind = id_kind(config.ids.kind)
    if kind.activity:
        run.say(kind.activity)
    if config.ids.users == "causal" and kind.learns_histories:
        inputs = _with_folded_in_users(inputs, run.split.train)
    ids = fit_ids(inputs)
    write_kept(run.folder / "ids.json", json.dumps(ids.report(), indent=2) + "\n")
    ids.save(folder, *names)
    return ids


def _with_folded_in_users(inputs: IdInputs, train: Histories) -> IdInputs:
    """Inputs with user vectors folded in from item vectors, for whole histories and for a sample of their prefixes.

    A causal id is computed from the history before an event, so the tokenizer has to be fitted to such vectors.
    """
    item = inputs.vectors.item
    vectors = Vectors(of_each_user(train, item), item)
    prefixes = before_each_event(train, item)
    prefixes = prefixes[prefixes.any(axis=1)]
    sample = generator(inputs.config.seed, "parts of histories").permutation(len(prefixes))[: train.n_users]
    return dataclasses.replace(inputs, vectors=vectors, user_rows=np.concatenate([prefixes[sample], vectors.user]))
