"""The rows of TokenRec's tables 3, 4, 5 and 6 that a language model makes, on Amazon Beauty, for two CPU cores."""

import dataclasses
import pathlib

from jaxrec.config import Config, load_config, load_study

here = pathlib.Path(__file__).parent
base = load_config(here.parent / "token_rec_beauty_cpu.py")


def on_beauty(config: Config) -> Config:
    """What a row of the Last.fm study changes, with Beauty's data, sizes and epochs."""
    return dataclasses.replace(
        config,
        name=base.name,
        data=dataclasses.replace(base.data, unseen_users=config.data.unseen_users),
        # A row without propagation has a rate and regularisation of its own.
        lightgcn=dataclasses.replace(config.lightgcn, epochs=base.lightgcn.epochs, patience=base.lightgcn.patience),
        quantizer=dataclasses.replace(base.quantizer, mask=config.quantizer.mask),
        train=dataclasses.replace(
            base.train, source_length=config.train.source_length, target_length=config.train.target_length
        ),
    )


lastfm = load_study(here / "token_rec_lastfm_tables_study.py")
rows = ("TokenRec", "w/o HOCK", "w/o K-way", "w/o masking", "TokenRec, 5% of users unseen")
ids = ("P5-RID", "P5-SID", "CID", "POD", "CoLLM")
ids += tuple(f"{name}, 5% of users unseen" for name in ids[1:])
study = {name: on_beauty(lastfm[name]) for name in (*rows, *ids)}
for name in ids:
    # Two tokens more than Last.fm's: 22,363 users and 12,101 items take five digits, and CID's default parts.
    kind, train = study[name].ids, study[name].train
    study[name] = dataclasses.replace(
        study[name],
        ids=dataclasses.replace(kind, branches=20, leaf=200),
        train=dataclasses.replace(train, source_length=train.source_length * 7 // 6, target_length=28),
    )
