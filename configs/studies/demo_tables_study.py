"""Every row of the papers' tables on a small generated world, to see `launch.tables` at work; its figures say nothing.

python -m launch.tables meta_id 2 8 --study configs/studies/demo_tables_study.py
python -m launch.tables token_rec 4 6 --study configs/studies/demo_tables_study.py
"""

import dataclasses
import pathlib

from jaxrec.config import Config, WorldConfig, load_config, load_study

here = pathlib.Path(__file__).parent
world = dataclasses.replace(
    load_config(here.parent / "demo.py").data, world=WorldConfig(users=300, items=120, events_per_user=12.0, tastes=6)
)


def small(config: Config) -> Config:
    """The row on the generated world, for some steps."""
    return dataclasses.replace(
        config,
        name="demo_tables",
        data=dataclasses.replace(world, unseen_users=config.data.unseen_users),
        walks=dataclasses.replace(config.walks, rounds=4, length=16),
        skipgram=dataclasses.replace(config.skipgram, dim=16, epochs=2),
        lightgcn=dataclasses.replace(config.lightgcn, dim=16, epochs=20),
        ids=dataclasses.replace(config.ids, clusters=8, restarts=1, branches=6, leaf=20),
        quantizer=dataclasses.replace(config.quantizer, codewords=16, width=16, hidden=(32,), epochs=20),
        train=dataclasses.replace(config.train, steps=100, validate_every=1, validate_users=100),
    )


meta_id = load_study(here / "meta_id_beauty_study.py")
token_rec = load_study(here / "token_rec_beauty_study.py")
study = {name: small(config) for name, config in (meta_id | {n: c for n, c in token_rec.items() if n != "CID"}).items()}
