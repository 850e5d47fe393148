"""What `make demo` runs: the ids of META ID and of TokenRec in one model over items, on the generated world."""

import pathlib

from jaxrec.config import load_config

here = pathlib.Path(__file__).parent
study = {
    "META ID": load_config(here.parent / "demo_best.py"),
    "TokenRec": load_config(here.parent / "demo_best_token_rec.py"),
}
