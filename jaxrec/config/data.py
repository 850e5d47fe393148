"""Where events come from, and how vectors and ids are made of them."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The generated world of `jaxrec.data.synthetic`, used where no `path` is given."""

    users: int = 2000
    items: int = 600
    events_per_user: float = 16.0
    """Mean number of events of a user (at least 5 each)."""
    tastes: int = 12
    """Planted item clusters, of which each user likes a few."""
    drift: float = 0.8
    """How often the next item follows the planted order of its cluster (0 = never, 1 = always)."""
    popularity: float = 0.6
    """Exponent of the popularity skew inside a cluster (0 = none)."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where events come from and how they are split."""

    name: str = "generated"
    path: str | None = None
    """A file; looked up as given, then under $JAXREC_DATA, data/ and ../shared/data. None: the generated world."""
    format: str = "auto"
    """A reader's name; "auto" recognises it."""
    columns: tuple[str, ...] = ()
    """What a table's columns mean where their names do not say it: "user=customer" "item=sku" "time=bought"."""
    items_path: str | None = None
    """A file of item titles, where the format has one."""
    k_core: int = 0
    """Keep users and items with at least this many events, repeated until none falls out; 0 keeps all."""
    min_events: int = 3
    """Users with fewer events are dropped and counted: one each to train, validate and test."""
    split: Literal["strict", "temporal"] = "strict"
    unseen_users: float = 0.0
    """Share of the users, those with the fewest events, that nothing but a refresh of the embedder sees."""
    unseen_items: float = 0.0
    """Share of the items, drawn at random, likewise."""
    world: WorldConfig = WorldConfig()


@dataclasses.dataclass(frozen=True)
class WalkConfig:
    """Meta-path walks; META ID, appendix A.1."""

    rounds: int = 32
    length: int = 64
    equal_ratings: bool = True
    """Walk U-I-U over edges of one rating only (eq. 6); without ratings all edges are one."""


@dataclasses.dataclass(frozen=True)
class SkipGramConfig:
    """Skip-gram with negative sampling; META ID, eq. 9 and 10."""

    dim: int = 64
    window: int = 5
    negatives: int = 5
    form: Literal["banded", "pairs"] = "banded"
    epochs: int = 10
    batch_walks: int = 256
    learning_rate: float = 1e-2
    patience: int = 2
    """Stop after this many epochs without a better loss; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class LightGcnConfig:
    """LightGCN (He et al. 2020) and, with no layers, matrix factorisation; both by BPR (Rendle et al. 2009)."""

    dim: int = 64
    layers: int = 3
    """Propagations over the graph; the embedder "mf" has none."""
    batch: int = 2048
    """Training events in a step, each with one negative drawn on the device."""
    learning_rate: float = 5e-3
    regularization: float = 1e-4
    """Weight of half the squared length of a triple's layer-0 rows."""
    epochs: int = 1000
    """At most; training stops when validation no longer improves."""
    validate_every: int = 5
    """Epochs between validations."""
    patience: int = 10
    """Validations without a better NDCG@10 before training stops; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
    """From vectors to codes by a learned quantizer, one for users and one for items; TokenRec, section 2.3."""

    codebooks: int = 3
    """K: codes of an id. RQ-VAE: levels of residuals. "vq_vae" and "kmeans" have one, of codebooks * codewords."""
    codewords: int = 256
    """L: codewords of a codebook."""
    mask: float = 0.2
    """rho, eq. 2: how often an entry of a vector is masked, drawn anew for each row, entry and step."""
    width: int = 64
    """d_c: width of a codeword."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Hidden layers of an encoder."""
    beta: float = 0.25
    """Weight of the commitment loss, eq. 13."""
    ema: float = 0.0
    """Decay of codebooks that follow their members' moving average; 0 trains them by the codebook loss, eq. 11."""
    revive: int = 20
    """Steps after which a codeword that nothing chose is put onto a row of the batch; 0 never."""
    epochs: int = 200
    batch: int = 256
    learning_rate: float = 3e-3


@dataclasses.dataclass(frozen=True)
class IdConfig:
    """From vectors to ids: META ID's `<Item><CTi><CIj>` (section 5.2), the codes of a quantizer, or numbers."""

    kind: str = "meta_id"
    """A name in `jaxrec.tokenizers.registry.KINDS`: meta_id, spectral, dbscan, mq, rq_vae, vq_vae, kmeans, rq_kmeans,
    cid, rid, sid, iid. "spectral" and "dbscan" are META ID with other clusters (table 4). "mq" is TokenRec's masked
    K-way quantizer; from it to "rq_kmeans" `Config.quantizer` is read. "cid" splits the graph of items that share users
    again and again. "rid" (random) and "sid" (in training order) number with digits of the text vocabulary, "iid" with
    a new token for each."""
    entities: Literal["both", "items", "users"] = "both"
    """Whose ids are of that kind (META ID, appendix D); the others get random numbers, as "rid". To leave users out of
    the prompts, set `users`."""
    clusters: int = 100
    restarts: int = 4
    iterations: int = 50
    neighbours: int = 10
    """"spectral": how many nearest vectors each is linked with; "dbscan": how many within `eps` make a core."""
    eps: float = 0.0
    """"dbscan": a cosine distance; 0 takes the one that gives about `clusters` clusters."""
    branches: int = 20
    """"cid": into how many parts a part is split."""
    leaf: int = 200
    """"cid": the most members of a part that is not split."""
    ranks: Literal["joint", "per_kind"] = "joint"
    """Whether users and items of a cluster share one ranking (the paper) or have one each (fewer new tokens)."""
    spare: int = 32
    """Fine tokens kept free per cluster, for entities that come later."""
    users: Literal["static", "causal", "none"] = "causal"
    """User ids: of all training events (the paper), of the history before the target alone, or left out."""
