"""Export a trained run for Hugging Face: `python -m launch.export runs/demo exported/demo [--push NAME]`."""

from __future__ import annotations

import dataclasses
from typing import Literal

import tyro

from jaxrec.hub.push import push
from jaxrec.methods import experiment, serving
from jaxrec.methods.export import export
from launch.arguments import explained


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
    """Also upload the folder under this name of the Hugging Face hub, as a private model where it is new."""


@explained
def main() -> None:
    """Prints where the folder is and how to look at it."""
    arguments = tyro.cli(Arguments, prog="launch.export")
    system = serving.served(experiment.load(arguments.run))
    folder = export(
        system,
        arguments.out,
        dtype=arguments.dtype,
        shard_gb=arguments.shard_gb,
        samples=arguments.samples,
        adapter=arguments.adapter,
    )
    print(f"exported to {folder}; compare it with jaxrec: python {folder / 'recommend.py'} --check")
    print("users.tsv and samples.json hold names and histories of users")
    if arguments.push is not None:
        print(f"uploaded to {push(folder, arguments.push)}")


if __name__ == "__main__":
    main()
