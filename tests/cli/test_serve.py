"""What `jaxrec serve` refuses before it loads anything."""

import json
import pathlib

import pytest

import jaxrec
from jaxrec.cli import serve


def test_a_blend_is_refused_with_its_runs(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "blend"
    folder.mkdir()
    parts = [
        {"name": "META ID", "kind": "run", "folder": "../meta_id-0"},
        {"name": "transitions", "kind": "counted", "folder": None},
    ]
    (folder / "blend.json").write_text(json.dumps({"parts": parts}))
    wanted = f"{folder} holds a blend, .* serve its runs: jaxrec serve {tmp_path / 'meta_id-0'}$"
    with pytest.raises(ValueError, match=wanted):
        jaxrec.serve(folder)
    with pytest.raises(SystemExit) as ended:
        serve.main([str(folder)])
    assert ended.value.code not in (0, None)
