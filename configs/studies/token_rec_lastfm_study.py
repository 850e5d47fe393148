"""TokenRec on Last.fm beside its ablations (the paper's table 6), other ids (table 2) and unseen users (table 4)."""

import dataclasses
import pathlib

from jaxrec.config import Config, load_config

full = load_config(pathlib.Path(__file__).parent.parent / "token_rec_lastfm.py")
once = dataclasses.replace(full, eval=dataclasses.replace(full.eval, prompt="seen"))


def ids(kind: str) -> Config:
    return dataclasses.replace(once, ids=dataclasses.replace(once.ids, kind=kind))


study = {
    "TokenRec": full,
    "w/o masking": dataclasses.replace(once, quantizer=dataclasses.replace(full.quantizer, mask=0.0)),
    # Beyond the paper, which hides the order of a history.
    "w/o masking, in time order": dataclasses.replace(
        once,
        quantizer=dataclasses.replace(full.quantizer, mask=0.0),
        task=dataclasses.replace(full.task, shuffle=False),
    ),
    # One codebook with as many codewords in all. Plain VQ-VAE is that without a mask.
    "w/o K-way": ids("vq_vae"),
    # Matrix factorisation wants a smaller rate and more regularisation than LightGCN (chosen by validation).
    "w/o HOCK": dataclasses.replace(
        once,
        embedder="mf",
        lightgcn=dataclasses.replace(full.lightgcn, learning_rate=2e-3, regularization=3e-2),
    ),
    "RQ-VAE ids": ids("rq_vae"),
    "VQ-VAE ids": dataclasses.replace(ids("vq_vae"), quantizer=dataclasses.replace(full.quantizer, mask=0.0)),
    "K-means ids": ids("kmeans"),
    "TokenRec, 5% of users unseen": dataclasses.replace(once, data=dataclasses.replace(full.data, unseen_users=0.05)),
    "TokenRec, 5% of items unseen": dataclasses.replace(once, data=dataclasses.replace(full.data, unseen_items=0.05)),
}
