"""The rows of TokenRec's tables 2, 4, 5 and 6 that a language model makes, on Last.fm, for two CPU cores."""

import dataclasses
import pathlib

from jaxrec.config import CollaborativeTokensConfig, Config, OovConfig, load_study

rows = load_study(pathlib.Path(__file__).with_name("token_rec_lastfm_study.py"))
base = rows["TokenRec"]


def p5(kind: str, tokens: int, **changed) -> Config:
    """The same T5 on the same prompts, which says ids token by token; `tokens` of an id, prefix included.

    Ids of more tokens get rows in which as many examples find place, and lists hold 30, the paper's last cutoff.
    """
    length = base.train.source_length * (tokens + 1) // 5
    return dataclasses.replace(
        base,
        answer="id",
        ids=dataclasses.replace(base.ids, kind=kind, **changed),
        # P5 projects nothing; CID's tokens start at random, too (Hua et al. 2023).
        model=dataclasses.replace(base.model, oov=OovConfig(scope="none")),
        train=dataclasses.replace(base.train, source_length=length, target_length=4 * (tokens + 1)),
        eval=dataclasses.replace(base.eval, prompt="seen", beams=30),
    )


def pod(config: Config) -> Config:
    """P5 with its words distilled into 3 vectors a task; both of its tasks that rank items (Li et al. 2023).

    Its third, explanations, wants texts. Neither has P5's whole-word embeddings here.
    """
    task = dataclasses.replace(config.task, tasks=("sequential", "direct"), weights=(), prompt_vectors=3)
    return dataclasses.replace(config, task=task)


def collm(config: Config) -> Config:
    """P5 that reads LightGCN's vectors behind items' ids and in place of users' (Zhang et al. 2023).

    The network is of CoLLM's shape; half of the steps are of the language model, half of the network. An item in a
    prompt is a token longer.
    """
    tokens, width = CollaborativeTokensConfig(hidden=10 * config.lightgcn.dim), config.train.source_length
    return dataclasses.replace(
        config,
        ids=dataclasses.replace(config.ids, users="none"),
        task=dataclasses.replace(config.task, collaborative_tokens=tokens),
        train=dataclasses.replace(config.train, source_length=width * 7 // 6),
    )


def unseen(config: Config) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, unseen_users=0.05))


study = {
    **rows,
    "P5-RID": p5("rid", 5),
    "P5-SID": p5("sid", 5),
    "CID": p5("cid", 5, branches=10, leaf=100),
}
study["POD"] = pod(study["P5-RID"])
study["CoLLM"] = collm(study["P5-RID"])
study |= {f"{name}, 5% of users unseen": unseen(study[name]) for name in ("P5-SID", "CID", "POD", "CoLLM")}
