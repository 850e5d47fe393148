"""Export a trained run for Hugging Face: `jaxrec export runs/demo exported/demo [--push NAME]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, parsed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Writes a run's best checkpoint, its ids and its tokenizer into a folder that transformers loads unchanged."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: tyro.conf.Positional[str]
    """The folder to make."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the stored weights."""
    shard_gb: float = 5.0
    """Weights above this size are stored in several files of it."""
    samples: int = 64
    """For how many users jaxrec's own lists are stored, for recommend.py --check."""
    adapter: bool = False
    """Of a LoRA run, store the factors instead of merged weights."""
    push: str | None = None
    """Also upload the folder under this name of the Hugging Face hub, as a private model where it is new; without
    users.tsv and samples.json."""
    push_users: bool = False
    """Upload these two also, which hold users' names and histories."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints where the folder is and how to look at it."""
    arguments = parsed(Arguments, "export", argv)
    folder = jaxrec.load(arguments.run).export(
        arguments.out,
        dtype=arguments.dtype,
        shard_gb=arguments.shard_gb,
        samples=arguments.samples,
        adapter=arguments.adapter,
    )
    print(f"exported to {folder}; compare it with jaxrec: python {folder / 'recommend.py'} --check")
    about_users = " and ".join(jaxrec.EXPORTED_ABOUT_USERS)
    print(f"{about_users} hold names and histories of users")
    if arguments.push is not None:
        address = jaxrec.push_export(folder, arguments.push, users=arguments.push_users)
        print(f"uploaded to {address}" + ("" if arguments.push_users else f", without {about_users}"))
