"""The audit of a small file and of the real Beauty with the ids that META ID released."""

import pathlib
import re

import pytest

from jaxrec.cli import audit


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["audit", *arguments])
    audit.main()


def test_a_small_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.csv"
    rows = [f"u{u},i{(u + n) % 7},{n % 5 + 1},{86400 * n}" for u in range(12) for n in range(5)]
    path.write_text("\n".join(["user,item,rating,timestamp", *rows, "lost,i1,3,5"]))
    run(monkeypatch, "--data.path", str(path))
    told = capsys.readouterr()
    assert "users 12   items 7   events 60" in told.out
    assert "ratings: 1: 12  2: 12" in told.out
    assert told.out.count("users with fewer than 3 events were dropped: 1 users, 0 items, 1 events") == 1
    assert all(f"\n{name}" in told.out for name in ("popularity", "item-kNN", "transitions"))
    assert "strict protocol" in told.out
    assert "verdict" not in told.out


def test_a_bad_file_is_told_in_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item,rating\nA,x,1\nB,y,good\n")
    with pytest.raises(SystemExit, match="3"):
        run(monkeypatch, "--data.path", str(path))
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: .*events.csv:3: the rating 'good' is not a number", told)


@pytest.mark.long
def test_the_released_beauty_ids(
    real_data: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = real_data / "amazon-beauty"
    ids = [str(folder / f"meta_id_released_{kind}.txt.gz") for kind in ("users", "items")]
    run(monkeypatch, "--data.path", str(folder / "user_sequence.txt.gz"), "--ids", *ids)
    told = capsys.readouterr().out
    assert "users 22,363   items 12,101   events 198,502" in told
    rows = {line.split()[0]: line.split() for line in reversed(told.splitlines()) if line.strip()}  # ties stand below
    heads = rows["system"]
    for system, rate in (("popularity", 0.0120), ("item-kNN", 0.0569), ("transitions", 0.0756)):
        assert float(rows[system][heads.index("HR@10")]) == pytest.approx(rate, abs=0.0005)
    assert "verdict: LEAKED" in told
