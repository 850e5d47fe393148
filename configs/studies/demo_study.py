"""What `make demo` runs: META ID and TokenRec side by side on the generated world."""

import pathlib

from jaxrec.config import load_config

here = pathlib.Path(__file__).parent
study = {
    "META ID": load_config(here.parent / "demo.py"),
    "TokenRec": load_config(here.parent / "demo_token_rec.py"),
}
