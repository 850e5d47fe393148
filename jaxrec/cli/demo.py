"""Compare META ID and TokenRec on synthetic data: `jaxrec demo`, which `make demo` runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jaxrec.cli import compare


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and compares both, in a few minutes on two CPU cores without network; takes the arguments of `compare`."""
    compare.main(["demo_study", "--show", "1", *(sys.argv[1:] if argv is None else argv)])
