"""Loads the interactions that a DataConfig describes, with counts of what was dropped."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from jaxrec.config import DataConfig, data_file
from jaxrec.data import synthetic
from jaxrec.data.interactions import Notes, assemble_interactions, keep_frequent, with_titles
from jaxrec.data.item_attributes import parse_attributes, read_attributes
from jaxrec.data.item_titles import read_titles
from jaxrec.data.public_datasets import PUBLIC_DATASETS
from jaxrec.data.readers.registry import read
from jaxrec.progress import logger
from jaxrec.types import Interactions


def load_interactions(
    config: DataConfig, *, seed: int, beside: Sequence[pathlib.Path] = (), log: bool = True
) -> tuple[Interactions, Notes]:
    """Events of a file, or of the generated world if `config.path` is None.

    Args:
      config: the file, its format, titles and attributes, the k-core and the minimum of events per user.
      seed: of the generated world, and of the shuffle among events at the same time.
      beside: further folders to search for the files.
      log: whether to log a warning for everything that was dropped or guessed; False where the caller shows the counts.

    Returns:
      Interactions with rows sorted by user, then time; and the counts of what was dropped.

    Raises:
      ValueError: the file does not exist or can't be read (the message names the line), no event is left, or attributes
        are wanted and there is no file of items.
    """
    columns = parse_attributes(config.attributes)
    if columns and config.items_path is None:
        raise ValueError(
            "data.attributes names columns of a file of items, and data.items_path names no file; set --data.items-path"
        )
    if config.path is None:
        interactions = synthetic.generate_world(config.world, seed=seed)
        notes = Notes("generated", interactions.n_events)
    else:
        events = read(
            _file(config.path, beside),
            config.format,
            config.columns,
            separator=config.separator,
            encoding=config.encoding,
            time_unit=config.time_unit,
            unpack_mib=config.unpack_mib,
            bad_rows=config.bad_rows,
        )
        interactions, notes = assemble_interactions(events.frame, seed=seed, source=config.path)
        notes = dataclasses.replace(notes, reading=events.notes, skipped=events.skipped)
    interactions, notes = keep_frequent(interactions, notes, k_core=config.k_core, min_events=config.min_events)
    if config.items_path is not None:
        file = _file(config.items_path, beside)
        opening = {"encoding": config.encoding, "unpack_mib": config.unpack_mib}
        titles = read_titles(file, **opening, required=not columns)
        if titles.of:
            interactions, notes = with_titles(interactions, notes, titles.of)
        notes = dataclasses.replace(notes, several_titles=titles.several)
        if columns:
            attributes, sentences = read_attributes(file, columns, interactions.item_names, **opening)
            interactions = dataclasses.replace(interactions, item_attributes=attributes)
            notes = dataclasses.replace(notes, reading=(*notes.reading, *sentences))
    for line in notes.warnings() if log else []:
        logger.warning("%s: %s", notes.source, line)
    return interactions, notes


def _file(path: str, beside: Sequence[pathlib.Path]) -> pathlib.Path:
    """`data_file`, whose error advises to download what can be downloaded."""
    name = pathlib.PurePath(path).parts[0] if pathlib.PurePath(path).parts else ""
    fetch = f"fetch it with python -m launch.download {name}, or check the path"
    return data_file(path, beside, fetch if name in PUBLIC_DATASETS else "check the path")
