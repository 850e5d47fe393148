"""The stage that lays out a run's vocabulary and language model, from random or pretrained weights."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, T5Config, from_dict, to_json
from jaxrec.files import whole_folder, write_whole
from jaxrec.hub import llama, t5
from jaxrec.hub.weights import load_weights
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.llama import Llama
from jaxrec.models.retriever import Retriever
from jaxrec.models.sparse import edges
from jaxrec.models.t5 import T5
from jaxrec.system.run import Run
from jaxrec.tasks.templates import template_texts
from jaxrec.tokenizers import vocabulary as vocabularies
from jaxrec.tokenizers.ids import Ids
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Vectors


def make_model(run: Run, ids: Ids, vectors: Vectors, *, untrained: bool) -> tuple[Vocabulary, T5 | Llama | Retriever]:
    """The vocabulary of a run's ids and texts, and a model with the weights that training starts from.

    Args:
      run: config and folder; what an earlier call left there is read.
      ids: whose codes are the new tokens.
      vectors: what a retriever searches.
      untrained: whether pretrained weights are wanted even where training has left its own.
    """
    vocabulary, shape, weights = _vocabulary(run, ids, untrained=untrained)
    rngs = nnx.Rngs(params=stream(run.key, "model"))
    shape = dataclasses.replace(shape, vocab=vocabulary.size)
    anchors, first = ids.anchors(vocabulary.new_tokens), vocabulary.first_oov
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
        model = Retriever(backbone, config, prompt, vectors.item, vectors.user, known, rngs=rngs)
    return vocabulary, model


def _vocabulary(
    run: Run, ids: Ids, *, untrained: bool
) -> tuple[Vocabulary, T5Config | LlamaConfig, dict[str, np.ndarray] | None]:
    """The vocabulary, the model's shape, and pretrained weights where the config names some and training starts."""
    config, folder, file = run.config.model, run.folder / "tokenizer", run.folder / "backbone.json"
    decoder_only = config.backbone == "llama"
    shape, weights = (config.llama if decoder_only else config.t5), None
    names = vocabularies.new_token_names(ids.users.codes, ids.items.codes, answer=decoder_only)
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
    rows, single = (
        shape.vocab if weights is not None else 0,
        vocabularies.text_token_names(ids.users.codes, ids.items.codes),
    )
    made = vocabularies.extend(text, names, rows, single=single)
    with whole_folder(folder) as part:
        made.save(part)
    return made, shape, weights


def _texts(run: Run) -> list[str]:
    """What a text tokenizer is trained on: the templates and, where tasks write, texts of training events."""
    found = template_texts(run.config.task.writing)
    if run.events is not None and run.data.text is not None:
        found += [text for column in run.data.text.values() for text in column[run.events.train].tolist()]
    return found
