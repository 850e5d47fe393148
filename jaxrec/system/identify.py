"""The stage that makes the ids of a run, and what the new tokens of its model are anchored to."""

from __future__ import annotations

import json

import numpy as np

from jaxrec.embedders.fold_in import before_each_event, of_each_user
from jaxrec.files import write_whole
from jaxrec.keys import generator, stream
from jaxrec.system.run import Run
from jaxrec.tokenizers import cid
from jaxrec.tokenizers import ids as ids_of
from jaxrec.tokenizers.ids import CLUSTERED, LABELS, NUMBERED, OTHERS, Ids, MixedIds, PureIds
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.tokenizers.numbered_ids import NumberedIds
from jaxrec.tokenizers.quantized_ids import QuantizedIds
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Vectors


def identify(run: Run, vectors: Vectors) -> Ids:
    """The ids of a run, from its folder where an earlier call left them."""
    folder, config = run.folder / "ids", run.config.ids
    names = run.data.user_names, run.data.item_names
    if folder.is_dir():
        return ids_of.load(folder, config, *names)
    if config.entities == "both":
        ids = _ids_of_kind(run, vectors, config.kind)
    else:
        mine = vectors
        if config.kind in CLUSTERED:  # of those alone who are named by the clusters
            mine = Vectors(vectors.user[:0], vectors.item) if config.entities == "items" else vectors
            mine = Vectors(vectors.user, vectors.item[:0]) if config.entities == "users" else mine
        ids, others = _ids_of_kind(run, mine, config.kind), _ids_of_kind(run, vectors, OTHERS)
        ids = MixedIds(ids, others) if config.entities == "users" else MixedIds(others, ids)
    write_whole(run.folder / "ids.json", json.dumps(ids.report(), indent=2) + "\n")
    ids.save(folder, *names)
    return ids


def _ids_of_kind(run: Run, vectors: Vectors, kind: str) -> PureIds:
    """Users' and items' ids of one kind, learned from what the run's protocol allows."""
    config, key, unique = run.config.ids, stream(run.key, "ids"), run.config.answer == "id"
    if kind in CLUSTERED:
        run.say(f"clustering users and items into ids ({LABELS[kind]})")
        return MetaIds.fit(vectors, config, key=key)
    if kind in NUMBERED:
        return NumberedIds.fit(vectors, run.learned_from, kind, seed=run.config.seed, spare=config.spare)
    if kind == "cid":
        run.say("clustering those that are met together into ids (CID)")
        return cid.fit(vectors, run.learned_from, config, key=key, unique=unique)
    run.say(f"learning to quantize users and items ({kind})")
    train, user_rows = run.split.train, None
    if config.users == "causal":  # ids are made from parts of histories: learn from vectors of that kind
        vectors = Vectors(of_each_user(train, vectors.item), vectors.item)
        parts = before_each_event(train, vectors.item)
        parts = parts[parts.any(axis=1)]
        drawn = generator(run.config.seed, "parts of histories").permutation(len(parts))[: train.n_users]
        user_rows = np.concatenate([parts[drawn], vectors.user])
    return QuantizedIds.fit(
        vectors,
        kind,
        run.config.quantizer,
        key=key,
        unique=unique,
        spare=config.spare,
        user_rows=user_rows,
    )


def anchors_of(ids: Ids, vocabulary: Vocabulary) -> np.ndarray | None:
    """The anchor of each new token, f32[M,F]: its centroid or codeword where it has one, else zeros. None: no token."""
    tables: dict[str, np.ndarray | None] = {}
    for kind, codes in (("user", ids.users), ("item", ids.items)):
        tables |= dict(zip(codes.levels, ids.codewords(kind), strict=True))
    width = next((table.shape[1] for table in tables.values() if table is not None), None)
    if width is None:
        return None
    anchors = np.zeros((len(vocabulary.new_tokens), width), np.float32)
    for level, table in tables.items():
        if table is not None:
            first = vocabulary.new_tokens.index(level.format(0))
            anchors[first : first + len(table)] = table
    return anchors
