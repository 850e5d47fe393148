"""Parts of a report that are about ids: how evenly codes are used, the leak meter, what trained ids are alike."""

from __future__ import annotations

import numpy as np
import scipy.cluster.hierarchy
import scipy.spatial.distance
from sklearn.manifold import TSNE

from jaxrec.data.audit import Agreement, leak_meter
from jaxrec.evaluate.memorization import RatingSimilarity
from jaxrec.keys import generator
from jaxrec.report.draw import charts, maps
from jaxrec.report.draw.markup import element, escape, number, table
from jaxrec.report.draw.page import figure, grid, paragraph, section
from jaxrec.system.id_scores import representations
from jaxrec.system.system import System
from jaxrec.tokenizers.registry import id_kind
from jaxrec.tokenizers.vocabulary import DIGIT
from jaxrec.types import Codes

POINTS = 1000
"""Items in the map at most: t-SNE's time grows with them."""
SAMPLED = 50
"""Items in the heatmaps, as in META ID's figure 1."""

Section = tuple[str, str, str]


def codes(system: System) -> Section:
    """Clusters or codebooks, and collisions."""
    users, items = system.ids.users.codes, system.ids.items.codes
    told = [_use(users, items), _collisions(users, items)]
    pictures = []
    if items.levels[0] == DIGIT or items.sizes[0] >= len(items.values):
        told.insert(0, paragraph("Numbers, which mean nothing: there are no clusters to show."))
    elif id_kind(system.config.ids.kind).shared_clusters and users.levels[0] == items.levels[0]:
        of_users, of_items = (np.bincount(c.values[:, 0], minlength=items.sizes[0]) for c in (users, items))
        order = np.argsort(-(of_users + of_items), kind="stable")
        names = [items.levels[0].format(n) for n in order]
        series = {"items": of_items[order].tolist(), "users": of_users[order].tolist()}
        chart = charts.bars(
            names, series, label="Members of each cluster", x="clusters, largest first", y="members", stacked=True
        )
        cells = [[escape(n), number(a), number(b)] for n, a, b in zip(names, series["items"], series["users"])]
        pictures.append(figure("Cluster sizes", chart, legend=list(series), numbers=table(["", *series], cells)))
    else:
        pictures += [_codebooks(items, "item"), _codebooks(users, "user")]
    text = "Effective: the perplexity, as many tokens as would be in use if evenly. Least, most: holders of one token."
    return section("ids", "Ids", paragraph(text), grid(element("div", *told), *pictures))


def _use(users: Codes, items: Codes) -> str:
    rows = []
    for who, codes in (("users", users), ("items", items)):
        for level, (name, size) in enumerate(zip(codes.levels, codes.sizes)):
            counts = np.bincount(codes.values[:, level], minlength=size)
            share = counts[counts > 0] / max(counts.sum(), 1)
            evenly = float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0
            told = name.format("·") if name != DIGIT else f"digit {level + 1}"
            used = counts[counts > 0]
            values = (size, len(used), evenly, *((used.min(), used.max()) if len(used) else (0, 0)))
            rows.append([f"{who}, {escape(told)}", *(number(float(v), 1) for v in values)])
    head = ["token", "of", "used", "effective", "least", "most"]
    return table(head, rows, caption="Use of tokens")


def _collisions(users: Codes, items: Codes) -> str:
    rows = []
    for who, codes in (("users", users), ("items", items)):
        _, holders = np.unique(codes.values, axis=0, return_counts=True)
        shared = int(holders[holders > 1].sum())
        share = f"{number(shared)} ({shared / max(len(codes.values), 1):.1%})"
        rows.append([who, number(len(codes.values)), number(len(holders)), share, number(int(holders.max(initial=0)))])
    head = ["", "of them", "different ids", "sharing one", "most with one"]
    return table(head, rows, caption="Collisions")


def _codebooks(codes: Codes, who: str) -> str:
    series = {}
    for level, (name, size) in enumerate(zip(codes.levels, codes.sizes)):
        if name != DIGIT and "+" not in name:  # the number that sets equal codes apart means nothing
            counts = np.sort(np.bincount(codes.values[:, level], minlength=size))[::-1]
            series[f"codebook {level + 1}"] = (np.arange(1, size + 1), counts)
    series = dict(list(series.items())[:4])
    label = f"Use of the {who}s' codewords"
    chart = charts.lines(series, label=label, x="codewords, commonest first", y=f"{who}s")
    return figure(label, chart, legend=list(series))


def _members(system: System, clusters: int = 8, members: int = 4) -> str:
    """The items nearest to the middle of the clusters that hold most items."""
    values, titles = system.ids.items.codes.values, system.data.titles()
    size = np.bincount(values[:, 0], minlength=system.ids.items.codes.sizes[0])
    rows = []
    for cluster in np.argsort(-size, kind="stable")[:clusters]:
        mine = np.flatnonzero(values[:, 0] == cluster)
        mine = mine[np.argsort(values[mine, 1], kind="stable")][:members]
        name = element("code", escape(system.ids.items.codes.levels[0].format(cluster)))
        rows.append([name, number(int(size[cluster])), escape("; ".join(str(titles[i]) for i in mine))])
    body = table(["cluster", "items", "among them"], rows, class_="text")
    return figure("What clusters hold", body, note="Of the largest, the items nearest to the middle.")


def leaks(system: System) -> Section:
    """The leak meter, where users and items have cluster tokens in common."""
    users, items, split = system.ids.users.codes, system.ids.items.codes, system.split
    told = ("leaks", "Leak meter")
    if not id_kind(system.config.ids.kind).shared_clusters or users.levels[0] != items.levels[0]:
        why = "The meter compares the clusters of users with those of their items; these ids have none in common."
        return section(*told, paragraph(why))
    meter = leak_meter(split, users.values[: split.train.n_users, 0], items.values[: split.train.n_items, 0])

    def row(name: str, part: Agreement) -> list[str]:
        shares = (part.rate, part.chance, part.lonely_rate, part.lonely_train)
        return [name, *("–" if np.isnan(s) else f"{s:.1%}" for s in shares), number(part.lonely_users)]

    verdict, class_ = {
        True: ("Leaked: held-out items were in view when these ids were made.", "bad"),
        False: ("Not leaked: nothing shows that held-out items were in view.", "good"),
        None: ("Can't tell: the ids hardly follow even the last training items.", "unsure"),
    }[meter.leaked]
    head = ["same cluster as", "users", "by chance", "lonely users", "as last training item", "how many"]
    rows = [row("test item", meter.test), row("validation item", meter.valid), row("last training item", meter.train)]
    text = (
        "Only the item itself can have drawn a lonely user (at most one other training item in the item's cluster) "
        "into its cluster. Ids that never saw the held-out items agree with them far more rarely than with the last "
        "training item."
    )
    return section(*told, paragraph(verdict, class_), paragraph(text), table(head, rows))


def alike(system: System) -> Section:
    """The map of item representations, and their similarities beside the true ones."""
    rows = representations(system)["items"][: system.data.n_items]
    text = (
        "An item's representation: the mean of its tokens' embeddings as the model reads them (META ID, eq. 2). "
        f"The heatmaps (figure 1) hold at most {SAMPLED} items of users drawn by the seed, so that some were met "
        "together, in the order of a tree of the true similarities."
    )
    clusters = id_kind(system.config.ids.kind).shared_clusters and system.data.item_titles is not None
    shown = [_map(system, rows), _members(system)] if clusters else [_map(system, rows)]
    return section("alike", "What the ids say", paragraph(text), grid(*shown), grid(*_heatmaps(system, rows)))


def _map(system: System, rows: np.ndarray) -> str:
    draw = generator(system.config.seed, "items of the map")
    shown = np.sort(draw.permutation(len(rows))[:POINTS])
    title = "Item ids, by t-SNE"
    if len(shown) < 10 or not np.ptp(rows[shown], axis=0).any():
        return figure(title, paragraph("Too few items that differ."))
    reduce = TSNE(perplexity=min(30.0, (len(shown) - 1) / 3), init="pca", max_iter=500, random_state=system.config.seed)
    places = reduce.fit_transform(rows[shown].astype(np.float64))
    groups, titles = system.ids.items.codes.values[shown, 0], system.data.titles()
    said = [f"{titles[i]} {system.item_name(i)}" for i in shown]
    chart = maps.points(places, groups.tolist(), said, label="Item representations in two dimensions")
    first = system.ids.items.codes.levels[0]
    colour = "the first digit" if first == DIGIT else first.format("·")
    many = "All" if len(shown) == len(rows) else f"{number(len(shown))} of {number(len(rows))}"
    return figure(title, chart, note=f"{many} items; a colour for each {colour}.")


def _heatmaps(system: System, rows: np.ndarray) -> list[str]:
    truth = RatingSimilarity.of(system.split.train, "item")
    drawn = _met_together(system, truth)
    if len(drawn) < 3:
        return [figure("Similarity of items", paragraph("Too few items with ratings that differ."))]
    true = np.stack([truth.between(slice(i, i + 1))[0, drawn] for i in drawn])
    mine = rows[truth.rows[drawn]].astype(np.float64)
    mine = mine / np.maximum(np.linalg.norm(mine, axis=1, keepdims=True), 1e-12)
    similar = mine @ mine.T
    far = np.clip(1 - true, 0, None).astype(np.float64)
    far = (far + far.T) / 2
    np.fill_diagonal(far, 0)
    tree = scipy.cluster.hierarchy.linkage(scipy.spatial.distance.squareform(far, checks=False), "average")
    order = scipy.cluster.hierarchy.leaves_list(tree)
    names = [str(system.data.titles()[i])[:28] for i in truth.rows[drawn][order]]
    pairs = np.triu_indices(len(drawn), 1)
    spread = min(np.ptp(true[pairs]), np.ptp(similar[pairs]))
    agree = f"{np.corrcoef(true[pairs], similar[pairs])[0, 1]:.2f}" if spread > 0 else "–"
    scale = '<div class="scale"></div><div class="ends"><span>−1</span><span>0</span><span>1</span></div>'
    rated = "events, of which this data has no ratings" if system.split.train.ratings is None else "ratings"
    shown = (
        ("True similarity", true, f"Adjusted cosine of the training {rated}."),
        ("Similarity of the ids", similar, f"Cosine; correlation with the truth {agree}."),
    )
    return [
        figure(
            title,
            maps.matrix(values[np.ix_(order, order)], names, label=f"{title} of {len(drawn)} items") + scale,
            note=note,
        )
        for title, values, note in shown
    ]


def _met_together(system: System, truth: RatingSimilarity) -> np.ndarray:
    """Rows of the truth: items of users with five events or more, or of anybody where there is none, drawn by lot."""
    train = system.split.train
    users = np.flatnonzero(np.diff(train.offsets) >= 5)
    users = users if len(users) else np.arange(train.n_users)
    users = generator(system.config.seed, "users of the heatmaps").permutation(users)[: 2 * SAMPLED]
    items = np.concatenate([train.of(int(user)) for user in users] or [np.zeros(0, np.int32)])
    row = np.full(train.n_items, -1)
    row[truth.rows] = np.arange(len(truth.rows))
    found, first = np.unique(row[items[row[items] >= 0]], return_index=True)
    return np.sort(found[np.argsort(first)][:SAMPLED])
