"""jaxrec's server beside FastAPI and transformers with the same weights, under load from another process.

`python -m benchmarks.serve [--quick] [--out FOLDER]` trains the demo's T5 runs if they are not there yet, starts
both servers of a run on two cores, and prints requests a second and the time to an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import harness, serve_load

ROOT = pathlib.Path(__file__).parent.parent
CORES = 2
K, CLIENTS, ROUNDS = 10, 32, 5
ROUND_SECONDS = 60.0
TOLERANCE = 1e-4  # of a log-probability or cosine, as of an export
PEERS = {"1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
"""Ways to run the peer: the one that answers most is compared with."""
QUICK = "--data.world.users 80 --data.world.items 48 --data.world.tastes 4 --train.steps 4 --train.validate-users 20"


@dataclasses.dataclass(frozen=True)
class Case:
    """A run to serve, and how much faster than the peer it has to be."""

    name: str
    config: str
    reach: float
    requests: tuple[int, int]  # of a round: ours, the peer's


CASES = (
    Case("beam search", "configs/demo.py", 5.0, (2000, 200)),
    Case("retrieval", "configs/demo_token_rec.py", 15.0, (6000, 600)),
)


def measure(case: Case, run: pathlib.Path, export: pathlib.Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both servers of one run, checked to agree and then loaded in alternating rounds."""
    sizes = (40, 20) if arguments.quick else case.requests
    users = [line.split("\t")[0] for line in (export / "users.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    rng = np.random.default_rng(0)
    bodies = [json.dumps({"user": user, "k": K}).encode() for user in rng.choice(users, max(sizes))]
    with tempfile.TemporaryDirectory() as folder, started("launch.serve", str(run)) as ours:
        work = pathlib.Path(folder)
        peers = dict(list(PEERS.items())[:1] if arguments.quick else PEERS)
        tried = {name: _try(export, options, bodies[: sizes[1]], work) for name, options in peers.items()}
        best = max(tried, key=lambda name: tried[name])
        with started("benchmarks.serve_peer", str(export), *_options(peers[best])) as peer:
            agreement = _check(ours, peer, bodies[: 8 if arguments.quick else 64])
            rounds: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []
            for number in range(1 + (2 if arguments.quick else arguments.rounds)):
                for server, done, count in zip((ours, peer), rounds, sizes):
                    report = _load(server, bodies[:count], work)
                    done += [report] if number else []  # the first warms up
    sides = {"ours": _side(rounds[0]), "peer": _side(rounds[1])}
    ratios = [a["rate"] / b["rate"] for a, b in zip(*rounds)]
    ratio = sides["ours"]["rate"] / sides["peer"]["rate"]
    return {
        "workload": f"serve: {case.name}",
        "ratio": ratio,
        "ratio_spread": (min(ratios), max(ratios)),
        "reach": case.reach,
        "cpu_ratio": sides["peer"]["cpu_ms"] / sides["ours"]["cpu_ms"],
        "verdict": harness.verdict(ratio, case.reach, np.inf, quick=arguments.quick),
        "peer_settings": best,
        "peer_tries": tried,
        "note": agreement,
        "quick": arguments.quick,
        **sides,
    }


def _try(export: pathlib.Path, options: tuple[int, int], bodies: Sequence[bytes], work: pathlib.Path) -> float:
    """Requests a second of the peer with some processes and threads."""
    with started("benchmarks.serve_peer", str(export), *_options(options)) as server:
        _load(server, bodies[: len(bodies) // 4], work)
        return _load(server, bodies, work)["rate"]


def _options(options: tuple[int, int]) -> list[str]:
    return ["--workers", str(options[0]), "--threads", str(options[1])]


@dataclasses.dataclass(frozen=True)
class Server:
    """A server's port on loopback, and its process."""

    port: int
    process: int

    def cpu_seconds(self) -> float:
        """Seconds that its processes have computed so far, which do not depend on what else the machine does."""
        parents, seconds = {}, {}
        for file in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = file.read_text().rpartition(")")[2].split()
                number = int(file.parent.name)
                parents[number] = int(fields[1])
                seconds[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return sum(seconds[number] for number in parents if self.process in (number, parents[number]))


@contextlib.contextmanager
def started(module: str, *arguments: str) -> Iterator[Server]:
    """A server in a process of its own on a free port of loopback, which is ready, and is ended with the block."""
    with socket.socket() as free:
        free.bind((serve_load.HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", module, *arguments, "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + 600
        while not _answers(f"http://{serve_load.HOST}:{port}/readyz"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not answer")
            time.sleep(0.2)
        yield Server(port, server.pid)
    finally:
        server.terminate()
        server.wait(60)


def _answers(address: str) -> bool:
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address, timeout=10) as answer:
        return answer.status == 200
    return False


def _load(server: Server, bodies: Sequence[bytes], work: pathlib.Path) -> dict[str, Any]:
    """One round: the bodies are posted once, by a process of their own."""
    requests, out = work / "requests.jsonl", work / "report.json"
    requests.write_bytes(b"\n".join(bodies))
    command = [sys.executable, "-m", "benchmarks.serve_load", "--port", str(server.port), "--requests", str(requests)]
    command += ["--clients", str(CLIENTS), "--seconds", str(ROUND_SECONDS), "--out", str(out)]
    before = server.cpu_seconds()
    subprocess.run(command, cwd=ROOT, check=True)
    used = server.cpu_seconds() - before
    report = json.loads(out.read_text())
    if set(report["statuses"]) - {200, None} or not report["latencies"]:
        raise RuntimeError(f"answers had other statuses than 200: {sorted(map(str, set(report['statuses'])))}")
    count = len(report["latencies"])
    return {"rate": count / report["seconds"], "cpu_ms": 1000 * used / count, "latencies": report["latencies"]}


def _check(ours: Server, peer: Server, bodies: Sequence[bytes]) -> str:
    """Asserts that both servers list the same items with the same scores; near-ties may come in either order."""
    most, equal = 0.0, 0
    both = [serve_load.post(server.port, bodies, clients=4, seconds=300)[1] for server in (ours, peer)]
    for a, b in zip(*both):
        assert a is not None
        assert b is not None
        lists = [json.loads(body)["items"] for _, _, body in (a, b)]
        scores = [[row["score"] for row in rows] for rows in lists]
        np.testing.assert_allclose(*scores, atol=TOLERANCE)
        most = max(most, float(np.abs(np.subtract(*scores)).max()))
        names = [[row["item"] for row in rows] for rows in lists]
        equal += names[0] == names[1]
        apart = np.abs(np.diff(scores[0])).min() > TOLERANCE
        assert names[0] == names[1] or not apart, f"{names} differ without a tie"
    return f"{equal} of {len(bodies)} lists are equal item by item, the others have ties; scores differ by {most:.0e}"


def _side(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    latencies = np.concatenate([round_["latencies"] for round_ in rounds])
    return {
        "rate": statistics.median(round_["rate"] for round_ in rounds),
        "cpu_ms": statistics.median(round_["cpu_ms"] for round_ in rounds),
        "rates": [round_["rate"] for round_ in rounds],
        "p50_ms": 1000 * float(np.quantile(latencies, 0.5)),
        "p99_ms": 1000 * float(np.quantile(latencies, 0.99)),
        "requests": len(latencies),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each server of each run."""
    cells = [
        ["workload", "server", "requests/s", "p50", "p99", "CPU", "ratio", "(range)", "of CPU", "reach", "verdict"]
    ]
    for row in rows:
        low, high = row["ratio_spread"]
        last = [f"{row['ratio']:.1f}x", f"({low:.1f}-{high:.1f})"]
        last += [f"{row['cpu_ratio']:.1f}x", f"{row['reach']:g}x", row["verdict"]]
        for name, side, end in (
            ("jaxrec", row["ours"], last),
            (f"peer, {row['peer_settings']}", row["peer"], []),
        ):
            milliseconds = [f"{side[quantile]:.1f} ms" for quantile in ("p50_ms", "p99_ms", "cpu_ms")]
            cells.append([row["workload"], name, f"{side['rate']:.1f}", *milliseconds, *end])
    widths = [max(len(line[n]) for line in cells if n < len(line)) for n in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
    return "\n".join([*lines, "", *(f"{row['workload']}: {row['note']}" for row in rows)])


def cpu_features() -> str:
    """The processor's vector instructions, on which both sides' products depend."""
    info = pathlib.Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    return " ".join(flag for flag in flags if flag.startswith(("avx", "amx", "fma"))) or "unknown"


def _trained(case: Case, base: pathlib.Path, quick: bool) -> pathlib.Path:
    """The folder of the case's run, which is trained where it is not there yet."""
    folder = base / pathlib.Path(case.config).stem
    if not (folder / "results.json").is_file():
        command = [
            sys.executable,
            "-m",
            "launch.train",
            case.config,
            "--out",
            str(folder),
            *(QUICK.split() if quick else []),
        ]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table; leaves serve.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny runs and few requests, to see that all is wired up")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one of the cases")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each server, besides one that warms up")
    parser.add_argument("--runs", type=pathlib.Path, help="folder of the runs, which are trained if they are not there")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"), help="folder of JSON")
    arguments = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):  # servers and clients together, as they inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    base = arguments.runs or ROOT / "runs" / ("serve_benchmark_quick" if arguments.quick else "serve_benchmark")
    rows = []
    for case in CASES:
        if arguments.only not in (None, case.name):
            continue
        run = _trained(case, base, arguments.quick)
        with tempfile.TemporaryDirectory() as folder:
            export = pathlib.Path(folder) / "export"
            command = [sys.executable, "-m", "launch.export", str(run), str(export)]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            rows.append(measure(case, run, export, arguments))
    report = {"rows": rows, "clients": CLIENTS, "k": K, "features": cpu_features(), **harness.circumstances()}
    harness.write(arguments.out, "serve", report)
    print(table(rows))
    print(f"{CLIENTS} clients in a closed loop, lists of {K}; servers and clients share {CORES} cores")
    print("CPU: what the server computed for a request, in all its processes")
    print(f"{report['processor']}, {report['features']}")


if __name__ == "__main__":
    main()
