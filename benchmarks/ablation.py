"""Ids x recommender x embedder from one config, in one table: `python -m benchmarks.ablation CONFIG [--quick]`."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import typing
from collections.abc import Sequence

from jaxrec.config import (
    Config,
    DataConfig,
    LightGcnConfig,
    ModelConfig,
    QuantizerConfig,
    SkipGramConfig,
    T5Config,
    WalkConfig,
    WorldConfig,
    load_config,
)
from jaxrec.embedders.registry import EMBEDDERS
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.models.retriever import LABELS
from jaxrec.studies.compare import compare_configs
from jaxrec.system.system import method_name
from jaxrec.tokenizers.registry import KINDS, id_kind

IDS: tuple[str, ...] = tuple(KINDS)
ANSWERS = {"beam": "id", "retrieval": "vector"}


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and measures every cell that no earlier call has finished, and prints the table.

    Baselines that all cells share are listed once, with the first cell; each other cell adds its own row and its
    embedder's.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__)
    parser.add_argument("config", metavar="CONFIG", help="the settings all cells share, for instance configs/demo.py")
    names: dict[str, tuple[Sequence[str], list[str]]] = {
        "ids": (IDS, ["meta_id", "mq", "rq_vae", "kmeans"]),
        "recommenders": (tuple(ANSWERS), list(ANSWERS)),
        "embedders": (tuple(EMBEDDERS), list(EMBEDDERS)),
    }
    for option, (choices, default) in names.items():
        about = f"of {', '.join(choices)}; default {' '.join(default)}"
        parser.add_argument(f"--{option}", nargs="+", choices=choices, default=default, metavar="NAME", help=about)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="default 0")
    parser.add_argument("--out", type=pathlib.Path, help="folder of all runs; default runs/ablation")
    parser.add_argument("--quick", action="store_true", help="a few steps on a tiny world, to see that all is wired up")
    arguments = parser.parse_args(argv)
    try:
        base = load_config(arguments.config)
        study = grid(
            quick(base) if arguments.quick else base, arguments.ids, arguments.recommenders, arguments.embedders
        )
    except ValueError as error:
        parser.error(str(error))
    folder = arguments.out or pathlib.Path("runs/ablation_quick" if arguments.quick else "runs/ablation")
    print(f"\n{compare_configs(study, arguments.seeds, folder)}\n\nfolder: {folder}")


def grid(
    config: Config, ids: Sequence[str], recommenders: Sequence[str], embedders: Sequence[str]
) -> dict[str, Config]:
    """The cells by name, embedders outermost; every other setting is the config's.

    Raises:
      ValueError: `eval.beams` is below the table's last cutoff.
    """
    if "beam" in recommenders and config.eval.beams < max(CUTOFFS):
        raise ValueError(f"eval.beams={config.eval.beams} can't list {max(CUTOFFS)} items, the table's last cutoff")
    cells = [
        cell(config, i, recommender, embedder) for embedder in embedders for i in ids for recommender in recommenders
    ]
    return {method_name(config): config for config in cells}


def cell(config: Config, ids: str, recommender: str, embedder: str) -> Config:
    """The config with other ids, recommender and embedder, and packed rows that hold as many examples as before.

    Row lengths grow with the tokens of an id or answer; otherwise a step would see fewer examples.
    """
    users = "static" if not id_kind(ids).from_vectors and config.ids.users == "causal" else config.ids.users
    new: Config = dataclasses.replace(
        config,
        embedder=embedder,
        answer=typing.cast(typing.Any, ANSWERS[recommender]),
        ids=dataclasses.replace(config.ids, kind=ids, users=users),
        eval=dataclasses.replace(config.eval, recommender="beam"),
    )
    train, longer = config.train, max(1.0, _id_tokens(new) / _id_tokens(config))
    slots = train.target_length // _answer_tokens(config)
    source = round(train.source_length * longer / 8) * 8 if longer > 1 else train.source_length
    return dataclasses.replace(
        new, train=dataclasses.replace(train, source_length=source, target_length=slots * _answer_tokens(new))
    )


def quick(config: Config) -> Config:
    """The config on a tiny world with a tiny model, trained for four steps."""
    shape = T5Config(d_model=16, d_kv=8, heads=2, d_ff=32, encoder_layers=1, decoder_layers=1)
    world = WorldConfig(users=80, items=48, events_per_user=9.0, tastes=4)
    return dataclasses.replace(
        config,
        data=DataConfig(name="tiny generated world", world=world),
        walks=WalkConfig(rounds=2, length=12),
        skipgram=SkipGramConfig(dim=8, epochs=2, batch_walks=64),
        lightgcn=LightGcnConfig(dim=8, layers=2, epochs=2, batch=128),
        ids=dataclasses.replace(config.ids, clusters=6, restarts=1, spare=4),
        quantizer=QuantizerConfig(codebooks=2, codewords=8, width=8, hidden=(16,), epochs=4, batch=64),
        model=ModelConfig(t5=shape, oov=config.model.oov),
        task=dataclasses.replace(config.task, max_history=6),
        train=dataclasses.replace(
            config.train, steps=4, rows=8, source_length=96, target_length=32, validate_users=20, log_every=1
        ),
        eval=dataclasses.replace(config.eval, beams=20, batch_users=32),
    )


def _id_tokens(config: Config) -> int:
    """Tokens of an item's id, prefix included."""
    return 1 + id_kind(config.ids.kind).length(config)


def _answer_tokens(config: Config) -> int:
    """Target tokens of an example: the labels, or an id and the end of text."""
    return LABELS if config.answer == "vector" else _id_tokens(config) + 1


if __name__ == "__main__":
    main()
