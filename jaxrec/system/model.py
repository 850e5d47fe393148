"""The stage that lays out a run's vocabulary and language model, from random or pretrained weights."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from flax import nnx

from jaxrec.config import from_dict, to_json
from jaxrec.files import whole_folder, write_whole
from jaxrec.hub.registry import backbone
from jaxrec.hub.weights import load_weights
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever
from jaxrec.models.sparse import edges
from jaxrec.system.run import Run
from jaxrec.tasks.templates import template_texts
from jaxrec.tokenizers import vocabulary as vocabularies
from jaxrec.tokenizers.ids import Ids
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Vectors


def make_model(
    run: Run, ids: Ids, vectors: Vectors, *, untrained: bool
) -> tuple[Vocabulary, LanguageModel | Retriever]:
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
    record = backbone(settings.backbone)
    start = vocabulary.answer if record.decoder_only else 0
    model = record.build(shape, settings, anchors, first, start, rngs=rngs)
    if weights is not None:
        assert record.hugging_face is not None
        load_weights(
            model,
            weights,
            record.hugging_face.tensor_names(shape),
            tables=record.hugging_face.tables,
            text_rows=first,
            rule=settings.new_rows,
            anchors=anchors,
            source=settings.init_from or "",
        )
    if run.config.answer == "vector":
        config, train = run.config.retrieval, run.split.train
        seen = lightgcn.events(edges(train.users, train.items, train.n_items), train.n_users)
        prompt = vocabulary.encode(config.decoder_prompt)
        model = Retriever(model, config, prompt, vectors.item, vectors.user, seen, rngs=rngs)
    return vocabulary, model


def _vocabulary(run: Run, ids: Ids, *, untrained: bool) -> tuple[Vocabulary, Any, dict[str, np.ndarray] | None]:
    """The vocabulary, the model's shape, and pretrained weights where the config names some and training starts."""
    config, folder, file = run.config.model, run.folder / "tokenizer", run.folder / "backbone.json"
    record = backbone(config.backbone)
    shape, weights = record.shape(config), None
    names = vocabularies.new_token_names(ids.users.codes, ids.items.codes, answer=record.decoder_only)
    # A save that a kill cut off leaves a folder whose name only begins with a number: nothing is trained by that.
    trained = any(step.name.isdigit() for step in (run.folder / "checkpoints").glob("*"))
    if file.is_file() and trained and not untrained:  # what was pretrained is not needed again
        return vocabularies.load(folder, names), from_dict(type(shape), json.loads(file.read_text())), None
    if config.init_from is not None:
        assert record.hugging_face is not None
        stored_shape, weights = record.hugging_face.read(config.init_from)
        kept = {name: getattr(shape, name) for name in ("dropout", "compute_dtype", "remat")}
        shape = dataclasses.replace(stored_shape, **kept)
    write_whole(file, to_json(shape) + "\n")
    if folder.is_dir():  # whole: it was renamed when it was
        return vocabularies.load(folder, names), shape, weights
    if config.init_from is not None:
        text = vocabularies.load_text_tokenizer(config.init_from, decoder_only=record.decoder_only)
        if len(text) > shape.vocab:
            raise ValueError(
                f"the tokenizer of {config.init_from} has {len(text)} tokens, its table only {shape.vocab} rows;"
                " they are not of one model"
            )
    else:
        text = vocabularies.train_text_tokenizer(_texts(run), run.config.task.words, ends=not record.decoder_only)
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
    texts = template_texts(run.config.task.writing)
    if run.events is not None and run.data.text is not None:
        texts += [text for column in run.data.text.values() for text in column[run.events.train].tolist()]
    return texts
