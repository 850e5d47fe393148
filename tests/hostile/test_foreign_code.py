"""Code that a folder brings along is never run and never offered; hostile names stay text in an export's README."""

import builtins
import json
import pathlib
from collections.abc import Callable

import markdown_it
import pytest

from jaxrec.export.card import block, code, escaped
from jaxrec.inference import newcomers
from jaxrec.system import loading
from jaxrec.tokenizers.vocabulary import load_text_tokenizer, safe_tokenizer, train_text_tokenizer

HOSTILE = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) ``` `x` **b** ![i](http://a/b) <script>\n# head"


@pytest.fixture
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks gets a yes, and the test fails."""

    def answer(*_: object) -> str:
        raise AssertionError("asked whether to run code")

    monkeypatch.setattr(builtins, "input", answer)


def with_code(folder: pathlib.Path, mark: pathlib.Path) -> None:
    """Adds a tokenizer class of its own to a folder, and a config that names it."""
    (folder / "evil.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nfrom transformers import PreTrainedTokenizerFast\n"
        "class Evil(PreTrainedTokenizerFast):\n    pass\n"
    )
    file = folder / "tokenizer_config.json"
    content = json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    file.write_text(json.dumps(content | {"tokenizer_class": "Evil"}))
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}))


@pytest.mark.usefixtures("no_questions")
def test_a_folder_of_weights_runs_no_code(tmp_path: pathlib.Path) -> None:
    train_text_tokenizer(["some words to start from"], size=300).save_pretrained(tmp_path / "hub")
    with_code(tmp_path / "hub", tmp_path / "ran")
    with pytest.raises(ValueError, match="trust_remote_code"):
        safe_tokenizer(tmp_path / "hub")
    with pytest.raises(ValueError, match="no tokenizer at"):
        load_text_tokenizer(tmp_path / "hub")
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("no_questions")
def test_a_run_folder_runs_no_code(finished_run: Callable, tmp_path: pathlib.Path) -> None:
    folder = finished_run("META ID", tmp_path / "run").folder
    with_code(folder / "tokenizer", tmp_path / "ran")
    with pytest.raises(ValueError, match=r"tokenizer_config.json is damaged"):
        loading.load(folder)
    (folder / "tokenizer" / "sums.json").unlink()  # as whoever sends such a folder would see to
    with pytest.raises(ValueError, match=r"the tokenizer in .* can't be read .*contains custom code"):
        loading.load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_store_that_is_a_dangling_link_is_told(finished_run: Callable, tmp_path: pathlib.Path) -> None:
    system = finished_run("META ID", tmp_path / "run")
    (system.folder / "store").rename(tmp_path / "moved")
    (system.folder / "store").symlink_to(tmp_path / "elsewhere")
    for use in (newcomers.served, newcomers.fill_store):
        with pytest.raises(ValueError, match=r"store is a link to .*elsewhere, where nothing is"):
            use(system)
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    newcomers.served(system)


@pytest.mark.parametrize("text", [HOSTILE, "runs/my-run_2", "*a*_b_", "a\u202eb", "``", "https://a.b/c"])
def test_names_are_text_in_markdown(text: str) -> None:
    """As a renderer of CommonMark sees it: the text, no markup."""
    render = markdown_it.MarkdownIt("commonmark", {"html": True})
    (_, inline, _) = render.parse(f"# {escaped(text)}")
    assert {child.type for child in inline.children or ()} == {"text"}
    (_, inline, _) = render.parse(f"started from {code(text)}, then")
    assert [child.type for child in inline.children or ()] == ["text", "code_inline", "text"]
    (fence,) = render.parse(block(f"{text}\n```\n{text}", "python"))
    assert fence.type == "fence"


def test_a_plain_name_stays_as_it_is() -> None:
    assert escaped("META ID autoregressive on ml-1m.inter (5-core)") == "META ID autoregressive on ml-1m.inter (5-core)"
