"""The site's reading of docstrings: sections that follow each other, and brackets that are neither tags nor links."""

import importlib.util
import pathlib

import griffe
import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
SOURCE = '''
def search(z):
    """Scores <z, q> of offsets[n][m], as `<Item>` and `f32[B]`; see [the paper](https://example.org).

    Args:
      z: vectors, f32[B,F].
    Returns:
      scores: the best.
    Raises:
      ValueError: none is left.
    """
'''


@pytest.fixture(scope="module")
def docstring() -> griffe.Docstring:
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    package = griffe.visit("page", filepath=pathlib.Path("page.py"), code=SOURCE)
    griffe.Extensions(module.PlainBrackets()).call("on_object", obj=package["search"], loader=None)
    docstring = package["search"].docstring
    assert docstring is not None
    return docstring


def test_every_section_is_parsed(docstring: griffe.Docstring) -> None:
    sections = docstring.parse("google", warn_missing_types=False)
    assert [section.kind.value for section in sections] == ["text", "parameters", "returns", "raises"]


def test_brackets_are_text_outside_of_code(docstring: griffe.Docstring) -> None:
    first = docstring.value.splitlines()[0]
    assert "&lt;z, q> of offsets&#91;n]&#91;m], as `<Item>` and `f32[B]`" in first
    assert "[the paper](https://example.org)" in first
