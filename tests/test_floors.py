"""Imports go down only; the floors, top first, are the table below."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = {
    "launch": 13,
    "jaxrec.__main__": 13,
    "jaxrec.cli": 12,
    "jaxrec.studies": 9,
    "jaxrec.experiment": 8,
    "jaxrec.serve": 7,
    "jaxrec.export": 7,
    "jaxrec.report": 7,
    "jaxrec.system": 6,
    "jaxrec.baselines": 5,
    "jaxrec.embedders": 4,
    "jaxrec.hub": 4,
    "jaxrec.tasks": 3,
    "jaxrec.recommend": 3,
    "jaxrec.evaluate": 3,
    "jaxrec.tokenizers": 2,
    "jaxrec.data": 1,
    "jaxrec.models": 1,
    "jaxrec.train": 1,
    "jaxrec.files": 0,
    "jaxrec.types": 0,
    "jaxrec.keys": 0,
    "jaxrec.config": 0,
}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "launch" else ".".join(parts[:2])


def imports(file: pathlib.Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import; write it out"
            module = node.module or ""
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return [(line, name) for line, name in found if name.split(".")[0] in ("jaxrec", "launch")]


FILES = sorted([*ROOT.glob("jaxrec/**/*.py"), *ROOT.glob("launch/**/*.py")])


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_down(file: pathlib.Path) -> None:
    here = room(".".join(file.relative_to(ROOT).with_suffix("").parts))
    for line, name in imports(file):
        there = room(name)
        if there == here or there == "jaxrec.__version__":
            continue
        assert there in FLOORS, f"{file}:{line}: {there} has no floor"
        assert FLOORS[there] < FLOORS[here], f"{file}:{line}: {here} may not import {there}"


def test_the_check_sees_an_upward_import(tmp_path: pathlib.Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from jaxrec.system import system\n")
    assert [room(name) for _, name in imports(bad)] == ["jaxrec.system"]
    assert FLOORS["jaxrec.system"] > FLOORS["jaxrec.data"]
