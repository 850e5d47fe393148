"""The embedders by name; `Config.embedder` selects one."""

from __future__ import annotations

from jaxrec.embedders import gtn, lightgcn, ltgnn, mf, texts, walks
from jaxrec.embedders.embedder import Embedder

EMBEDDERS: dict[str, Embedder] = {
    "walks": walks.EMBEDDER,
    "lightgcn": lightgcn.EMBEDDER,
    "mf": mf.EMBEDDER,
    "gtn": gtn.EMBEDDER,
    "ltgnn": ltgnn.EMBEDDER,
    "texts": texts.EMBEDDER,
}


def embedder(name: str) -> Embedder:
    """The embedder of a name.

    Raises:
      ValueError: the name is unknown; the message lists all.
    """
    if name not in EMBEDDERS:
        raise ValueError(f"embedder={name!r} is not one of {', '.join(EMBEDDERS)}; name one of these")
    return EMBEDDERS[name]
