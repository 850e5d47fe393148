"""The stages of a run before the language model is trained: embed, identify, lay out vocabulary and model."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, T5Config, from_dict, to_json
from jaxrec.hub import llama, t5
from jaxrec.hub.weights import load_weights
from jaxrec.keys import generator, stream
from jaxrec.methods.embedders import embed, refresh
from jaxrec.methods.run import Run, write_whole
from jaxrec.methods.system import System
from jaxrec.models import lightgcn
from jaxrec.models.llama import Llama
from jaxrec.models.retriever import Retriever
from jaxrec.models.sparse import edges
from jaxrec.models.t5 import T5
from jaxrec.tasks.prompts import texts
from jaxrec.tokenizers import cid
from jaxrec.tokenizers import ids as ids_of
from jaxrec.tokenizers import vocabulary as vocabularies
from jaxrec.tokenizers.fold_in import as_long_as, before_each_event, of_each_user
from jaxrec.tokenizers.ids import CLUSTERED, LABELS, NUMBERED, OTHERS, Ids, MixedIds, PureIds
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.tokenizers.numbered_ids import NumberedIds
from jaxrec.tokenizers.quantized_ids import QuantizedIds
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Histories, Vectors


def build(run: Run, *, untrained: bool = False) -> System:
    """Everything but the trained weights; what an earlier call left in the run's folder is read, not made again.

    Args:
      run: config, data and folder.
      untrained: whether pretrained weights are wanted even where training has left its own: the system as it began.
    """
    embedding = embed(run)
    ids = _ids(run, embedding.vectors)
    vocabulary, shape, weights = _vocabulary(run, ids, untrained=untrained)
    rngs = nnx.Rngs(params=stream(run.key, "model"))
    shape = dataclasses.replace(shape, vocab=vocabulary.size)
    anchors, first = _anchors(ids, vocabulary), vocabulary.first_oov
    settings = run.config.model
    if isinstance(shape, T5Config):
        model = backbone = T5(shape, settings.oov, anchors, first, rngs=rngs)
    else:
        model = backbone = Llama(shape, settings.oov, settings.lora, anchors, first, vocabulary.answer, rngs=rngs)
    if weights is not None:
        load_weights(
            backbone,
            weights,
            t5.tensor_names(shape) if isinstance(shape, T5Config) else llama.tensor_names(shape),
            tables=t5.TABLES if isinstance(shape, T5Config) else llama.TABLES,
            known=first,
            rule=settings.new_rows,
            anchors=anchors,
            source=settings.init_from or "",
        )
    if run.config.answer == "vector":
        config, train = run.config.retrieval, run.split.train
        known = lightgcn.events(edges(train.users, train.items, train.n_items), train.n_users)
        prompt = vocabulary.encode(config.decoder_prompt)
        model = Retriever(backbone, config, prompt, embedding.vectors.item, embedding.vectors.user, known, rngs=rngs)
    return System(run, embedding, ids, vocabulary, model, run.split.history("test"))


def welcome(system: System, histories: Histories, users: np.ndarray, items: np.ndarray) -> System:
    """The system once some users and items are known that it was not trained with; nothing is trained.

    The embedder is refreshed over all histories; the newcomers' vectors, made as long as the others, are encoded
    by the frozen tokenizer, and both take their rows. Everybody else keeps vector and id (TokenRec, section 2.5.2).

    Args:
      system: a system, trained or about to be.
      histories: all that is known; newcomers are numbered behind those that the system has, or have rows in it already.
      users: i64[*], who is new or has new events.
      items: i64[*], which are new.
    """
    fresh = refresh(system.run, system.embedding, histories)
    vectors, ids = system.embedding.vectors, system.ids
    unique = system.run.config.answer == "id"
    vectors = Vectors(
        _rows_set(vectors.user, users, as_long_as(fresh.user[users], vectors.user), histories.n_users),
        _rows_set(vectors.item, items, as_long_as(fresh.item[items], vectors.item), histories.n_items),
    )
    ids = ids.with_rows("item", items, ids.encode(vectors.item[items], "item", unique=unique, instead=items))
    rows = vectors.user[users]
    if system.run.config.ids.users == "causal":  # made from histories whenever a user is asked about
        rows = of_each_user(histories, vectors.item)[users]
    ids = ids.with_rows("user", users, ids.encode(rows, "user", unique=False, instead=users))
    embedding = dataclasses.replace(system.embedding, vectors=vectors)
    return dataclasses.replace(system, embedding=embedding, ids=ids, histories=histories)


def _rows_set(rows: np.ndarray, which: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Rows padded with zeros to n, those of `which` taken from `values`."""
    out = np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]), rows.dtype)])
    out[which] = values
    return out


def _ids(run: Run, vectors: Vectors) -> Ids:
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
        say=run.say,
    )


def _anchors(ids: Ids, vocabulary: Vocabulary) -> np.ndarray | None:
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


def _vocabulary(
    run: Run, ids: Ids, *, untrained: bool
) -> tuple[Vocabulary, T5Config | LlamaConfig, dict[str, np.ndarray] | None]:
    """The vocabulary, the model's shape, and pretrained weights where the config names some and training starts."""
    config, folder, file = run.config.model, run.folder / "tokenizer", run.folder / "backbone.json"
    decoder_only = config.backbone == "llama"
    shape, weights = (config.llama if decoder_only else config.t5), None
    names = vocabularies.new_token_names(ids.users, ids.items, answer=decoder_only)
    # A save that a kill cut off leaves a folder whose name only begins with a number: nothing is trained by that.
    trained = any(step.name.isdigit() for step in (run.folder / "checkpoints").glob("*"))
    if file.is_file() and trained and not untrained:  # what was pretrained is not needed again
        return vocabularies.load(folder, names), from_dict(type(shape), json.loads(file.read_text())), None
    if config.init_from is not None:
        found, weights = (llama.read_llama if decoder_only else t5.read_t5)(config.init_from)
        kept = {name: getattr(shape, name) for name in ("dropout", "compute_dtype", "remat")}
        shape = dataclasses.replace(found, **kept)
    write_whole(file, to_json(shape) + "\n")
    if folder.is_dir():  # whole: it was renamed when it was
        return vocabularies.load(folder, names), shape, weights
    if config.init_from is not None:
        text = vocabularies.load_text_tokenizer(config.init_from, decoder_only=decoder_only)
        if len(text) > shape.vocab:
            raise ValueError(
                f"the tokenizer of {config.init_from} has {len(text)} tokens, its table only {shape.vocab} rows;"
                " they are not of one model"
            )
    else:
        text = vocabularies.train_text_tokenizer(_texts(run), run.config.task.words, ends=not decoder_only)
    rows, single = shape.vocab if weights is not None else 0, vocabularies.text_token_names(ids.users, ids.items)
    made = vocabularies.extend(text, names, rows, single=single)
    part = folder.with_name("tokenizer.part")
    made.save(part)
    part.rename(folder)
    return made, shape, weights


def _texts(run: Run) -> list[str]:
    """What a text tokenizer is trained on: the templates and, where tasks write, texts of training events."""
    found = texts(run.config.task.writing)
    if run.events is not None and run.data.text is not None:
        found += [text for column in run.data.text.values() for text in column[run.events.train].tolist()]
    return found
