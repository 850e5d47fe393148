"""The stage that makes the ids of a run."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from jaxrec.embedders.fold_in import before_each_event, of_each_user
from jaxrec.files import write_whole
from jaxrec.keys import generator, stream
from jaxrec.system.run import Run
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.registry import id_kind
from jaxrec.types import Histories, Vectors


def identify(run: Run, vectors: Vectors) -> Ids:
    """The ids of a run, from its folder where an earlier call left them."""
    folder, config = run.folder / "ids", run.config
    names = run.data.user_names, run.data.item_names
    if folder.is_dir():
        return load_ids(folder, config.ids, *names)
    inputs = IdInputs(vectors, run.learned_from, config, stream(run.key, "ids"))
    kind = id_kind(config.ids.kind)
    if kind.activity:
        run.say(kind.activity)
    if config.ids.users == "causal" and kind.learns_histories:
        inputs = _of_histories(inputs, run.split.train)
    ids = fit_ids(inputs)
    write_whole(run.folder / "ids.json", json.dumps(ids.report(), indent=2) + "\n")
    ids.save(folder, *names)
    return ids


def _of_histories(inputs: IdInputs, train: Histories) -> IdInputs:
    """Inputs whose user vectors are folded in, and users are learned from parts of histories as well as whole ones.

    A causal id is made of the history before an event, so what makes it has to have seen vectors of that kind.
    """
    item = inputs.vectors.item
    vectors = Vectors(of_each_user(train, item), item)
    parts = before_each_event(train, item)
    parts = parts[parts.any(axis=1)]
    drawn = generator(inputs.config.seed, "parts of histories").permutation(len(parts))[: train.n_users]
    return dataclasses.replace(inputs, vectors=vectors, user_rows=np.concatenate([parts[drawn], vectors.user]))
