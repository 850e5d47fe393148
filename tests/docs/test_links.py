"""Links of README, CONTRIBUTING and the pages of docs/ lead somewhere."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    """A page's prose: no fenced or indented block and no code between backticks."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page: pathlib.Path) -> set[str]:
    """What a page's headings are called in an address."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: pathlib.Path) -> None:
    for address in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", address):
            continue
        path, _, anchor = address.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {address}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {address}"


def test_every_page_of_the_site_is_in_its_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        assert name in menu or re.fullmatch(r"results/\w+-table-\d+\.md", name), name


def test_a_broken_link_is_seen(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title, with `code`\n\n[gone](gone.md) and `[code](is.no/link)`\n\n    [nor](this)\n")
    assert LINK.findall(without_code(page.read_text())) == ["gone.md"]
    assert anchors(page) == {"a-title-with-code"}


def test_modules_of_the_reference_are_there() -> None:
    pages = list((ROOT / "docs" / "reference").glob("*.md"))
    modules = [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    assert len(modules) > 40
    for name in modules:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_the_pages_name_are_there(page: pathlib.Path) -> None:
    for name in re.findall(r"`((?:jaxrec|tests|benchmarks|configs|launch|docs)/[\w./]*)`", page.read_text()):
        assert (ROOT / name).exists(), name
