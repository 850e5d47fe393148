"""Export a trained run for Hugging Face: `jaxrec export runs/demo exported/demo [--push NAME]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import load_run, parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import NonNegativeInt, PositiveFloat


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Exports a run's best weights, its ids and its tokenizer as a folder that transformers loads without jaxrec."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: tyro.conf.Positional[str]
    """Folder to create."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the stored weights."""
    shard_gb: PositiveFloat = 5.0
    """Maximum size of a weight file in GB; larger weights are split into shards."""
    samples: NonNegativeInt = 64
    """Number of users whose recommendations are stored, for recommend.py --check."""
    adapter: bool = False
    """Store the LoRA factors instead of merged weights."""
    push: str | None = None
    """Also upload the folder to this repository of the Hugging Face hub, created as private where it does not exist;
    users.tsv, samples.json and user_vectors.safetensors are not uploaded."""
    push_users: bool = False
    """Upload these, too, which hold users' names and histories or are made of them."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the folder and the command that checks it."""
    arguments = parsed(Arguments, "export", argv)
    folder = load_run(arguments.run).export(
        arguments.out,
        dtype=arguments.dtype,
        shard_gb=arguments.shard_gb,
        samples=arguments.samples,
        adapter=arguments.adapter,
    )
    print(f"exported to {folder}; compare it with jaxrec: python {folder / 'recommend.py'} --check")
    about_users = " and ".join(name for name in jaxrec.EXPORTED_ABOUT_USERS if (folder / name).is_file())
    print(f"{about_users} hold names and histories of users")
    if arguments.push is not None:
        address = jaxrec.push_export(folder, arguments.push, users=arguments.push_users)
        print(f"uploaded to {address}" + ("" if arguments.push_users else f", without {about_users}"))
