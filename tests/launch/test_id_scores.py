"""`launch.id_scores` as users call it; what it computes is tested beside the methods."""

import pathlib
import re
import sys

import pytest

from jaxrec.api import inspection
from jaxrec.cli import id_scores


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.id_scores", *arguments])
    id_scores.main()


def test_a_table_of_the_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: pathlib.Path
) -> None:
    def scores(folder: str, pairs: int) -> dict:
        number = int(folder[-1])
        of = {
            "items": {
                "diversity": float(number),
                "error": 0.5 / pairs,
                "memorization": 0.9,
                "curve": [(1, 2.0, 0.1), (9, 1.0, 0.1)],
            }
        }
        return {"before": of, "after": of, "ndcg@10": number / 100}

    monkeypatch.setattr(inspection, "before_and_after", scores)
    asked(monkeypatch, "runs/1", "runs/2", "runs/3", "--pairs", "50", "--out", str(tmp_path / "new" / "page.html"))
    out = capsys.readouterr().out
    assert "runs/2       2.0000 ± 0.0100       2.0000 ± 0.0100" in out
    assert "over 3 runs (after training): diversity +1.00 (p 0.33), memorization +nan (p nan), sum +1.00" in out
    page = (tmp_path / "new" / "page.html").read_text()
    assert page.count("<svg") == 3
    related = page[page.index("Scores and recommendation") :]
    dots = re.findall(r"<title>(.), diversity \+ memorization (.*?): (.*?)</title>", related)
    assert dots == [("3", "3.9", "0.03"), ("2", "2.9", "0.02"), ("1", "1.9", "0.01")]


def test_what_is_wrong_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (((), "give the folder of a trained run"), (("runs/nothing",), "holds no run")):
        with pytest.raises(SystemExit, match=r"[23]"):
            asked(monkeypatch, *arguments)
        assert message in capsys.readouterr().err
