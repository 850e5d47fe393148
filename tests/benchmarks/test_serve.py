"""The load of the server's benchmark, its table, and the whole thing at tiny sizes."""

import http.server
import json
import pathlib
import threading

import pytest

from benchmarks import serve, serve_load


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the body; says 503 to "full", and hangs up on "bye"."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if body == b"bye":
            self.close_connection = True
            return
        self.send_response(503 if body == b"full" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_each_request_is_posted_once_and_its_answer_kept(port: int) -> None:
    bodies = [str(n).encode() * (1 + n % 300) for n in range(200)] + [b"full"]
    seconds, answers = serve_load.post(port, bodies, clients=4, seconds=30)
    assert [answer and answer[2] for answer in answers] == bodies
    assert [answer and answer[0] for answer in answers] == [200] * 200 + [503]
    assert all(answer and 0 < answer[1] <= seconds for answer in answers)


def test_what_the_server_loses_is_none_and_time_ends_it(port: int) -> None:
    _, answers = serve_load.post(port, [b"a", b"bye", b"b"], clients=1, seconds=30)
    assert [answer and answer[2] for answer in answers] == [b"a", None, None]
    _, answers = serve_load.post(port, [b"a"] * 3, clients=2, seconds=-1)
    assert answers == [None] * 3


def test_table() -> None:
    side = {"rate": 100.0, "p50_ms": 3.0, "p99_ms": 9.0, "cpu_ms": 1.0}
    row = {
        "workload": "serve: beam search",
        "ratio": 10.0,
        "ratio_spread": (9.0, 11.0),
        "cpu_ratio": 12.0,
        "reach": 5.0,
        "verdict": "reach",
        "peer_settings": "1 process, 2 threads",
        "note": "64 of 64 lists are equal",
        "ours": side,
        "peer": {**side, "rate": 10.0},
    }
    head, ours, peer, _, note = serve.table([row]).splitlines()
    columns = "workload server requests/s p50 p99 CPU ratio (range) of CPU reach verdict"
    assert " ".join(head.split()) == columns
    assert ours.split()[-5:] == ["10.0x", "(9.0-11.0)", "12.0x", "5x", "reach"]
    assert peer.endswith("9.0 ms  1.0 ms")
    assert note == "serve: beam search: 64 of 64 lists are equal"


@pytest.mark.soak
def test_the_whole_thing_at_tiny_sizes(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    serve.main(["--quick", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)])
    report = json.loads((tmp_path / "serve.json").read_text())
    assert [row["workload"] for row in report["rows"]] == ["serve: beam search", "serve: retrieval"]
    assert all(row["verdict"] == "quick" and row["ours"]["requests"] == 80 for row in report["rows"])
    assert "serve: retrieval" in capsys.readouterr().out
