"""The wheel: jaxrec alone, with presets and templates, and it works from any folder."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BUILD = "import setuptools.build_meta as build, sys; print(build.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements.txt", "jaxrec", "configs"):
        (source / name).symlink_to(ROOT / name)
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_jaxrec_alone_and_all_of_it(wheel: pathlib.Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders - {"jaxrec"} == {name for name in folders if name.endswith(".dist-info")}
    modules = {str(file.relative_to(ROOT)) for file in ROOT.glob("jaxrec/**/*.py")}
    presets = {f"jaxrec/presets/{file.relative_to(ROOT / 'configs')}" for file in ROOT.glob("configs/**/*.py")}
    templates = {str(file.relative_to(ROOT)) for file in (ROOT / "jaxrec/report/templates").iterdir()}
    assert modules | presets | templates | {"jaxrec/server/page.html"} <= set(names)
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "jaxrec = jaxrec.cli.main:main" in zipfile.ZipFile(wheel).read(entry).decode()


def test_it_finds_its_presets_and_templates_from_any_folder(wheel: pathlib.Path, tmp_path: pathlib.Path) -> None:
    installed, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    program = (
        "import jaxrec, pathlib, sys;"
        f"assert pathlib.Path(jaxrec.__file__).is_relative_to({str(installed)!r}), jaxrec.__file__;"
        "print(jaxrec.load_config('demo').name);"
        "from jaxrec.report.page import render_page;"
        "assert '<style>' in render_page('A title', 'a lead', [], footer='the end');"
        "from jaxrec.cli.main import main; main(['--help'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("demo")
    assert "usage: jaxrec COMMAND" in done.stdout
