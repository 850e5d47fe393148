"""Loads the interactions that a DataConfig describes, with counts of what was dropped."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from jaxrec.config import DataConfig, data_file
from jaxrec.data import synthetic
from jaxrec.data.interactions import Notes, assemble_interactions, keep_frequent, with_titles
from jaxrec.data.item_titles import read_titles
from jaxrec.data.readers.registry import read_events
from jaxrec.progress import logger
from jaxrec.types import Interactions


def load_interactions(
    config: DataConfig, *, seed: int, beside: Sequence[pathlib.Path] = ()
) -> tuple[Interactions, Notes]:
    """Events of a file, or of the generated world if `config.path` is None; logs a warning for everything dropped.

    Args:
      config: the file, its format and titles, the k-core and the minimum of events per user.
      seed: of the generated world, and of the shuffle among events at the same time.
      beside: further folders to search for the files.

    Returns:
      Interactions with rows sorted by user, then time; and the counts of what was dropped.

    Raises:
      ValueError: the file does not exist or can't be read (the message names the line), or no event is left.
    """
    if config.path is None:
        interactions = synthetic.generate_world(config.world, seed=seed)
        notes = Notes("generated", interactions.n_events)
    else:
        events = read_events(data_file(config.path, beside), config.format, config.columns)
        interactions, notes = assemble_interactions(events, seed=seed, source=config.path)
    interactions, notes = keep_frequent(interactions, notes, k_core=config.k_core, min_events=config.min_events)
    if config.items_path is not None:
        interactions, notes = with_titles(interactions, notes, read_titles(data_file(config.items_path, beside)))
    for line in notes.warnings():
        logger.warning("%s: %s", notes.source, line)
    return interactions, notes
