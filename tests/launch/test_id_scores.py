"""`launch.id_scores` as users call it; what it computes is tested beside the methods."""

import sys

import pytest

from launch import id_scores


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.id_scores", *arguments])
    id_scores.main()


def test_a_table_of_the_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def scores(folder: str, pairs: int) -> dict:
        number = int(folder[-1])
        of = {"items": {"diversity": float(number), "error": 0.5 / pairs, "memorization": 0.9}}
        return {"before": of, "after": of, "ndcg@10": number / 100}

    monkeypatch.setattr(id_scores, "before_and_after", scores)
    asked(monkeypatch, "runs/1", "runs/2", "runs/3", "--pairs", "50")
    out = capsys.readouterr().out
    assert "runs/2       2.0000 ± 0.0100       2.0000 ± 0.0100" in out
    assert "over 3 runs (after training): diversity +1.00, memorization +nan, sum +1.00" in out


def test_what_is_wrong_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (((), "give the folder of a trained run"), (("runs/nothing",), "holds no run")):
        with pytest.raises(SystemExit, match=message):
            asked(monkeypatch, *arguments)
