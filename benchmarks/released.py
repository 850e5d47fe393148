"""Evaluates TokenRec's released LightGCN embeddings: `python -m benchmarks.released [--out FILE]`.

The tables are layer 0. Used as they are, they give the HR@10 that the paper reports for LightGCN; propagated over the
training graph, as LightGCN defines, they give more than twice that. Reads Last.fm with TokenRec's numbers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pathlib

import numpy as np

from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.config import data_file
from jaxrec.embedders.inner_product import InnerProductScorer
from jaxrec.embedders.lightgcn import propagate
from jaxrec.evaluate.full_ranking import evaluate_scores
from jaxrec.evaluate.results_file import results_report
from jaxrec.evaluate.results_table import results_table
from jaxrec.system.run import command
from jaxrec.types import Histories, Split, Vectors


def main() -> None:
    """Prints the table; `--out` also writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, help="file to write the rows to, as JSON")
    arguments = parser.parse_args()
    split, tables = released()
    results = [
        evaluate_scores(name, InnerProductScorer(propagate(tables, split.train, layers)), split, "test")
        for name, layers in (("LightGCN released, layer 0 alone", 0), ("LightGCN released, propagated", 3))
    ]
    results += evaluate_baselines(split, "test")
    report = results_report(results, split, "test", dataset="Last.fm, TokenRec's split", seed=0, command=command())
    print(results_table(report))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def released() -> tuple[Split, Vectors]:
    """TokenRec's split of Last.fm (a user's last item tests, all others train) and its layer-0 embeddings."""
    sequences = {}
    for part in ("train", "test"):
        with gzip.open(data_file(f"lastfm/tokenrec_{part}.txt.gz"), "rt") as lines:
            sequences[part] = [np.array(line.split(), np.int32)[1:] for line in lines]
    with np.load(data_file("lastfm/tokenrec_lightgcn.npz")) as archive:
        tables = Vectors(archive["user"], archive["item"])
    offsets = np.cumsum([0, *map(len, sequences["train"])], dtype=np.int64)
    train = Histories(offsets, np.concatenate(sequences["train"]), len(tables.item))
    no_events = Histories(np.zeros_like(offsets), np.zeros(0, np.int32), train.n_items)
    test = np.array([row[-1] for row in sequences["test"]], np.int32)
    return Split.of(train, np.full_like(test, -1), test, no_events, "as-released"), tables


if __name__ == "__main__":
    main()
