"""Section "Ids": how many users and items share each token, and how many ids collide."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxrec.report.charts.bar_chart import bar_chart
from jaxrec.report.charts.line_chart import line_chart
from jaxrec.report.page import Figure, Section, render
from jaxrec.system.system import System
from jaxrec.tokenizers.registry import id_kind
from jaxrec.tokenizers.vocabulary import DIGIT
from jaxrec.types import Codes

MOST_CODEBOOKS = 4
"""Codebooks that are drawn at most, as many as there are colours."""


@dataclasses.dataclass(frozen=True)
class TokenUse:
    """How evenly the tokens of one level are used.

    Attributes:
      name: whose level it is, and how its tokens are written.
      size: how many tokens there are.
      used: how many of them some id has.
      effective: the perplexity of their use: as many tokens as would be in use if all were used equally.
      least: ids that have the rarest used token.
      most: ids that have the commonest token.
    """

    name: str
    size: int
    used: int
    effective: float
    least: int
    most: int


@dataclasses.dataclass(frozen=True)
class Collisions:
    """How many of `n` users or items ("users", "items") have the same id as another one.

    Attributes:
      entity: "users" or "items".
      n: how many there are.
      different: how many different ids they have.
      sharing: how many of them share their id with another one.
      most: how many share the commonest id.
    """

    entity: str
    n: int
    different: int
    sharing: int
    most: int


def ids_section(system: System) -> Section:
    """Use of tokens, collisions, and the sizes of clusters or the use of codewords."""
    users, items = system.ids.users.codes, system.ids.items.codes
    numbered = items.levels[0] == DIGIT or items.sizes[0] >= len(items.values)
    clusters, figures = None, []
    if not numbered and share_clusters(system):
        clusters = _cluster_sizes(users, items)
    elif not numbered:
        figures = [_codeword_use(items, "item"), _codeword_use(users, "user")]
    content = render(
        "ids.html",
        numbered=numbered,
        token_use=[*_token_use("users", users), *_token_use("items", items)],
        collisions=[_collisions("users", users), _collisions("items", items)],
        clusters=clusters,
        figures=figures,
    )
    return Section("ids", "Ids", content)


def share_clusters(system: System) -> bool:
    """Whether users and items have cluster tokens in common."""
    users, items = system.ids.users.codes, system.ids.items.codes
    return id_kind(system.config.ids.kind).shared_clusters and users.levels[0] == items.levels[0]


def _token_use(entity: str, codes: Codes) -> list[TokenUse]:
    """A record for each level."""
    uses = []
    for level, (name, size) in enumerate(zip(codes.levels, codes.sizes)):
        counts = np.bincount(codes.values[:, level], minlength=size)
        counts = counts[counts > 0]
        share = counts / max(counts.sum(), 1)
        effective = float(np.exp(-(share * np.log(share)).sum())) if len(counts) else 0.0
        written = f"digit {level + 1}" if name == DIGIT else name.format("·")
        least, most = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
        uses.append(TokenUse(f"{entity}, {written}", size, len(counts), effective, least, most))
    return uses


def _collisions(entity: str, codes: Codes) -> Collisions:
    _, counts = np.unique(codes.values, axis=0, return_counts=True)
    sharing = int(counts[counts > 1].sum())
    return Collisions(entity, len(codes.values), len(counts), sharing, int(counts.max(initial=0)))


def _cluster_sizes(users: Codes, items: Codes) -> tuple[Figure, list[tuple[str, int, int]]]:
    """A chart of clusters, largest first, and for each its name and how many items and users it has."""
    n_users, n_items = (np.bincount(codes.values[:, 0], minlength=items.sizes[0]) for codes in (users, items))
    order = np.argsort(-(n_users + n_items), kind="stable")
    rows = [(items.levels[0].format(n), int(n_items[n]), int(n_users[n])) for n in order]
    series = {"items": [row[1] for row in rows], "users": [row[2] for row in rows]}
    label, x = "Members of each cluster", "clusters, largest first"
    chart = bar_chart([row[0] for row in rows], series, label=label, x=x, y="members", stacked=True)
    return Figure("Cluster sizes", chart, legend=list(series)), rows


def _codeword_use(codes: Codes, entity: str) -> Figure:
    series = {}
    for level, (name, size) in enumerate(zip(codes.levels, codes.sizes)):
        if name != DIGIT and "+" not in name:  # the number that tells equal codes apart means nothing
            counts = np.sort(np.bincount(codes.values[:, level], minlength=size))[::-1]
            series[f"codebook {level + 1}"] = (np.arange(1, size + 1), counts)
    series = dict(list(series.items())[:MOST_CODEBOOKS])
    label = f"Use of the {entity}s' codewords"
    chart = line_chart(series, label=label, x="codewords, commonest first", y=f"{entity}s")
    return Figure(label, chart, legend=list(series))
