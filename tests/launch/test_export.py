"""`python -m launch.export` as users call it."""

import dataclasses
import pathlib

import pytest

from jaxrec import experiment
from jaxrec.config import load_config


@pytest.mark.long
def test_export_and_refuse(tmp_path: pathlib.Path, launch, tiny_config: str) -> None:
    (tmp_path / "tiny.py").write_text(tiny_config)
    config = load_config(tmp_path / "tiny.py")
    train = dataclasses.replace(config.train, steps=4)
    experiment.train(dataclasses.replace(config, out=str(tmp_path / "run"), train=train))
    code, out, err = launch("export", "run", "out", "--samples", "8", "--push", "me/model", folder=tmp_path)
    assert code == 2  # there is no hub here
    assert "exported to out; compare it with jaxrec: python out/recommend.py --check" in out
    assert "error: the hub" in err
    assert "out is complete" in err
    code, out, err = launch("export", "run", "out", folder=tmp_path)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: out is there already and not empty")
