"""The console command: it lists every command, and each is a module that reads the process's arguments or a list."""

import pathlib

import pytest

from jaxrec import __version__
from jaxrec.cli import main
from jaxrec.cli.arguments import config_from_command_line

COMMANDS = pathlib.Path(main.__file__).parent
LAUNCH = COMMANDS.parent.parent / "launch"


def test_every_command_has_a_module_and_every_script_is_a_command() -> None:
    modules = {command.replace("-", "_") for command in main.COMMANDS}
    assert modules <= {file.stem for file in COMMANDS.glob("*.py")}
    scripts = {file.stem for file in LAUNCH.glob("*.py")} - {"__init__"}
    assert scripts == modules - {"demo"}
    for name in scripts:
        assert f"from jaxrec.cli.{name} import main\n" in (LAUNCH / f"{name}.py").read_text()


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"]):
        main.main(argv)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines if line.startswith("  ")] == list(main.COMMANDS)
    main.main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


def test_an_unknown_command_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["trian"])
    assert caught.value.code == 2
    expected = "error: there is no command 'trian'; did you mean train? There are: demo, train, recommend"
    assert capsys.readouterr().err.startswith(expected)


def test_training_takes_a_preset_a_file_and_overrides() -> None:
    config, show = config_from_command_line(
        ["demo", "--data", "mine.csv", "--out", "here", "--show", "--train.epochs", "2"]
    )
    assert show
    assert (config.data.path, config.data.name, config.out, config.train.epochs) == ("mine.csv", "mine.csv", "here", 2)
    config, show = config_from_command_line(["instruments", "--data=mine.csv", "--data.columns", "user=who"])
    assert not show
    assert (config.data.path, config.data.columns, config.data.items_path) == ("mine.csv", ("user=who",), None)
    config, _ = config_from_command_line(["meta_id_beauty", "--data.path", "folder/mine.csv"])
    assert config.data.name == "mine.csv"  # and not that of the preset's own data
    config, _ = config_from_command_line(["meta_id_beauty", "--data.path=mine.csv", "--data.name", "Mine"])
    assert config.data.name == "Mine"
    config, _ = config_from_command_line(["meta_id_beauty", "--data", "mine.csv", "--data.name=Mine"])
    assert (config.data.name, config.data.path) == ("Mine", "mine.csv")
    assert config_from_command_line(["meta_id_beauty", "--seed", "1"])[0].data.name == "Amazon Beauty"
    with pytest.raises(ValueError, match="--data wants a file"):
        config_from_command_line(["demo", "--data"])


def test_trains_help_names_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        config_from_command_line(["--help"])
    assert caught.value.code == 0
    assert "presets: demo, demo_best" in capsys.readouterr().out
