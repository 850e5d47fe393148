"""Exported folders: the same model comes back bit by bit, whatever was folded in; tables, samples, the hub."""

import json
import pathlib

import huggingface_hub
import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

from jaxrec.config import OovConfig, RetrievalConfig, T5Config
from jaxrec.export import model_folder as export
from jaxrec.export import push, tables
from jaxrec.files import InUseError
from jaxrec.models.lightgcn import Events, events
from jaxrec.models.retriever import Retriever
from jaxrec.models.sparse import edges
from jaxrec.models.t5 import T5
from jaxrec.tasks import ragged
from jaxrec.tokenizers import vocabulary as vocabularies
from jaxrec.tokenizers.vocabulary import Vocabulary

NAMES = ["<User>", "<Item>", *(f"<C{n}>" for n in range(8))]
SHAPE = {"d_model": 16, "d_kv": 4, "heads": 2, "d_ff": 24, "encoder_layers": 2, "decoder_layers": 1}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return vocabularies.extend(vocabularies.train_text_tokenizer(["some words to start from"], size=300), NAMES)


def made(vocabulary: Vocabulary, scope: str, **shape) -> T5:
    anchors = np.random.default_rng(0).normal(size=(len(NAMES), 5)).astype(np.float32)
    anchors[:2] = 0
    config = T5Config(vocab=vocabulary.size, **{**SHAPE, **shape})
    return T5(config, OovConfig(scope, alpha=0.3), anchors, vocabulary.first_oov, rngs=nnx.Rngs(3))


def stored(folder: pathlib.Path, model: T5 | Retriever, vocabulary: Vocabulary, dtype="float32", shard_bytes=10**9):
    folder.mkdir()
    export.write_model(folder, model, vocabulary, {"eos_token_id": 1}, dtype=dtype, shard_bytes=shard_bytes)
    tables.write_json(folder / export.ABOUT, export.describe(model, vocabulary, dtype))
    return folder


def flat(model: nnx.Module) -> dict[str, np.ndarray]:
    return {"/".join(map(str, path)): np.asarray(v[...]) for path, v in nnx.to_flat_state(nnx.state(model))}


@pytest.mark.parametrize("shape", [{}, {"tied": False, "activation": "gated-gelu"}], ids=["v1.0", "v1.1"])
@pytest.mark.parametrize("scope", ["shared", "encoder", "none"])
def test_what_is_read_is_what_was_exported(
    vocabulary: Vocabulary, tmp_path: pathlib.Path, scope: str, shape: dict
) -> None:
    model = made(vocabulary, scope, **shape)
    again = export.read(stored(tmp_path / "out", model, vocabulary, shard_bytes=20_000))
    assert len(list((tmp_path / "out").glob("model-*-of-*.safetensors"))) > 1
    assert again.config == model.config
    one, other = flat(model), flat(again)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    source = np.arange(250, 260, dtype=np.int32)[None] + 40
    for a, b in zip(jax.tree.leaves(model.read(source)), jax.tree.leaves(again.read(source))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scope", ["shared", "encoder", "none"])
def test_bfloat16_rounds_once(vocabulary: Vocabulary, tmp_path: pathlib.Path, scope: str) -> None:
    model = made(vocabulary, scope)
    again = flat(export.read(stored(tmp_path / "out", model, vocabulary, "bfloat16")))
    for name, value in flat(model).items():
        whole = name in ("embedding/kernel", "embedding/anchors")
        wanted = value if whole else value.astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(again[name], wanted, err_msg=name)


def test_transformers_loads_it_and_agrees(vocabulary: Vocabulary, tmp_path: pathlib.Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = made(vocabulary, "encoder")
    folder = stored(tmp_path / "out", model, vocabulary)
    theirs, info = transformers.T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    draw = np.random.default_rng(1)
    source, inputs = draw.integers(2, vocabulary.first_oov + 10, (2, 3, 12)).astype(np.int32)
    ours = model(source, np.ones_like(source), inputs, np.ones_like(inputs))
    with torch.no_grad():
        want = theirs(input_ids=torch.tensor(source).long(), decoder_input_ids=torch.tensor(inputs).long()).logits
    np.testing.assert_allclose(model.logits(ours), want, atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for place, name in enumerate(NAMES):
        for text in (name, f"{name}{name}", f"some {name} words"):
            tokens = tokenizer(text)["input_ids"]
            assert tokens.count(vocabulary.first_oov + place) == text.count(name)


def test_a_projection_has_pytorchs_layout(vocabulary: Vocabulary, tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(2)
    known: Events = events(edges(np.array([0, 1]), np.array([1, 2]), 4), 2)
    items, users = draw.normal(size=(4, 6)).astype(np.float32), draw.normal(size=(2, 6)).astype(np.float32)
    model = Retriever(
        made(vocabulary, "none"), RetrievalConfig(hidden=7), np.array([5, 6]), items, users, known, rngs=nnx.Rngs(4)
    )
    folder = stored(tmp_path / "out", model, vocabulary)
    from safetensors.torch import load_file

    layers = torch.nn.ModuleDict(
        {n: torch.nn.Linear(i, o) for n, i, o in zip(("first", "second", "third"), (16, 7, 7), (7, 7, 6))}
    )
    layers.load_state_dict(load_file(folder / "projection.safetensors"))
    x = draw.normal(size=(2, 3, 16)).astype(np.float32)
    with torch.no_grad():
        want = layers["third"](layers["second"](layers["first"](torch.tensor(x)).relu()).relu())
    np.testing.assert_allclose(model.project(x), want, atol=1e-5)
    for name, value in flat(model.backbone).items():
        np.testing.assert_array_equal(value, flat(export.read(folder))[name])


def test_a_folder_that_is_there_is_kept(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "new" / "out"
    part = out.with_name(f"out{export.PART}")
    (part / "folder").mkdir(parents=True)
    (part / "left").write_text("by a call that was killed")
    mine = out.with_name("out.part")
    mine.mkdir()
    (mine / "mine.txt").write_text("dear")
    part = export.begin(out)
    assert not list(part.iterdir())
    with pytest.raises(InUseError, match="is being written by another export"):
        export.begin(out)
    assert (mine / "mine.txt").is_file()
    (part / export.ABOUT).write_text("{}")
    out.mkdir()  # empty
    assert export.finish(part, out) == out
    (out / "mine.txt").write_text("dear")
    with pytest.raises(ValueError, match="is there already and not empty; name another folder"):
        export.begin(out)
    assert (out / "mine.txt").read_text() == "dear"
    (tmp_path / f"other{export.PART}").write_text("mine too")
    with pytest.raises(ValueError, match="is in the way, and is no folder that an export was made in"):
        export.begin(tmp_path / "other")


def test_folders_that_can_not_be_read(vocabulary: Vocabulary, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"has no jaxrec\.json"):
        export.read(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere is no folder; wanted one with jaxrec\.json"):
        export.read(tmp_path / "nowhere")
    folder = stored(tmp_path / "out", made(vocabulary, "encoder"), vocabulary)
    about = json.loads((folder / export.ABOUT).read_text())
    (folder / export.EXTRAS).rename(tmp_path / "extras")
    with pytest.raises(ValueError, match=r"has no jaxrec\.safetensors"):
        export.read(folder)
    (tmp_path / "extras").rename(folder / export.EXTRAS)
    about["shape"]["d_ff"] = 25
    tables.write_json(folder / export.ABOUT, about)
    with pytest.raises(ValueError, match=r"is \(16, 24\), which is not what jaxrec\.json describes"):
        export.read(folder)
    tables.write_json(folder / export.ABOUT, about | {"format": 99})
    with pytest.raises(ValueError, match="has format 99, this version reads 1"):
        export.read(folder)
    (folder / "adapter_config.json").write_text("{}")
    tables.write_json(folder / export.ABOUT, about)
    with pytest.raises(ValueError, match="holds an adapter alone"):
        export.read(folder)


def test_the_script_reads_tables_and_shuffles_as_we_write_and_do(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("torch")
    from jaxrec.export import standalone

    names = ["plain", "with\ttab", "two\nlines\r", "back\\slash\\n", "", "\u2028 and \x85 ü", r"\t"]
    tables.write_tsv(tmp_path / "t.tsv", {"name": names, "id": ["x"] * len(names)})
    assert standalone.read_tsv(tmp_path / "t.tsv") == [{"name": name, "id": "x"} for name in names]
    for user, n in ((0, 5), (7, 1), (123456, 20)):
        wanted, _ = ragged.shuffle_rows(
            (np.arange(n), np.array([0, n])), np.array([True]), np.array([user]).astype(np.uint64)
        )
        assert standalone.shuffled(list(range(n)), user) == wanted.tolist()


class FakeHub:
    """The two calls that an upload takes, and a mood."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem, self.calls = problem, []

    def create_repo(self, name: str, **options) -> str:
        if self.problem is not None:
            raise self.problem
        self.calls.append((name, options))
        return f"https://hub/{name}"

    def upload_folder(self, **options) -> None:
        self.calls.append(options)


def test_push_uploads_the_folder_privately(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub()
    monkeypatch.setattr(push, "HfApi", lambda: hub)
    assert push.push(tmp_path, "me/model") == "https://hub/me/model"
    (name, options), upload = hub.calls
    assert (name, options) == ("me/model", {"private": True, "exist_ok": True})
    assert (upload["repo_id"], upload["folder_path"]) == ("me/model", tmp_path)
    assert upload["ignore_patterns"] == upload["delete_patterns"] == [*push.ABOUT_USERS]
    push.push(tmp_path, "me/model", users=True)
    assert not {"ignore_patterns", "delete_patterns"} & hub.calls[-1].keys()


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (LocalTokenNotFoundError("none"), "nobody is logged in to the hub; run `hf auth login`"),
        (OfflineModeIsEnabled("offline"), "the hub can't be reached"),
        (huggingface_hub.errors.HFValidationError("bad name"), "the hub refused 'me/model'; check the name"),
    ],
)
def test_push_says_what_is_wrong(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, message: str
) -> None:
    monkeypatch.setattr(push, "HfApi", lambda: FakeHub(problem))
    with pytest.raises(ValueError, match=message):
        push.push(tmp_path, "me/model")


def test_push_offline_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="hub"):
        push.push(tmp_path, "nobody/no-such-model")
