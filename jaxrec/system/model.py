"""The model stage: builds a run's vocabulary and language model, with random or pretrained weights."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
from flax import nnx

from jaxrec.config import from_dict, to_json
from jaxrec.files import kept_folder, read_kept, write_kept
from jaxrec.hub.registry import backbone
from jaxrec.hub.weights import load_weights
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.collaborative_tokens import CollaborativeTokens
from jaxrec.models.item_head import ItemHead
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.members import Members
from jaxrec.models.retriever import Retriever
from jaxrec.models.sparse import edges
from jaxrec.system.run import Run
from jaxrec.tasks.templates import prompt_vector_names, template_texts
from jaxrec.tokenizers import vocabulary as vocabularies
from jaxrec.tokenizers.ids import Ids
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import DataError, Vectors


def make_model(
    run: Run, ids: Ids, vectors: Vectors, *, untrained: bool
) -> tuple[Vocabulary, LanguageModel | Retriever]:
    """Builds a run's vocabulary, and its model, or the members of an ensemble, with initial weights.

    Args:
      run: config and folder; a tokenizer stored there by an earlier call is reused.
      ids: user and item ids, whose codes become new tokens.
      vectors: collaborative vectors, for the retrieval head and for collaborative tokens.
      untrained: load pretrained weights even where the run has checkpoints.
    Returns:
      The vocabulary; and a language model (answer "id", with an item head "both") or a retriever ("vector"). Where
      the run has checkpoints, the weights are random, to be replaced by `restore`, unless `untrained` is set.
    Raises:
      ValueError: the pretrained model can't be read, or its tokenizer has more tokens than its embedding table rows.
    """
    vocabulary, shape, weights = _vocabulary(run, ids, untrained=untrained)
    if run.config.answer == "vector":
        rngs = nnx.Rngs(params=stream(run.key, "model"))
        model = _language_model(run, ids, vocabulary, shape, weights, rngs)
        config, train = run.config.retrieval, run.split.train
        seen = lightgcn.events(edges(train.users, train.items, train.n_items), train.n_users)
        prompt = vocabulary.encode(config.decoder_prompt)
        return vocabulary, Retriever(model, config, prompt, vectors.item, vectors.user, seen, rngs=rngs)
    models, item_tokens = [], vocabulary.ids("<Item>", ids.items.codes).tokens
    for member in range(run.config.train.members):
        rngs = nnx.Rngs(params=stream(run.key, f"model {member}" if member else "model"))
        model = _language_model(run, ids, vocabulary, shape, weights, rngs)
        if run.config.answer == "both":
            head = ItemHead(
                run.config.item_head, item_tokens, shape.d_model, shape.compute_dtype, vectors.item, rngs=rngs
            )
            model.items = nnx.data(head)
        if hidden := run.config.task.collaborative_tokens.hidden:
            table, dtype = model.embedding.whole(), shape.compute_dtype
            tokens = CollaborativeTokens(vectors, hidden, vocabulary.size, table, dtype, rngs=rngs)
            model.collaborative = nnx.data(tokens)
        models.append(model)
    return vocabulary, models[0] if len(models) == 1 else Members(models)


def _language_model(
    run: Run, ids: Ids, vocabulary: Vocabulary, shape: Any, weights: dict[str, np.ndarray] | None, rngs: nnx.Rngs
) -> LanguageModel:
    """A model with random weights or, as far as there are any, pretrained ones."""
    shape = dataclasses.replace(shape, vocab=vocabulary.size)
    anchors, first = ids.anchors(vocabulary.new_tokens), vocabulary.first_oov
    settings = run.config.model
    record = backbone(settings.backbone)
    start = 0
    if record.decoder_only:  # the next item's id is predicted from its prefix, as inside the history
        start = vocabulary.item_prefix if run.config.task.autoregressive else vocabulary.answer
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
    return model


def _vocabulary(run: Run, ids: Ids, *, untrained: bool) -> tuple[Vocabulary, Any, dict[str, np.ndarray] | None]:
    """The vocabulary, the model's sizes, and pretrained weights; no weights where the run has checkpoints."""
    config, folder, file = run.config.model, run.folder / "tokenizer", run.folder / "backbone.json"
    record = backbone(config.backbone)
    shape, weights = record.shape(config), None
    names = vocabularies.new_token_names(ids.users.codes, ids.items.codes, answer=record.decoder_only)
    names += prompt_vector_names(run.config.task.tasks, run.config.task.prompt_vectors)
    if run.config.task.collaborative_tokens.hidden:
        names += (vocabularies.PLACEHOLDER,)
    # An interrupted save leaves a folder whose name has a suffix after the step; it is no checkpoint.
    trained = any(step.name.isdigit() for step in (run.folder / "checkpoints").glob("*"))
    if file.is_file() and trained and not untrained:  # checkpoints replace the pretrained weights
        return vocabularies.load(folder, names), _stored_shape(type(shape), file), None
    if config.init_from is not None:
        assert record.hugging_face is not None
        stored_shape, weights = record.hugging_face.read(config.init_from)
        from_config = {name: getattr(shape, name) for name in ("dropout", "compute_dtype", "remat")}
        shape = dataclasses.replace(stored_shape, **from_config)
    write_kept(file, to_json(shape) + "\n")
    if folder.is_dir():  # complete, as it is written atomically
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
    pretrained_rows = shape.vocab if weights is not None else 0
    single = vocabularies.text_token_names(ids.users.codes, ids.items.codes)
    vocabulary = vocabularies.extend(text, names, pretrained_rows, single=single)
    with kept_folder(folder) as part:
        vocabulary.save(part)
    return vocabulary, shape, weights


def _stored_shape(kind: type, file: pathlib.Path) -> Any:
    """The model's sizes in backbone.json."""
    remedy = "put it back; without it, the run's train command writes it again from the config"
    content = read_kept(file, "json", remedy)
    try:
        return from_dict(kind, content)
    except (ValueError, TypeError) as error:
        raise DataError(f"{file} holds no sizes of this backbone ({str(error)[:120]}); {remedy}") from error


def _texts(run: Run) -> list[str]:
    """Training texts of the tokenizer: prompt templates and, with text tasks, the texts of training events."""
    texts = template_texts(run.config.task.tasks)
    if run.events is not None and run.data.text is not None:
        texts += [text for column in run.data.text.values() for text in column[run.events.train].tolist()]
    return texts
