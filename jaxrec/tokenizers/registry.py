"""The kinds of ids by name; `IdConfig.kind` selects one."""

from __future__ import annotations

from jaxrec.tokenizers import cid, meta_id, numbered_ids, quantized_ids
from jaxrec.tokenizers.kind import Kind

KINDS: dict[str, Kind] = {
    "meta_id": meta_id.META_ID,
    "spectral": meta_id.SPECTRAL,
    "dbscan": meta_id.DBSCAN,
    "mq": quantized_ids.MQ,
    "rq_vae": quantized_ids.RQ_VAE,
    "vq_vae": quantized_ids.VQ_VAE,
    "kmeans": quantized_ids.KMEANS,
    "rq_kmeans": quantized_ids.RQ_KMEANS,
    "cid": cid.CID,
    "rid": numbered_ids.RID,
    "sid": numbered_ids.SID,
    "iid": numbered_ids.IID,
}
OTHERS = "rid"
"""The kind of ids of entities that `IdConfig.entities` leaves out."""


def id_kind(name: str) -> Kind:
    """The kind of id of a name.

    Raises:
      ValueError: the name is unknown; the message lists all.
    """
    if name not in KINDS:
        raise ValueError(f"ids.kind={name!r} is not one of {', '.join(KINDS)}")
    return KINDS[name]


def kind_name(entity: str, kind: str, entities: str) -> str:
    """The kind that names "user" or "item" where `IdConfig.kind` and `IdConfig.entities` are these."""
    return kind if entities in ("both", f"{entity}s") else OTHERS
