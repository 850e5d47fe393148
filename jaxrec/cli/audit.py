"""Look at data and ids before trusting them: `jaxrec audit --data.path FILE [--ids USERS ITEMS]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.cli.arguments import explained, parsed
from jaxrec.config import DataConfig, data_file
from jaxrec.data.audit import audit_interactions, leak_meter
from jaxrec.data.load import load_interactions
from jaxrec.data.split import make_split
from jaxrec.evaluate.results_file import results_report
from jaxrec.evaluate.results_table import results_table
from jaxrec.tokenizers.id_files import read_codes
from jaxrec.tokenizers.meta_id import LEVELS


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Counts, order, ties, three baselines, and, where ids are given, whether held-out items were in view."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """Any supported file; without a path, the generated world."""
    ids: tuple[str, str] | None = None
    """Files of user and item ids, `NAME <CT79><1220>` or `NAME <Item><CT3><CI17>` a line."""
    seed: int = 0
    """Of the shuffle among events at one time, and of the generated world."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the findings."""
    arguments = parsed(Arguments, "audit", argv)
    interactions, notes = load_interactions(arguments.data, seed=arguments.seed)
    print(notes, audit_interactions(interactions), sep="\n")
    split = make_split(interactions, arguments.data.split)
    results = evaluate_baselines(split, "test")
    print(results_table(results_report(results, split, "test", dataset=notes.source, seed=arguments.seed)))
    if arguments.ids is not None:
        users = read_codes(data_file(arguments.ids[0]), interactions.user_names, "<User>", LEVELS)
        items = read_codes(data_file(arguments.ids[1]), interactions.item_names, "<Item>", LEVELS)
        print(leak_meter(split, users.values[:, 0], items.values[:, 0]))
