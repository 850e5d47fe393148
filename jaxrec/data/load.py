"""The one door for data: a DataConfig in, `Interactions` out, with every dropped event counted."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from jaxrec.config import DataConfig, data_file
from jaxrec.data import synthetic
from jaxrec.data.interactions import Notes, assemble, keep_frequent, with_titles
from jaxrec.data.item_titles import read_titles
from jaxrec.data.readers.registry import read_events
from jaxrec.progress import logger
from jaxrec.types import Interactions


def load_interactions(
    config: DataConfig, *, seed: int, beside: Sequence[pathlib.Path] = ()
) -> tuple[Interactions, Notes]:
    """Events of a file, or of the generated world where `config.path` is None.

    A logged warning says what was dropped; nothing is lost in silence.

    Args:
      config: the file, its format and titles, the k-core and the fewest events of a user.
      seed: of the generated world, and of the shuffle among events at the same time.
      beside: further folders in which the files are looked for.

    Returns:
      Interactions with rows sorted by user, then time; and the counts of what was dropped.

    Raises:
      ValueError: the file is nowhere, can't be read (names the line), or no event is left.
    """
    if config.path is None:
        interactions = synthetic.generate_world(config.world, seed=seed)
        notes = Notes("generated", interactions.n_events)
    else:
        events = read_events(data_file(config.path, beside), config.format, config.columns)
        interactions, notes = assemble(events, seed=seed, source=config.path)
    interactions, notes = keep_frequent(interactions, notes, k_core=config.k_core, min_events=config.min_events)
    if config.items_path is not None:
        interactions, notes = with_titles(interactions, notes, read_titles(data_file(config.items_path, beside)))
    for line in notes.warnings():
        logger.warning("%s: %s", notes.source, line)
    return interactions, notes
