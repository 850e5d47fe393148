"""Settings of the data, of the embedders and of the ids."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated, Literal

from jaxrec.config.limits import (
    Fraction,
    LearningRate,
    Limits,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Probability,
    Temperature,
    Width,
)


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """Settings of the synthetic data of `jaxrec.data.synthetic`, which is used where `DataConfig.path` is None."""

    users: Annotated[int, Limits(at_least=1, at_most=10_000_000)] = 2000
    """Number of users."""
    items: Annotated[int, Limits(at_least=6, at_most=10_000_000)] = 600
    """Number of items."""
    events_per_user: Annotated[float, Limits(at_least=5, at_most=10_000)] = 16.0
    """Mean number of events per user; every user has at least 5."""
    tastes: Annotated[int, Limits(at_least=3, at_most=100_000)] = 12
    """Number of item clusters; each user prefers a few of them."""
    drift: Fraction = 0.8
    """Probability that the next item follows the fixed order of its cluster, in [0, 1]."""
    popularity: Annotated[float, Limits(at_least=0, at_most=4)] = 0.6
    """Exponent of the power law of item popularity within a cluster; 0: uniform."""


ABOUT_A_FILE = ("format", "columns", "separator", "encoding", "time_unit", "items_path", "attributes")
"""Fields of `DataConfig` that say how one file is read, and don't go for another."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data set and its split."""

    name: str = "generated"
    """The data set's name in tables; where `path` is given, a name that begins with "generated" becomes the file's."""
    path: str | None = None
    """Data file, looked up as given, then under $JAXREC_DATA, data/ and ../shared/data. None: the synthetic data of
    `world`."""
    format: str = "auto"
    """Name of a reader in `jaxrec.data.readers.registry`; "auto" detects it from the file."""
    columns: tuple[str, ...] = ()
    """ROLE=COLUMN, for columns whose role is not recognised by name: "user=customer" "item=sku" "time=bought". In JSON
    also nested ones, "time=time.$date", and in a file without a header positions, "user=1" "item=2"."""
    separator: str = "auto"
    """Between fields of a text table: a character, or tab, comma, semicolon, pipe, colons (::) or blanks; "auto" finds
    it."""
    encoding: str = "auto"
    """Of text files, such as latin-1 or cp1252; "auto" is UTF-8, or UTF-16 where the file begins with its mark."""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    """Of times that are numbers, since 1970; "auto" takes the unit in which every one is a date from 1980 to 2100."""
    unpack_mib: Annotated[int, Limits(at_least=1, at_most=1_000_000)] = 2048
    """The most MiB that a compressed file may unpack to."""
    bad_rows: Literal["error", "skip"] = "error"
    """What is done about a row that can't be read: "error" ends with its line; "skip" leaves such rows out, counts them
    and names the first three, if they are fewer than the others."""
    items_path: str | None = None
    """File of items with their titles and `attributes`, for formats that store them separately."""
    attributes: tuple[str, ...] = ()
    """Columns of `items_path` that some baselines learn from: "brand" "categories". A list holds several values, as
    does a text with | (of RecBole's sequences: with blanks); "tags=comma" cuts at another separator, "title=words" into
    words, and "price=10" puts numbers into ten bins of about as many items."""
    k_core: NonNegativeInt = 0
    """k-core filtering: drop users and items with fewer events, repeatedly, until none is left; 0 keeps all."""
    min_events: PositiveInt = 3
    """Users with fewer events are dropped, and the number is logged; leave-one-out needs 3 (train, validation,
    test)."""
    split: Literal["strict", "temporal"] = "strict"
    """How held-out items are chosen; see `jaxrec.data.split.make_split`."""
    unseen_users: Probability = 0.0
    """Fraction of users, those with the fewest events, that are left out of training and added after it (cold
    start)."""
    unseen_items: Probability = 0.0
    """Fraction of items, drawn at random, that are left out of training and added after it."""
    world: WorldConfig = WorldConfig()

    def on_file(self, path: str, name: str) -> DataConfig:
        """The same settings for another file: its format and all else that is said about a file is guessed again."""
        guessed = {field.name: field.default for field in dataclasses.fields(self) if field.name in ABOUT_A_FILE}
        return dataclasses.replace(self, **(guessed | {"name": name, "path": path}))

    def __post_init__(self) -> None:
        if isinstance(self.path, str) and str(self.name).startswith("generated"):
            object.__setattr__(self, "name", pathlib.PurePath(self.path).name)


@dataclasses.dataclass(frozen=True)
class WalkConfig:
    """Meta-path random walks; META ID, appendix A.1."""

    rounds: Annotated[int, Limits(at_least=1, at_most=10_000)] = 32
    """Walks started from each node."""
    length: Annotated[int, Limits(at_least=2, at_most=10_000)] = 64
    """Nodes of a walk."""
    equal_ratings: bool = True
    """Restrict each U-I-U step to two edges with the same rating (eq. 6); without ratings, all edges count as equal."""


@dataclasses.dataclass(frozen=True)
class SkipGramConfig:
    """Skip-gram with negative sampling; META ID, eq. 9 and 10."""

    dim: Width = 64
    """Width of the vectors."""
    window: Annotated[int, Limits(at_least=1, at_most=1000)] = 5
    """Nodes on each side of a node of a walk that count as its context."""
    negatives: Annotated[int, Limits(at_least=1, at_most=1000)] = 5
    """Nodes drawn as negatives for each pair of a node and a context."""
    form: Literal["banded", "pairs"] = "banded"
    """How the loss is computed: "pairs", each pair with negatives of its own, the reference; "banded", the same in
    expectation, by matrix products over whole walks, which is faster."""
    epochs: PositiveInt = 10
    """Passes over the walks."""
    batch_walks: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 256
    """Walks per step."""
    learning_rate: LearningRate = 1e-2
    """Step size of Adam."""
    patience: NonNegativeInt = 2
    """Epochs without a lower loss before training stops; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class LightGcnConfig:
    """LightGCN (He et al. 2020) and, with 0 layers, matrix factorisation (Rendle et al. 2009)."""

    dim: Width = 64
    """Width of the vectors."""
    layers: Annotated[int, Limits(at_least=0, at_most=512)] = 3
    """Propagation layers over the user-item graph; the embedder "mf" uses 0."""
    losses: tuple[str, ...] = ("bpr",)
    """The loss, a name in `jaxrec.models.lightgcn_losses`; of several, each is trained and the one with the best
    validation NDCG@10 is kept. "bpr" compares two items, the paper's choice; the others are the cross-entropy of a
    softmax: over `negatives` items drawn uniformly for the batch, over the items of the batch, or over all items. The
    user's training items are no negatives in any of them."""
    similarity: Literal["auto", "inner", "cosine"] = "auto"
    """What the loss and the ranking score items by: "inner" product, or "cosine", which returns vectors of length 1.
    "auto": the inner product with "bpr", as in the paper, the cosine with a softmax."""
    temperature: Temperature = 0.2
    """Divides cosines in the loss; inner products are used as they are."""
    negatives: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 512
    """Of the loss "sampled"."""
    batch: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 2048
    """Training events per step."""
    learning_rate: LearningRate = 5e-3
    """Step size of Adam."""
    regularization: NonNegativeFloat = 1e-4
    """L2 weight: multiplies half the squared norm of the layer-0 embeddings of each event's user and item and, with
    "bpr", of its negative."""
    epochs: PositiveInt = 1000
    """Maximum number; training stops earlier when validation no longer improves."""
    validate_every: NonNegativeInt = 5
    """Epochs between validations; 0: train for exactly `epochs`, so that vectors do not depend on validation items."""
    patience: NonNegativeInt = 10
    """Validations without a higher NDCG@10 before training stops; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class GtnConfig(LightGcnConfig):
    """GTN, graph trend filtering networks (Fan et al. 2022); trained as LightGCN is."""

    layers: Annotated[int, Limits(at_least=1, at_most=16)] = 3
    """Filtering steps over the user-item graph."""
    lambda2: NonNegativeFloat = 0.1
    """Weight of the l1 norm of differences along edges, and the most that an edge moves its ends, before normalisation.
    0 filters nothing. Where it is so large that no edge reaches it, a layer is plain smoothing; on Last.fm so is 4, the
    released code's."""


@dataclasses.dataclass(frozen=True)
class LtgnnConfig:
    """LTGNN, linear-time graph neural networks (Zhang et al. 2024). Defaults are those of the released code's command;
    when training stops is decided as for LightGCN.
    """

    dim: Width = 64
    """Width of the vectors."""
    alpha: Annotated[float, Limits(at_least=0.01, at_most=1)] = 0.45
    """Weight of a node's own layer-0 vector; 1 - alpha is that of its neighbours' vectors. 1 is matrix
    factorisation."""
    neighbours: Annotated[int, Limits(at_least=1, at_most=1024)] = 15
    """Neighbours that a step draws of each node of its batch; nodes with fewer have all of them in it."""
    refresh_every: PositiveInt = 1
    """Epochs between exact sums over all neighbours, which the drawn ones correct in between."""
    batch: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 2048
    """Training events per step."""
    learning_rate: LearningRate = 1.5e-3
    """LightGCN's default, 0.005, was faster and better on Last.fm."""
    regularization: NonNegativeFloat = 2e-4
    """L2 weight: multiplies half the squared norm of the layer-0 embeddings of each event's user, item and
    negative."""
    epochs: PositiveInt = 1000
    """Maximum number; training stops earlier when validation no longer improves."""
    validate_every: NonNegativeInt = 5
    """Epochs between validations; 0: train for exactly `epochs`, so that vectors do not depend on validation items."""
    patience: NonNegativeInt = 10
    """Validations without a higher NDCG@10 before training stops; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class TextsConfig:
    """Vectors of items from their titles and attributes."""

    encoder: str = "tfidf"
    """"tfidf": TF-IDF of words and pairs of words. Otherwise the folder, or the name on the Hugging Face hub, of a
    sentence encoder, which stays as it is; it needs PyTorch."""
    dim: Width = 64
    """Width of the vectors; wider ones are reduced by a truncated SVD."""


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
    """Learned vector quantizers, one for users and one for items; TokenRec, section 2.3."""

    codebooks: Annotated[int, Limits(at_least=1, at_most=256)] = 3
    """K: number of codes in an id; for RQ-VAE, of residual levels. "vq_vae" and "kmeans" use a single codebook of
    codebooks * codewords entries."""
    codewords: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 256
    """L: codewords per codebook."""
    mask: Probability = 0.2
    """rho, eq. 2: probability that an entry of an input vector is masked, drawn independently at every step."""
    width: Width = 64
    """d_c: dimension of a codeword."""
    hidden: tuple[Width, ...] = (128, 128, 128)
    """Widths of the hidden layers of each encoder."""
    beta: NonNegativeFloat = 0.25
    """Weight of the commitment loss, eq. 13."""
    ema: Probability = 0.0
    """Decay of exponential-moving-average codebook updates; 0 trains codebooks with the codebook loss, eq. 11."""
    revive: NonNegativeInt = 20
    """Steps without use after which a codeword is reset to a row of the batch; 0 never."""
    epochs: PositiveInt = 200
    """Passes over the vectors."""
    batch: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 256
    """Vectors per step."""
    learning_rate: LearningRate = 3e-3
    """Step size of Adam."""


@dataclasses.dataclass(frozen=True)
class IdConfig:
    """How users and items get ids: META ID's `<Item><CTi><CIj>` (section 5.2), codes of a quantizer, or numbers."""

    kind: str = "meta_id"
    """A name in `jaxrec.tokenizers.registry.KINDS`: meta_id, spectral, dbscan, mq, rq_vae, vq_vae, kmeans, rq_kmeans,
    cid, rid, sid, iid. "spectral" and "dbscan" are META ID with another clustering (table 4). "mq" is TokenRec's masked
    K-way quantizer; "mq", "rq_vae", "vq_vae", "kmeans" and "rq_kmeans" read `Config.quantizer`. "cid" is recursive
    spectral clustering of the item co-occurrence graph. "rid" (random) and "sid" (in training order) are numbers
    written with digits of the text vocabulary; "iid" is one new token per entity."""
    entities: Literal["both", "items", "users"] = "both"
    """Which entities get ids of `kind` (META ID, appendix D); the others get random numbers, as "rid" does. To leave
    users out of the prompts, set `users` instead."""
    clusters: NonNegativeInt = 100
    """Of "meta_id", "spectral" and "dbscan"; 0: the root of the number of users and items, at most 100."""
    restarts: Annotated[int, Limits(at_least=1, at_most=1000)] = 4
    """k-means runs from different initial centres, of which the best is kept."""
    iterations: PositiveInt = 50
    """Maximum k-means iterations per run."""
    neighbours: PositiveInt = 10
    """"spectral": neighbours per vector in the nearest-neighbour graph; "dbscan": neighbours within `eps` that make a
    core point."""
    eps: Annotated[float, Limits(at_least=0, at_most=2)] = 0.0
    """"dbscan": neighbourhood radius in cosine distance; 0 searches for one that gives about `clusters` clusters."""
    branches: Annotated[int, Limits(at_least=2)] = 20
    """"cid": clusters per split."""
    leaf: PositiveInt = 200
    """"cid": clusters with at most this many members are not split further."""
    ranks: Literal["joint", "per_kind"] = "joint"
    """Fine tokens of a cluster: "joint", one numbering over its users and items (the paper); "per_kind", one numbering
    each, which needs fewer new tokens."""
    spare: Annotated[int, Limits(at_least=0, at_most=100_000)] = 32
    """Fine tokens reserved per cluster for entities that are added later."""
    users: Literal["static", "causal", "none"] = "causal"
    """User ids: "static", computed once from all training events (the paper); "causal", computed from the history
    before each target; "none", prompts hold no user id."""
