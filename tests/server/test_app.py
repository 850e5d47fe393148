"""The server's answers equal the library's, its errors are sentences, and no request breaks it."""

import json
import pathlib
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import jaxrec

PATHS = ("/v1/recommend", "/v1/events", "/v1/ask", "/v1/models/reload")


@pytest.fixture(scope="session")
def runs(run_folders: list[pathlib.Path]) -> dict[str, jaxrec.TrainedRun]:
    loaded = {folder.name: jaxrec.load(folder) for folder in run_folders}
    assert all(isinstance(run, jaxrec.TrainedRun) for run in loaded.values())
    return loaded  # pyright: ignore[reportReturnType]


def random_request(run: jaxrec.TrainedRun, rng: np.random.Generator) -> dict[str, Any]:
    data = run._system_with_updates().data
    items = data.item_names.tolist()
    request: dict[str, Any] = {"k": int(rng.integers(1, 11))}
    if rng.random() < 0.4:
        request["user"] = str(rng.choice(data.user_names))
    else:
        request["history"] = rng.choice(items, rng.integers(0, 12)).tolist()
    if rng.random() < 0.6:
        request["exclude"] = rng.choice(items, rng.integers(0, 40)).tolist()
    if rng.random() < 0.5:
        request["allow"] = rng.choice(items, rng.integers(0, 40), replace=False).tolist()
    if rng.random() < 0.3:
        request["include_seen"] = bool(rng.random() < 0.5)
    return request


def assert_same_lists(client: TestClient, runs: dict[str, jaxrec.TrainedRun], count: int) -> None:
    rng = np.random.default_rng(count)
    for begin in range(0, count, 5):
        name = ("meta", "token")[begin % 2]
        run = runs[name]
        requests = [random_request(run, rng) for _ in range(5)]
        body = {"requests": [{**request, "model": name} for request in requests]}
        answers = client.post("/v1/recommend", json=body).json()["answers"]
        for request, answer in zip(requests, answers, strict=True):
            # Lists of one length, so that the reference is compiled once.
            everything = run.recommend(**{**request, "k": 10})
            expected = list(everything)[: request["k"]]
            assert [item["item"] for item in answer["items"]] == [item.item for item in expected]
            assert [item["id_tokens"] for item in answer["items"]] == [item.id_tokens for item in expected]
            scores = [item["score"] for item in answer["items"]]
            np.testing.assert_allclose(scores, [item.score for item in expected], atol=1e-5)
            assert (answer["reason"] == "") == (len(expected) == request["k"])


@pytest.mark.slow
def test_lists_are_the_librarys(client, runs) -> None:
    assert_same_lists(client, runs, 60)


@pytest.mark.long
def test_500_lists_are_the_librarys(client, runs) -> None:
    assert_same_lists(client, runs, 500)


def test_an_answer_says_who_answered_and_why_it_is_short(client, runs) -> None:
    answer = client.post("/v1/recommend", json={"history": ["item01"], "k": 3, "allow": ["item02", "item01"]}).json()
    assert answer["model"]["name"] == "meta"
    assert len(answer["model"]["version"]) == 12
    assert answer["score"] == "log-probability"
    assert [item["item"] for item in answer["items"]] == ["item02"]
    assert answer["reason"] == "1 of 3 items: no other allowed item is left"
    assert answer["ms"] > 0


def test_an_allow_list_may_be_named(client) -> None:
    answers = [
        client.post("/v1/recommend", json={"history": [], "allow": allow}).json()
        for allow in ("shop", ["item03", "item04"])
    ]
    assert answers[0]["items"] == answers[1]["items"]
    assert {item["item"] for item in answers[0]["items"]} == {"item03", "item04"}


def test_a_beam_search_is_shown_step_by_step(client, runs) -> None:
    asked = {"history": ["item01", "item07"], "exclude": ["item02"]}
    answer = client.post("/v1/steps", json=asked).json()
    first, last = answer["steps"]
    assert answer["lists_by_ids"] is True
    assert first["tried"] == len(first["beams"]) == 6  # the clusters, all of which ten beams can keep
    assert all(beam["tokens"].startswith("<Item><CT") and beam["title"] is None for beam in first["beams"])
    assert sum(np.exp(beam["log_probability"]) for beam in first["beams"]) <= 1 + 1e-5
    assert last["tried"] == 48 - 3
    listed = client.post("/v1/recommend", json=asked).json()["items"]
    assert [beam["tokens"] for beam in last["beams"]] == [item["id_tokens"] for item in listed]
    assert [beam["title"] for beam in last["beams"]] == [item["title"] for item in listed]
    scores = [beam["log_probability"] for beam in last["beams"]]
    np.testing.assert_allclose(scores, [item["score"] for item in listed], atol=1e-5)
    clusters = {beam["tokens"]: beam["log_probability"] for beam in first["beams"]}
    assert all(score <= clusters[beam["tokens"].rpartition("<")[0]] for score, beam in zip(scores, last["beams"]))
    refused = client.post("/v1/steps", json={**asked, "model": "token"})
    assert refused.status_code == 422
    assert refused.json()["error"].endswith("generates no ids, and so has no beam search to show")


def test_the_api_is_described_without_other_sites(client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "script-src" in page.headers["content-security-policy"]
    for text in ("POST /v1/recommend", "GET /healthz", 'id="RecommendRequest"', 'href="#EventBody"', 'id="Problem"'):
        assert text in page.text, text
    assert "http" not in page.text.replace("HTTP", "")
    assert "<script" not in page.text


def test_versions_are_of_config_and_weights(client, runs) -> None:
    models = client.get("/v1/models").json()["models"]
    assert [model["name"] for model in models] == ["meta", "token"]
    assert len({model["version"] for model in models}) == 2
    assert [model["most"] for model in models] == [10, 48]  # the beams; the catalogue
    assert [model["share"] for model in models] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "give either a user's name or a history, names of items"),
        ({"user": "nobody"}, "user 'nobody' is not in this run's data; names look like: "),
        ({"history": ["<script>\x1b"]}, "item '<script>\\x1b' is not in this run's data; names look like: "),
        ({"history": [], "k": 0}, "k=0 is not between 1 and the 48 items of this catalogue"),
        (
            {"history": [], "k": 11},
            "k=11 exceeds the 10 items that this server lists; lower k, or serve with more --be",
        ),
        ({"history": [], "k": "3"}, "k: Input should be a valid integer"),
        ({"history": [], "K": 3}, "K: Extra inputs are not permitted"),
        ({"history": [], "task": "rating"}, "task 'rating' was not trained in this run; it knows sequential"),
        ({"history": [], "model": "../../etc"}, "model '../../etc' is not served; there are: 'meta', 'token'"),
        ({"history": ["item01"] * 61}, "history has 61 names, more than the 60 that this server reads"),
        ({"requests": [{"history": []}, {"user": "nobody"}]}, "requests[1]: user 'nobody' is not in this run's data"),
        ({"requests": []}, "requests must have 1 to 8 entries; got 0"),
        ({"requests": [{"history": []}] * 9}, "requests must have 1 to 8 entries; got 9"),
        ({"history": [], "allow": "shops"}, "allow list 'shops' is not one of this server's; there are: 'shop'"),
        ([], "body: "),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(client, body, error) -> None:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json().keys() == {"status", "error"}
    assert answer.json()["error"].startswith(error), answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 15_000, b'{"k": 1e999}', b'{"user": "\\ud800"}', b"NaN"])
def test_what_is_no_json_is_refused(client, body) -> None:
    answer = client.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]


def test_other_refusals_have_the_same_form(client) -> None:
    for answer, status in (
        (client.get("/v1/nothing"), 404),
        (client.get("/v1/recommend"), 405),
        (client.post("/v1/recommend", content=b"{}", headers={"content-type": "text/plain"}), 415),
        (client.post("/v1/recommend", content=b" " * 20_001, headers={"content-type": "application/json"}), 413),
        (client.get("/v1/items", params={"limit": "1000"}), 422),
        (client.get("/v1/users/nobody"), 404),
        (client.post("/v1/ask", json={"task": "rating", "user": "user01", "items": ["item01"]}), 422),
    ):
        assert answer.status_code == status
        assert answer.json().keys() == {"status", "error"}
        assert answer.json()["status"] == status


def test_items_and_users_are_found_by_a_part_of_their_name(client, runs) -> None:
    data = runs["meta"]._system_with_updates().data
    title = str(data.titles()[7])
    found = client.get("/v1/items", params={"query": title.upper(), "limit": 3}).json()["items"]
    assert found[0]["title"].casefold().startswith(title.casefold())
    assert found[0]["id_tokens"].startswith("<Item><CT")
    assert client.get("/v1/items", params={"query": "no such title"}).json() == {"items": []}
    assert len(client.get("/v1/items").json()["items"]) == 20
    names = client.get("/v1/users", params={"query": "07"}).json()["users"]
    assert names == [name for name in data.user_names if "07" in name]
    user = client.get(f"/v1/users/{names[0]}").json()
    history = runs["meta"]._system_with_updates().histories.of(data.user_names.tolist().index(names[0]))
    assert [item["item"] for item in user["history"]] == data.item_names[history].tolist()


def test_health_metrics_and_description(client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    client.post("/v1/recommend", json={"history": []})
    text = client.get("/metrics").text
    for line in (
        'jaxrec_requests_total{method="POST",path="/v1/recommend",status="200"}',
        'jaxrec_stage_seconds_count{model="meta",stage="device"}',
        'jaxrec_batch_size_sum{model="meta"}',
        'jaxrec_queue_length{model="token"} 0.0',
        'jaxrec_model_info{model="meta",version="',
    ):
        assert line in text, line
    paths = client.get("/openapi.json").json()["paths"]
    assert set(PATHS) <= set(paths)
    page = client.get("/")
    assert "sha256-" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "innerHTML" not in page.text
    assert client.get("/v1/report", params={"model": "token"}).text.startswith("<!")


names = st.one_of(
    st.sampled_from([f"item{n:02d}" for n in range(50)] + [f"user{n:02d}" for n in range(90)] + ["meta", "token"]),
    st.text(max_size=12),
    st.text(st.characters(categories=["Cs", "Cc", "Cf"]), max_size=3),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), names),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
lists = st.lists(names, max_size=5)


def fields(**typed: st.SearchStrategy) -> st.SearchStrategy:
    """Bodies with some of these fields, of their type or of another."""
    return st.fixed_dictionaries({}, optional={name: st.one_of(good, good, values) for name, good in typed.items()})


request = fields(
    user=names, history=lists, k=st.integers(-1, 20), exclude=lists, allow=st.one_of(lists, names),
    include_seen=st.booleans(), task=st.sampled_from(["sequential", "direct", "collaborative", "rating"]), model=names,
)  # fmt: skip
posts = st.one_of(
    st.tuples(st.just("/v1/recommend"), st.one_of(request, fields(requests=st.lists(request, max_size=4)), values)),
    st.tuples(st.just("/v1/steps"), request),
    st.tuples(
        st.just("/v1/ask"),
        fields(task=st.sampled_from(["rating", "review"]), user=names, items=lists, feature=names, review=names),
    ),
    st.tuples(st.sampled_from(PATHS[1:]), values),
)
gets = st.tuples(
    st.sampled_from(["/v1/items", "/v1/users", "/v1/users/", "/v1/report", "/", "/v1/models/reload"]),
    st.dictionaries(st.sampled_from(["query", "limit", "model"]), st.text(string.printable, max_size=9), max_size=3),
    st.text(string.printable, max_size=9),
)


def answered(client: TestClient, posted: tuple[str, Any], got: tuple[str, dict, str]) -> None:
    path, body = posted
    content = json.dumps(body).encode()
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code < 500, (path, body, answer.text)
    assert answer.status_code == 200 or answer.json().keys() == {"status", "error"}
    assert "Traceback" not in answer.text
    path, query, name = got
    if path.endswith("users/"):
        path += "".join(f"%{byte:02x}" for byte in name.encode())
    assert client.get(path, params=query).status_code < 500, got


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(posted=posts, got=gets)
def test_no_request_breaks_it(client, posted, got) -> None:
    answered(client, posted, got)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(posted=posts, got=gets)
def test_5000_requests_do_not_break_it(client, posted, got) -> None:
    answered(client, posted, got)
