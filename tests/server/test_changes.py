"""Events count at once and outlive the process; a reload drops no request; a full or closed door says so."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import polars as pl
import pytest
from starlette.testclient import TestClient

import jaxrec
from jaxrec.server.batching import FullError
from jaxrec.server.limits import Limits
from jaxrec.server.run import application
from jaxrec.system import loading
from tests.server.conftest import LIMITS, Finished, wait_until_ready

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def folder(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run that events are added to."""
    folder = tmp_path_factory.mktemp("changing") / "token"
    finished_run("TokenRec", folder)
    return folder


@pytest.fixture(scope="module")
def client(folder: pathlib.Path) -> Iterator[TestClient]:
    with TestClient(application([folder], limits=LIMITS), raise_server_exceptions=False) as client:  # pyright: ignore
        wait_until_ready(client)
        yield client


def test_events_count_from_the_next_request_on(client, folder) -> None:
    events = [
        {"user": "anna's <b>", "item": "item05"},
        {"user": "anna's <b>", "item": 'new "item"', "title": "<script>alert(1)</script>"},
        {"user": "user03", "item": 'new "item"'},
        {"user": "anna's <b>", "item": "item05"},
    ]
    assert client.post("/v1/recommend", json={"user": "anna's <b>"}).status_code == 422
    done = client.post("/v1/events", json={"events": events}).json()
    assert done["models"] == {"token": {"events": 3, "new_users": 1, "new_items": 1, "known_events": 1}}
    user = client.get("/v1/users/anna's%20%3Cb%3E").json()
    assert [item["item"] for item in user["history"]] == ["item05", 'new "item"']
    assert user["history"][1]["title"] == "<script>alert(1)</script>"
    answer = client.post("/v1/recommend", json={"user": "anna's <b>", "k": 48}).json()
    listed = [item["item"] for item in answer["items"]]
    assert not {"item05", 'new "item"'} & set(listed)
    assert client.get("/v1/items", params={"query": "alert(1)"}).json()["items"][0]["item"] == 'new "item"'
    reread = jaxrec.load(folder)  # another process would read the same
    assert isinstance(reread, jaxrec.TrainedRun)
    assert [item.item for item in reread.recommend("anna's <b>", k=48)] == listed
    again = client.post("/v1/events", json={"events": events}).json()
    assert again["models"]["token"] == {"events": 0, "new_users": 0, "new_items": 0, "known_events": 4}


def test_what_another_process_writes_is_noticed(client, folder) -> None:
    other = jaxrec.load(folder)  # a library of its own, as in another process
    assert isinstance(other, jaxrec.TrainedRun)
    other.update(pl.DataFrame({"user": ["bert", "bert"], "item": ["item07", "item11"]}))
    expected = [item.item for item in other.recommend("bert", k=40)]
    deadline = time.monotonic() + 60
    while (answer := client.post("/v1/recommend", json={"user": "bert", "k": 40})).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert [item["item"] for item in answer.json()["items"]] == expected
    event = {"user": "bert", "item": "item13"}
    assert client.post("/v1/events", json={"events": [event]}).json()["models"]["token"]["new_users"] == 0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"events": []}, "events must have 1 to 60 entries; got 0"),
        ({"events": [{"user": "", "item": "a"}]}, "events[0]: user must have 1 to 200 characters; got ''"),
        ({"events": [{"user": "a", "item": "b" * 201}]}, "events[0]: item must have 1 to 200 characters; got 'bbb"),
        ({"events": [{"user": "a"}]}, "events.0.item: Field required"),
        ({"events": [{"user": "a", "item": "b"}], "model": "x"}, "model 'x' is not served; there are: 'token'"),
    ],
)
def test_wrong_events_are_refused(client, body, error) -> None:
    answer = client.post("/v1/events", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(error)


def test_a_reload_drops_nothing_and_refuses_a_broken_folder(client, folder, tmp_path) -> None:
    before = client.get("/v1/models").json()["models"][0]["version"]
    statuses, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            statuses.append(client.post("/v1/recommend", json={"user": "user03"}).status_code)

    with ThreadPoolExecutor() as pool:
        pool.submit(ask)
        assert client.post("/v1/models/reload", json={}).json() == {"name": "token", "version": before}
        checkpoints, aside = folder / "checkpoints", tmp_path / "aside"
        shutil.move(checkpoints, aside)
        answer = client.post("/v1/models/reload", json={"model": "token"})
        shutil.copytree(aside, checkpoints)
        for file in checkpoints.rglob("*"):
            if file.is_file() and file.stat().st_size > 200:
                file.write_bytes(b"damaged" * 100)
        damaged = client.post("/v1/models/reload", json={})
        shutil.rmtree(checkpoints)
        shutil.move(aside, checkpoints)
        stop.set()
    for refused in (answer, damaged):
        assert refused.status_code == 422
        assert refused.json()["error"].startswith(f"{folder} can't be loaded, the old model goes on: ")
    assert set(statuses) == {200}
    assert client.get("/v1/models").json()["models"][0]["version"] == before


def test_a_full_queue_is_503_with_retry_after(client, monkeypatch) -> None:
    def full(*_):
        raise FullError

    monkeypatch.setattr("jaxrec.server.batching.Batcher.submit", full)
    answer = client.post("/v1/recommend", json={"history": []})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {"status": 503, "error": "too many requests wait; try again in a second"}


def test_before_it_is_compiled_it_is_not_ready(folder, monkeypatch) -> None:
    release = threading.Event()
    monkeypatch.setattr("jaxrec.server.snapshot.Snapshot.compile", lambda _: release.wait(60))
    app = application([folder], limits=LIMITS)
    with TestClient(app, raise_server_exceptions=False) as client:  # pyright: ignore[reportArgumentType]
        for answer in (client.get("/readyz"), client.post("/v1/recommend", json={"history": []})):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
        assert client.get("/healthz").status_code == 200
        release.set()
        wait_until_ready(client)


def test_token_host_and_shares(folder, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("jaxrec.server.snapshot.Snapshot.compile", lambda _: None)
    system = loading.load(folder)
    shutil.copytree(folder, tmp_path / "other")
    runs = [system, loading.load(tmp_path / "other")]
    app = application(runs, shares=(1, 3), limits=LIMITS, token="secret", hosts=("localhost",))
    with TestClient(app, base_url="http://localhost") as client:  # pyright: ignore[reportArgumentType]
        assert client.get("/v1/models").status_code == 401
        wrong = [(b"authorization", b"Bearer s\xe9cret")]
        assert client.get("/v1/models", headers=wrong).status_code == 401
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"host": "evil.example:8080"}).status_code == 421
        client.headers["authorization"] = "Bearer secret"
        wait_until_ready(client)
        users = system.data.user_names.tolist()
        who = [client.post("/v1/recommend", json={"user": user}).json()["model"]["name"] for user in users[:48]]
        assert 24 < who.count("other") < 46
        assert who == [client.post("/v1/recommend", json={"user": user}).json()["model"]["name"] for user in users[:48]]
    with pytest.raises(ValueError, match=r"shares=\(1.0,\) must be 2 numbers"):
        application(runs, shares=(1.0,))
    with pytest.raises(ValueError, match="two runs are called"):
        application([system, system])
    with pytest.raises(ValueError, match="queue=3 must hold"):
        Limits(queue=3)


@pytest.mark.soak
def test_acknowledged_events_outlive_a_kill(folder, tmp_path) -> None:
    """Posts events until the server is killed in the middle of it: each that was answered is there afterwards."""
    copy = tmp_path / "token"
    shutil.copytree(folder, copy)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "launch.serve", str(copy), "--port", str(port), "--limits.batch-sizes", "1"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    address, acknowledged = f"http://127.0.0.1:{port}", []
    try:
        deadline = time.monotonic() + 400
        while True:
            try:
                if httpx.get(f"{address}/healthz").status_code == 200:
                    break
            except httpx.HTTPError:
                assert server.poll() is None, server.stderr and server.stderr.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        killer = threading.Timer(0.5, server.send_signal, [signal.SIGKILL])
        for n in range(10_000):
            event = {"user": f"visitor {n % 7}", "item": f"item{n % 48:02d}"}
            try:
                answer = httpx.post(f"{address}/v1/events", json={"events": [event]}, timeout=60)
            except httpx.HTTPError:
                break
            assert answer.status_code == 200, answer.text
            acknowledged.append((event["user"], event["item"]))
            if len(acknowledged) == 4:
                killer.start()
        killer.join()
    finally:
        server.kill()
        server.communicate()
    assert len(acknowledged) >= 4
    run = jaxrec.load(copy)
    assert isinstance(run, jaxrec.TrainedRun)
    system = run._system_with_updates()
    numbers = {str(name): n for n, name in enumerate(system.data.user_names)}
    for user, item in acknowledged:
        history = system.data.item_names[system.histories.of(numbers[user])]
        assert item in history, (user, item)
