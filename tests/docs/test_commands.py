"""Commands of README and docs are accepted by the command line, with the presets and options that they name."""

import pathlib
import re
import shlex
from typing import Any

import pytest
import tyro

from jaxrec.baselines.registry import BASELINES, Settings
from jaxrec.cli import serve
from jaxrec.cli.main import COMMANDS, main
from jaxrec.config import load_config, load_study

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
BLOCK = re.compile(r"^(?: {4}|\t)(?!.*`)((?:jaxrec|python -m launch\.).*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:jaxrec |python -m launch\.)[^`\n]+)`")
PLACEHOLDERS = {"CONFIG": "demo", "NAME": "train", "RUN": "runs/mine", "[RUN": "", "...]": "", "...": ""}


def commands() -> list[str]:
    """Every command once, without its comment."""
    lines = [line for page in PAGES for pattern in (BLOCK, INLINE) for line in pattern.findall(page.read_text())]
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in lines})


def arguments_of(command: str) -> list[str]:
    """What stands behind `jaxrec`, with something in place of CONFIG and RUN."""
    words = shlex.split(command.removeprefix("jaxrec ").removeprefix("python -m launch."))
    return [word for word in (PLACEHOLDERS.get(word, word) for word in words) if word]


def options() -> list[str]:
    """Fields of a config that the pages name: `--train.epochs`, `--ids.kind`."""
    found = re.findall(r"--((?:no-)?[a-z_0-9-]+(?:\.[a-z_0-9-]+)+)", "\n".join(page.read_text() for page in PAGES))
    return sorted({name.replace(".no-", ".").replace("-", "_") for name in found})


class Parsed(SystemExit):
    """Carries a command's arguments out of it before it does anything, as --help ends it."""

    def __init__(self, arguments: Any) -> None:
        super().__init__(0)
        self.arguments = arguments


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(command: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *rest = arguments_of(command)
    if name.startswith("-"):
        return
    assert name.replace("_", "-") in COMMANDS, f"there is no command {name}"
    if not rest or "--help" in rest:
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from jaxrec.config import load_config\nconfig = load_config('demo')\n")
    parse = tyro.cli

    def stop(*arguments: Any, **options: Any) -> None:
        raise Parsed(parse(*arguments, **options))

    monkeypatch.setattr(tyro, "cli", stop)
    with pytest.raises(Parsed) as caught:
        main([name, *rest])
    arguments = caught.value.arguments
    if name in ("compare", "tables") and arguments.study:
        assert load_study(arguments.study)
    if name in ("baselines", "sweep"):
        assert load_config(arguments.config)


@pytest.mark.parametrize("name", options())
def test_options_are_fields_of_a_config_a_baseline_or_a_server(name: str) -> None:
    at: Any = load_config("demo")
    if name.split(".")[0] in BASELINES:
        at = Settings()
    if name.startswith(("limits.", "replicas.")):
        at = serve.Arguments(runs=())
    for part in name.split("."):
        at = getattr(at, part)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 40
    assert {arguments_of(command)[0].replace("_", "-") for command in commands()} >= set(COMMANDS)
