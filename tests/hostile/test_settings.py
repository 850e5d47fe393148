"""Every setting with values that no one means: refused with its name before anything is read, or in its range."""

import dataclasses
import math
import pathlib
import re
import runpy
import time
import typing
from typing import Annotated, Any

import pytest

from jaxrec.baselines.registry import BASELINES
from jaxrec.cli import main
from jaxrec.config import Config, EvalConfig, TrainConfig
from jaxrec.config.checks import check_config
from jaxrec.config.descriptions import docstrings, sections
from jaxrec.config.limits import Limits, allowed, check_limits, hints, limits_of

ROOT = pathlib.Path(__file__).parent.parent.parent
NUMBERS = (0, -1, -0.5, math.nan, math.inf, -math.inf, 2**31, 2**32, 2**63, 2**200, 1e6, 1e39, 1e300, 10**6)
TUPLES = ((), ("a",), (0,), (-1,), (2**63,), (math.nan,))
ODD = (*NUMBERS, *TUPLES, None, True, "", "1", "x\x1b[31m", [1], {}, b"1", object)
"""Values for any field."""


def fields(settings: Any, path: str = "") -> list[str]:
    """Paths of all fields of a config that are not dataclasses, joined by two underscores as `Config.replace` reads."""
    paths = []
    for field in dataclasses.fields(settings):
        value, own = getattr(settings, field.name), f"{path}__{field.name}".strip("_")
        paths += fields(value, own) if dataclasses.is_dataclass(value) else [own]
    return paths


def limits_at(config: Any, path: str) -> Any:
    *parents, name = path.split("__")
    for parent in parents:
        config = getattr(config, parent)
    return hints(type(config))[name]


def test_every_field_refuses_or_takes_every_odd_value(tiny: Config) -> None:
    started, refused, taken = time.monotonic(), 0, 0
    for path in fields(tiny):
        for value in ODD:
            config = tiny.replace(**{path: value})
            try:
                check_config(config)
            except ValueError as error:
                message = str(error)
                assert path.split("__")[-1] in message, (path, value, message)
                assert len(message) < 400, message
                assert message.isprintable(), (path, value, message)
                refused += 1
            else:
                numbers = value if isinstance(value, tuple) else (value,)
                assert all(math.isfinite(n) for n in numbers if isinstance(n, float)), (path, value)
                assert all(-(2**31) < n < 2**41 for n in numbers if isinstance(n, int | float)), (path, value)
                taken += 1
    assert refused > 2000
    assert taken > 100
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train__rows", 0, "train.rows is 0; it must be at least 1 and at most 65,536"),
        ("train__steps", 0, "train.steps is 0; it must be at least 1"),
        ("train__patience", -1, "train.patience is -1; it must be at least 0"),
        ("train__clip", -1, "train.clip is -1; it must be at least 0"),
        ("train__label_smoothing", 5, "train.label_smoothing is 5; it must be at least 0 and below 1"),
        ("train__average", 2, "train.average is 2; it must be"),
        ("train__source_length", 10**6, r"train.source_length is 1000000; .* \(memory grows with its square\)"),
        ("train__learning_rate", math.nan, "train.learning_rate is nan; it must be a finite number, above 0"),
        ("train__epochs", "3", "train.epochs is '3'; it must be a number"),
        ("train__rows", 2.0, "train.rows is '2.0'; it must be a whole number"),
        ("train__rows", True, "train.rows is 'True'; it must be a whole number"),
        ("seed", 2**32, r"seed is 4294967296; it must be .* 4,294,967,295 \(scikit-learn"),
        ("model__t5__encoder_layers", 0, "model.t5.encoder_layers is 0; it must be at least 1"),
        ("model__t5__buckets", 31, "model.t5.buckets is 31; it must be even"),
        ("model__llama__kv_heads", 3, "model.llama.kv_heads is 3; it must divide the 32 heads"),
        ("quantizer__ema", 2, "quantizer.ema is 2"),
        ("quantizer__hidden", (8, 0), r"quantizer.hidden\[1\] is 0; it must be at least 1"),
        ("lightgcn__losses", "bpr", "lightgcn.losses is 'bpr'; it must be a tuple"),
        ("task__tasks", ("direct", "indirect"), r"task.tasks\[1\] is 'indirect'; it must be one of: sequential, "),
        ("data__split", "Strict", "data.split is 'Strict'; it must be one of: strict, temporal"),
        ("data__world", 3, "data.world is '3'; it must be a WorldConfig"),
        ("name", "", "name is empty"),
    ],
)
def test_what_means_something_else_is_refused(tiny: Config, path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_config(tiny.replace(**{path: value}))


def test_the_ends_of_a_range_belong_to_it_or_not() -> None:
    limits = Limits(at_least=0, below=1)
    assert [limits.hold(value) for value in (-1e-9, 0, 0.5, 1)] == [False, True, True, False]
    assert [Limits(above=0, at_most=2).hold(value) for value in (0, 1e-9, 2, 2.1)] == [False, True, True, False]
    assert allowed(Annotated[int | None, Limits(at_least=1)]) == "a whole number, at least 1; or None"
    check_limits(TrainConfig(steps=None))
    check_limits(TrainConfig(learning_rate=1))


def test_every_number_has_a_range() -> None:
    """Every int and float of every settings dataclass, so that a new field can't forget it."""
    for settings in (Config(name="x"), *(baseline.settings for baseline in BASELINES.values())):
        for path in fields(settings):
            hint = limits_at(settings, path)
            if re.search(r"\b(int|float)\b", str(typing.get_args(hint) or hint)):
                assert limits_of(hint), path


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baselines_settings_are_checked(name: str) -> None:
    settings = BASELINES[name].settings
    check_limits(settings, name)
    for path in fields(settings):
        for value in (-1, math.nan, 2**63, "x"):
            *parents, field = path.split("__")
            if parents or (isinstance(getattr(settings, field), str) and isinstance(value, str)):
                continue
            with pytest.raises(ValueError, match=rf"{name}\.{field}"):
                check_limits(dataclasses.replace(settings, **{field: value}), name)


def test_the_page_of_settings_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]()
    assert (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8") == page, "run docs/settings.py"
    assert "|  |" not in page, "a setting has no docstring: write a sentence below it"
    assert "| `train.rows` | `16` | a whole number, at least 1 and at most 65,536 |" in page
    assert all(f"| `eval.{field.name}` |" in page for field in dataclasses.fields(EvalConfig))


def test_descriptions_hold_docstrings_and_defaults() -> None:
    settings = {f"{path}.{one.name}": one for path, _, own in sections(Config(name="x")) for one in own}
    assert settings["train.patience"].default == 3
    assert settings["train.patience"].text.startswith("Validations without a better value")
    assert docstrings(type(BASELINES["sasrec"].settings))["length"].startswith("Maximum number of newest items")


def test_help_shows_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["train", "demo", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Packed rows in a global batch. At least 1 and at most 65,536." in shown
    assert "Fraction of the steps over which the learning rate rises linearly. At least 0 and below 1." in shown


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "demo", "--train.rows", "0"],
        ["recommend", "no-such-run", "--user", "x", "-k", "0"],
        ["evaluate", "no-such-run", "--beams", "0"],
        ["compare", "demo_study", "--seeds", "-1"],
        ["baselines", "demo", "--sasrec.dim", "0"],
        ["blend", "no-such-run", "--users", "-1"],
    ],
    ids=lambda argv: argv[0],
)
def test_commands_refuse_before_anything_is_read(
    argv: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main.main(argv)
    assert caught.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert argv[-2].strip("-").split(".")[-1] in line
    assert "it must be" in line
    assert not any(tmp_path.iterdir())
