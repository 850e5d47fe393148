"""Ratings and texts over HTTP, of a run with such tasks; the lists of the same run still come."""

import dataclasses
import pathlib

import pytest
from starlette.testclient import TestClient

import jaxrec
from jaxrec import experiment
from jaxrec.config import Config, TaskConfig
from jaxrec.server.run import application
from tests.server.conftest import LIMITS, wait_until_ready


@pytest.mark.long
def test_ratings_and_texts_are_the_librarys(tiny: Config, tmp_path: pathlib.Path) -> None:
    tasks = TaskConfig(tasks=("sequential", "rating", "review"), max_history=6, words=600, max_text=24, max_answer=12)
    train = dataclasses.replace(tiny.train, source_length=128, target_length=32)
    system, _ = experiment.train(dataclasses.replace(tiny, out=str(tmp_path / "run"), task=tasks, train=train))
    run = jaxrec.TrainedRun(system)
    user, item = str(system.data.user_names[3]), str(system.data.item_names[5])
    app = application([system], limits=LIMITS)
    with TestClient(app, raise_server_exceptions=False) as client:  # pyright: ignore[reportArgumentType]
        wait_until_ready(client)
        assert client.get("/v1/models").json()["models"][0]["text_tasks"] == ["rating", "review"]
        for asked, expected in (
            ({"task": "rating", "user": user, "items": [item]}, run.ask("rating", user=user, items=[item])),
            (
                {"task": "review", "user": user, "review": "I love it."},
                run.ask("review", user=user, review="I love it."),
            ),
        ):
            answer = client.post("/v1/ask", json=asked).json()
            assert answer["answers"] == [{"about": one.about, "text": one.text} for one in expected]
            assert answer["model"]["name"] == "run"
        for wrong, error in (
            ({"task": "rating", "user": user}, "task 'rating' is about items; give some"),
            ({"task": "rating", "user": "nobody", "items": [item]}, "user 'nobody' is not in this run's data"),
            ({"task": "explanation", "user": user, "items": [item]}, "task 'explanation' was not trained in this run"),
        ):
            answer = client.post("/v1/ask", json=wrong)
            assert answer.status_code == 422
            assert answer.json()["error"].startswith(error)
        assert len(client.post("/v1/recommend", json={"user": user}).json()["items"]) == 10
