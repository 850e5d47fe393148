"""Imports go down only; the floors, top first, are the table below."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = {
    "launch": 13,
    "jaxrec.__main__": 13,
    "jaxrec.cli": 12,
    "jaxrec": 11,
    "jaxrec.__init__": 11,
    "jaxrec.api": 10,
    "jaxrec.studies": 9,
    "jaxrec.experiment": 8,
    "jaxrec.server": 8,
    "jaxrec.inference": 7,
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
    "jaxrec.training": 1,
    "jaxrec.files": 0,
    "jaxrec.config": 0,
    "jaxrec.keys": 0,
    "jaxrec.ray_cluster": 0,
    "jaxrec.progress": -1,
    "jaxrec.platform": -2,
    "jaxrec.text": -2,
    "jaxrec.types": -2,
}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "launch" else ".".join(parts[:2])


def imports(file: pathlib.Path, *, inside: bool = True) -> list[tuple[int, str]]:
    """Line and name of every import of this project; those inside functions too, or only at the top of the module."""
    found = []
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if inside else tree.body:
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


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, directly or not: what is left when those that import nothing left are removed."""
    left = {module: set(targets) for module, targets in graph.items()}
    while free := [module for module, targets in left.items() if not targets & set(left)]:
        for module in free:
            del left[module]
    return sorted(left)


def module_name(file: pathlib.Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other() -> None:
    names = {module_name(file) for file in FILES}
    graph = {}
    for file in FILES:
        here = module_name(file)
        targets = {name if name in names else name.rpartition(".")[0] for _, name in imports(file, inside=False)}
        # A package's __init__ that gathers its own modules is no circle with them.
        graph[here] = {t for t in targets if t in names and t != here and not here.startswith(f"{t}.")}
    assert circles(graph) == []


def test_rooms_and_files_stay_small() -> None:
    lines = {file: len(file.read_text().splitlines()) for file in ROOT.glob("jaxrec/**/*.py")}
    long = {str(file.relative_to(ROOT)): n for file, n in lines.items() if n > 350}
    assert not long, f"files above 350 lines: {long}"
    rooms: dict[str, int] = {}
    for file, n in lines.items():
        name = room(module_name(file))
        rooms[name] = rooms.get(name, 0) + n
    crowded = {name: n for name, n in rooms.items() if n >= 0.15 * sum(lines.values())}
    assert not crowded, f"rooms with 15% of the {sum(lines.values())} lines or more: {crowded}"


def test_the_check_sees_a_circle() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_the_check_sees_an_upward_import(tmp_path: pathlib.Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from jaxrec.system import system\n")
    assert [room(name) for _, name in imports(bad)] == ["jaxrec.system"]
    assert FLOORS["jaxrec.system"] > FLOORS["jaxrec.data"]
