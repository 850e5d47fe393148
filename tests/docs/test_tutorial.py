"""The tutorial runs from its source, the notebook is made of it, and the pages' Python names what is there."""

import ast
import importlib
import importlib.util
import json
import pathlib
import re
from types import ModuleType

import pytest

import jaxrec

ROOT = pathlib.Path(__file__).parent.parent.parent
TUTORIAL = ROOT / "docs" / "tutorial"
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]


@pytest.fixture(scope="module")
def notebook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook", TUTORIAL / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_cells_run_in_order(notebook: ModuleType, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, cell in enumerate(notebook.code_cells((TUTORIAL / "index.md").read_text()), start=1):
        exec(compile(cell, f"tutorial cell {number}", "exec"), names)
    run = names["run"]
    assert run.report.is_file()
    assert run.results.rows[0].system == "META ID"
    assert run.results.row("META ID").metrics["hr@10"] > run.results.row("popularity").metrics["hr@10"]
    assert "<html" in run.report.read_text().lower()
    assert "<table" in run.results._repr_html_()
    assert len(run.recommend("newcomer", k=3)) == 3


def test_the_notebook_is_the_page(notebook: ModuleType) -> None:
    written = (TUTORIAL / "tutorial.ipynb").read_text()
    assert written == notebook.notebook((TUTORIAL / "index.md").read_text()), "python docs/tutorial/notebook.py"
    cells = json.loads(written)["cells"]
    assert 10 <= sum(cell["cell_type"] == "code" for cell in cells) <= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_the_pages_names_what_there_is(page: pathlib.Path) -> None:
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxrec":
                for alias in node.names:
                    assert hasattr(importlib.import_module(node.module or ""), alias.name), (
                        f"{node.module}.{alias.name}"
                    )
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "jaxrec":
                    assert hasattr(jaxrec, node.attr), f"jaxrec.{node.attr}"
                if node.value.id == "run":
                    assert hasattr(jaxrec.TrainedRun, node.attr), f"run.{node.attr}"
