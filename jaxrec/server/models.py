"""All models of a server: by name, by share of users, or the first."""

from __future__ import annotations

import hashlib
import pathlib
from collections import Counter
from collections.abc import Sequence

from jaxrec.server.model import ServedModel
from jaxrec.text import listed, quoted


class Models:
    """The models that a server has; the first is the default.

    Args:
      models: of different names.
      shares: of the users whom each model answers where a request names none, or () for the first model alone.
    Raises:
      ValueError: there is no model, names repeat, or shares are not one per model or negative.
    """

    def __init__(self, models: Sequence[ServedModel], shares: Sequence[float] = ()) -> None:
        if not models:
            raise ValueError("give the folder of a run to serve")
        shares = tuple(shares) or (1.0, *[0.0] * (len(models) - 1))
        if len(shares) != len(models) or min(shares) < 0 or not sum(shares) > 0:
            raise ValueError(f"shares={shares} must be {len(models)} numbers, one per run, from 0 and not all 0")
        self.by_name = {model.name: model for model in models}
        self.shares = {model.name: share / sum(shares) for model, share in zip(models, shares, strict=True)}

    @property
    def first(self) -> ServedModel:
        """The default."""
        return next(iter(self.by_name.values()))

    @property
    def ready(self) -> bool:
        """Whether all are compiled."""
        return all(model.ready for model in self.by_name.values())

    def choose(self, name: str | None, user: str | None = None) -> ServedModel:
        """The model of a name; without one, by the user's share, and for somebody new the first.

        Raises:
          ValueError: there is no model of this name.
        """
        if name is not None:
            if name not in self.by_name:
                raise ValueError(f"model {quoted(name)} is not served; there are: {listed(self.by_name)}")
            return self.by_name[name]
        if user is None or len(self.by_name) == 1:
            return self.first
        place = int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big") / 2**64
        for model, share in self.shares.items():
            place -= share
            if place < 0:
                return self.by_name[model]
        return self.first

    def close(self) -> None:
        """Answers what waits and ends all threads."""
        for model in self.by_name.values():
            model.close()


def model_names(folders: Sequence[pathlib.Path]) -> list[str]:
    """The names of runs and blends: of their folders and, where those repeat, of the folders above them, too.

    Raises:
      ValueError: names repeat nevertheless.
    """
    folders = [folder.resolve() for folder in folders]
    count = Counter(folder.name for folder in folders)
    names = [folder.name if count[folder.name] == 1 else f"{folder.parent.name}/{folder.name}" for folder in folders]
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(f"two runs are called {quoted(repeated[0])}; rename one's folder")
    return names
