import dataclasses
import json
import pathlib

import pytest

from jaxrec.config import Config, TrainConfig, data_file, from_dict, load_config, load_study, presets, to_json

CONFIGS = sorted((pathlib.Path(__file__).parent.parent / "configs").glob("**/*.py"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.stem)
def test_every_config_is_built_and_survives_json(file: pathlib.Path) -> None:
    study = load_study(file)
    assert file.stem.endswith("_study") or [config.name for config in study.values()] == [file.stem]
    for config in study.values():
        assert from_dict(Config, json.loads(to_json(config))) == config


def test_there_are_configs() -> None:
    assert {"demo", "meta_id_beauty", "meta_id_beauty_cpu", "meta_id_ml100k", "meta_id_ml100k_cpu"} <= {
        f.stem for f in CONFIGS
    }


def test_presets_are_found_by_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("demo") == load_config("configs/demo.py") == load_config(CONFIGS[0].parent / "demo.py")
    assert list(load_study("demo_study")) == ["META ID", "TokenRec"]
    assert set(presets()) == {file.stem for file in CONFIGS}


def test_a_missing_config_names_those_there_are(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text("config = 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"configs/other.py is neither a file nor a preset; the presets are: demo, "):
        load_config("configs/other.py")
    with pytest.raises(ValueError, match=r"builds no `config = Config"):
        load_config("configs/mine.py")


def test_unknown_fields_are_named() -> None:
    values = json.loads(to_json(Config(name="x")))
    values["train"]["lerning_rate"] = 1
    with pytest.raises(ValueError, match="TrainConfig has no field lerning_rate; it has epochs"):
        from_dict(Config, values)
    assert from_dict(TrainConfig, {"epochs": 2.0}) == dataclasses.replace(TrainConfig(), epochs=2.0)


def test_data_files_are_looked_up(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.txt").write_text("u i\n")
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path))
    assert data_file("set/a.txt") == tmp_path / "set" / "a.txt"
    assert data_file(str(tmp_path / "set" / "a.txt")).is_file()
    with pytest.raises(ValueError, match=r"'set/b.txt' is at none of: set/b.txt, .*; check the path"):
        data_file("set/b.txt")


def test_replace_reaches_fields_of_fields() -> None:
    config = load_config("demo")
    changed = config.replace(name="other", train__epochs=2, train__rows=4, model__t5__d_model=16)
    train = dataclasses.replace(config.train, epochs=2, rows=4)
    model = dataclasses.replace(config.model, t5=dataclasses.replace(config.model.t5, d_model=16))
    assert changed == dataclasses.replace(config, name="other", train=train, model=model)
    assert config.replace() == config


@pytest.mark.parametrize("field", ["trian__epochs", "train__epoch", "model__t5__width", "name__first"])
def test_replace_names_the_fields_there_are(field: str) -> None:
    with pytest.raises(ValueError, match=r"no field"):
        load_config("demo").replace(**{field: 1})
