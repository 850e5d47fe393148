"""Thousands of requests while events arrive, then a kill: no answer is wrong or lost, nor is any event."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2 as httpx
import numpy as np
import pytest

import jaxrec
from benchmarks import serve_load
from tests.server.conftest import Finished

ROOT = pathlib.Path(__file__).parent.parent.parent
K = 10


@pytest.mark.parametrize(
    ("method", "requests"),
    [
        pytest.param("TokenRec", 1_000, marks=pytest.mark.long),
        pytest.param("META ID", 1_000, marks=pytest.mark.soak),
        pytest.param("TokenRec", 10_000, marks=pytest.mark.soak),
        pytest.param("META ID", 10_000, marks=pytest.mark.soak),
    ],
)
def test_answers_are_right_while_events_arrive(
    method: str, requests: int, finished_run: Finished, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "run"
    finished_run(method, folder)
    shutil.copytree(folder, tmp_path / "before")
    run = jaxrec.load(tmp_path / "before")
    assert isinstance(run, jaxrec.TrainedRun)
    users = run._system_with_updates().data.user_names.tolist()
    expected = {user: run.recommend(user, K) for user in users}
    bodies = [json.dumps({"user": user, "k": K}).encode() for user in np.random.default_rng(0).choice(users, requests)]

    with socket.socket() as free:
        free.bind((serve_load.HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "launch.serve", str(folder), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)})
    address, acknowledged, stop = f"http://{serve_load.HOST}:{port}", [], threading.Event()

    def post_events() -> None:
        """Events of visitors, whom nobody is recommended to; everybody else keeps vector, id and list."""
        for n in range(100_000):
            event = {"user": f"visitor {n // 40}", "item": f"item{n % 40:02d}"}
            try:
                answer = httpx.post(f"{address}/v1/events", json={"events": [event]}, timeout=300)
            except httpx.HTTPError:  # the server was killed
                return
            assert answer.status_code == 200, answer.text
            acknowledged.append((event["user"], event["item"]))
            if stop.wait(0.05):
                return

    poster = threading.Thread(target=post_events)
    try:
        deadline = time.monotonic() + 600
        while not ready(address):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        poster.start()
        seconds, answers = serve_load.post(port, bodies, clients=32, seconds=1200)
        while len(acknowledged) < 5 and seconds < 600:  # the first event compiles
            more, again = serve_load.post(port, bodies, clients=32, seconds=1200)
            seconds, answers = seconds + more, answers + again
        server.send_signal(signal.SIGKILL)
    finally:
        stop.set()
        server.kill()
        server.wait()
        if poster.ident:
            poster.join()
    bodies *= len(answers) // len(bodies)
    print(f"{method}: {len(bodies)} requests in {seconds:.0f} s, {len(acknowledged)} events acknowledged meanwhile")
    assert [answer and answer[0] for answer in answers] == [200] * len(bodies)
    for body, answer in zip(bodies, answers, strict=True):
        assert answer is not None
        items, wanted = json.loads(answer[2])["items"], expected[json.loads(body)["user"]]
        assert [item["item"] for item in items] == [item.item for item in wanted]
        np.testing.assert_allclose([item["score"] for item in items], [item.score for item in wanted], atol=1e-5)

    assert len(acknowledged) >= 5
    after = jaxrec.load(folder)
    assert isinstance(after, jaxrec.TrainedRun)
    system = after._system_with_updates()
    numbers = {str(name): n for n, name in enumerate(system.data.user_names)}
    for user, item in acknowledged:
        assert item in system.data.item_names[system.histories.of(numbers[user])], (user, item)


def ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False
