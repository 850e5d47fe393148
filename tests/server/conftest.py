"""A server of two finished runs, and a client of it in this process."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from jaxrec.server.limits import Limits
from jaxrec.server.run import application
from jaxrec.system.system import System

Finished = Callable[[str, pathlib.Path], System]
LIMITS = Limits(batch_sizes=(1, 4), history=60, names=60, requests=8, queue=8, body_bytes=20_000, store_seconds=0.5)


def wait_until_ready(client: TestClient) -> None:
    deadline = time.monotonic() + 400
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="session")
def run_folders(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> list[pathlib.Path]:
    """Runs that nobody adds events to: META ID's and TokenRec's."""
    base = tmp_path_factory.mktemp("served")
    for method, name in (("META ID", "meta"), ("TokenRec", "token")):
        finished_run(method, base / name)
    return [base / "meta", base / "token"]


@pytest.fixture(scope="session")
def client(run_folders: list[pathlib.Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Of a server of both runs that nobody adds events to, with an allow list of three items, one unknown."""
    shop = tmp_path_factory.mktemp("lists") / "shop.txt"
    shop.write_text("item03\nitem04\nno such item\n")
    app = application(run_folders, limits=LIMITS, allow_lists={"shop": shop})
    with TestClient(app, raise_server_exceptions=False) as client:  # pyright: ignore[reportArgumentType]
        wait_until_ready(client)
        yield client
