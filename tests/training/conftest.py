"""The tiny run of small_run.py, as a module."""

import importlib.util
import pathlib

import pytest

PROGRAM = pathlib.Path(__file__).parent / "small_run.py"


@pytest.fixture(scope="session")
def small():
    spec = importlib.util.spec_from_file_location("small_run", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def program() -> pathlib.Path:
    return PROGRAM
