"""Two replicas on a local Ray cluster answer as the library does, and share the events that either takes in."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import httpx2 as httpx
import pytest

import jaxrec
from jaxrec.server.limits import Replicas
from tests.server.conftest import Finished

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.mark.soak
def test_two_replicas_answer_as_one(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("ray")
    finished_run("META ID", tmp_path / "run")
    run = jaxrec.load(tmp_path / "run")
    assert isinstance(run, jaxrec.TrainedRun)
    users = run.examples(20)
    expected = {user: [item.item for item in run.recommend(user, 5)] for user in users}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "launch.serve", str(tmp_path / "run"), "--port", str(port), "--ray"]
    command += ["--replicas.count", "2", "--replicas.cpus", "0.5", "--limits.store-seconds", "0.5"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "JAXREC_TOKEN": "secret"}
    environment.pop("RAY_ADDRESS", None)
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    told = (tmp_path / "log").read_text
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        try:
            deadline = time.monotonic() + 400
            ready = 0
            while ready < 20:  # in a row, so that neither replica is compiling
                assert server.poll() is None, told()
                assert time.monotonic() < deadline, told()
                try:
                    ready = ready + 1 if client.get("/readyz").status_code == 200 else 0
                except httpx.HTTPError:
                    ready = 0
                time.sleep(0 if ready else 0.5)
            assert client.post("/v1/recommend", json={"user": users[0]}).status_code == 401
            client.headers["authorization"] = "Bearer secret"

            def listed(user: str) -> list[str]:
                answer = client.post("/v1/recommend", json={"user": user, "k": 5})
                assert answer.status_code == 200, answer.text
                return [item["item"] for item in answer.json()["items"]]

            assert {user: listed(user) for user in users} == expected

            item = expected[users[0]][0]
            answer = client.post("/v1/events", json={"events": [{"user": users[0], "item": item}]})
            assert answer.status_code == 200, answer.text
            seen = 0
            while seen < 20:  # by both replicas
                assert time.monotonic() < deadline, told()
                seen = 0 if item in listed(users[0]) else seen + 1
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 128 + signal.SIGTERM, told()
        finally:
            server.kill()
            server.wait()
    assert "Traceback" not in told()


@pytest.mark.soak
def test_a_cluster_without_room_is_said(finished_run: Finished, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("ray")
    finished_run("META ID", tmp_path / "run")
    command = [sys.executable, "-m", "launch.serve", str(tmp_path / "run"), "--ray", "--replicas.gpus", "3"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2, ended.stderr
    assert "error: 1 replicas of 3 GPU take 3, and the Ray cluster has 0" in ended.stderr


def test_what_is_wrong_is_said_before_ray_starts() -> None:
    with pytest.raises(ValueError, match=r"count=0.*there is at least one replica"):
        Replicas(count=0)
