"""What a user would write without jaxrec's server: FastAPI around an exported run, on transformers and PyTorch.

`python -m benchmarks.serve_peer EXPORT --port 8081`: EXPORT is a folder of `jaxrec export`, whose recommend.py holds
`generate(prefix_allowed_tokens_fn=...)`, or the encoder and the cosines with all items, as a model needs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import threading
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

FOLDER, THREADS = "JAXREC_PEER_FOLDER", "JAXREC_PEER_THREADS"
"""Environment variables by which worker processes are told."""


class Wanted(BaseModel):
    """A user and the length of the list."""

    user: str
    k: int = 10


class Listed(BaseModel):
    """A recommended item."""

    item: str
    title: str
    id_tokens: str
    score: float


def make_app() -> FastAPI:
    """The application of one worker."""
    torch.set_num_threads(int(os.environ[THREADS]))
    exported: Any = _script(pathlib.Path(os.environ[FOLDER]))
    numbers = {user["name"]: number for number, user in enumerate(exported.users)}
    one_at_a_time = threading.Lock()  # FastAPI answers in 40 threads, in which PyTorch would get in its own way
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> str:
        return "ready"

    @app.post("/v1/recommend")
    def recommend(wanted: Wanted) -> dict[str, list[Listed]]:
        user = numbers.get(wanted.user)
        if user is None:
            raise HTTPException(404, f"user {wanted.user!r} is unknown")
        history = exported.history(user)
        with one_at_a_time:
            ranked = exported.recommend([exported.prompt(history, user)], [history], wanted.k)[0]
        rows = ((exported.items[number], score) for number, score in ranked)
        return {
            "items": [
                Listed(item=row["name"], title=row["title"], id_tokens=row["id"], score=score) for row, score in rows
            ]
        }

    return app


def _script(folder: pathlib.Path) -> Any:
    """The export, loaded by its own recommend.py."""
    spec = importlib.util.spec_from_file_location("exported", folder / "recommend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Exported(folder)


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=pathlib.Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch in each process")
    arguments = parser.parse_args()
    os.environ |= {FOLDER: str(arguments.export.resolve()), THREADS: str(arguments.threads)}
    uvicorn.run(
        "benchmarks.serve_peer:make_app",
        factory=True,
        host="127.0.0.1",
        port=arguments.port,
        workers=arguments.workers,
        timeout_worker_healthcheck=120,  # on a busy machine a worker that imports PyTorch is silent for long
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
