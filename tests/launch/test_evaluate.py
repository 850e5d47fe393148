"""`jaxrec evaluate` as users call it; what it measures is tested beside the methods."""

import dataclasses
import sys

import pytest

from jaxrec.api import run as api_run
from jaxrec.cli import evaluate
from jaxrec.config import EvalConfig


@pytest.mark.parametrize(
    ("arguments", "changed", "part"),
    [
        ((), {}, "test"),
        (("--text-beams", "4", "--text-events", "0"), {"text_beams": 4, "text_events": 0}, "test"),
        (("--beams", "30", "--prompt", "both", "--part", "valid"), {"beams": 30, "prompt": "both"}, "valid"),
    ],
)
def test_what_is_asked_changes_the_runs_settings(
    arguments, changed, part, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def load(folder: str, **fields) -> EvalConfig:
        assert folder == "runs/one"
        assert fields.pop("accept_new_data") is False
        assert fields == changed
        return dataclasses.replace(EvalConfig(text_events=7), **fields)  # an unknown field is refused here

    monkeypatch.setattr(api_run.loading, "load", load)
    monkeypatch.setattr(api_run, "_measured", lambda settings, part: f"{part} {settings.text_events}")
    monkeypatch.setattr(sys, "argv", ["launch.evaluate", "runs/one", *arguments])
    evaluate.main()
    assert capsys.readouterr().out.strip() == f"{part} {changed.get('text_events', 7)}"
