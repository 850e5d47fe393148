import fnmatch
import json
import pathlib
import shutil
import struct

import huggingface_hub.constants
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from jaxrec.hub import files
from jaxrec.hub.files import folder_of, read_config, read_tensors, write_tensors


def some(n: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {
        f"transposed.{n}": rng.normal(size=(7, 5)).astype(np.float32).T,
        f"every_other.{n}": rng.normal(size=(6, 4)).astype(np.float16)[::2, ::-1],
        f"brain.{n}": rng.normal(size=(3, 2)).astype(ml_dtypes.bfloat16),
        f"one_number.{n}": np.array(2.5),
        f"none.{n}": np.zeros((0, 3), np.int64),
        f"flags.{n}": np.array([True, False, True]),
    }


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)  # of equal shape too


def test_what_is_written_is_read_whatever_the_layout_in_memory(tmp_path: pathlib.Path) -> None:
    write_tensors(tmp_path, some())
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert_same(read_tensors(tmp_path), some())
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
        np.testing.assert_array_equal(file.get_tensor("transposed.0"), some()["transposed.0"])


def test_shards_hold_at_most_so_much_and_their_index_says_where(tmp_path: pathlib.Path) -> None:
    flat = {f"t{n}": np.full(10, n, np.float32) for n in range(5)} | {"large": np.zeros(100, np.float32)}
    write_tensors(tmp_path, flat, shard_bytes=85)
    names = [f"model-0000{n}-of-00004.safetensors" for n in (1, 2, 3, 4)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*names, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 600}
    places = [names[0], names[0], names[1], names[1], names[2], names[3]]
    assert index["weight_map"] == dict(zip(flat, places, strict=True))
    assert_same(read_tensors(tmp_path), flat)


def test_writing_again_leaves_nothing_of_before(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    write_tensors(tmp_path, some(), shard_bytes=20)
    assert len(list(tmp_path.iterdir())) > 4
    read = read_tensors(tmp_path)
    write_tensors(tmp_path, read)  # in place of the files that they come from
    assert_same(read_tensors(tmp_path), some())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "tokenizer.json"]
    write_tensors(tmp_path, some(1), shard_bytes=20)
    assert not (tmp_path / "model.safetensors").exists()
    assert_same(read_tensors(tmp_path), some(1))
    assert_same(read, some())  # and stays readable


def test_nothing_is_no_model(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="nothing to write"):
        write_tensors(tmp_path, {})
    with pytest.raises(ValueError, match="nothing to write"):
        write_tensors(tmp_path, some(), shard_bytes=0)
    with pytest.raises(ValueError, match=r"has no model\.safetensors; it has nothing"):
        read_tensors(tmp_path)


def test_pytorchs_files_are_read_where_there_are_no_others(tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    flat = {f"t{n}": np.arange(n + 2, dtype=np.float32) for n in range(3)}
    tensors = {name: torch.tensor(value) for name, value in flat.items()}
    shards = {"pytorch_model-1.bin": ["t0", "t2"], "pytorch_model-2.bin": ["t1"]}
    for file, names in shards.items():
        torch.save({name: tensors[name] for name in names}, tmp_path / file)
    index = {"weight_map": {name: file for file, names in shards.items() for name in names}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert_same(read_tensors(tmp_path), flat)
    torch.save({"whole": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    assert set(read_tensors(tmp_path)) == {"whole"}
    write_tensors(tmp_path, {"safe": np.zeros(2)})
    assert set(read_tensors(tmp_path)) == {"safe"}


def header(values: object, data: bytes = b"") -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x02",
        b"no tensors at all, but some text",
        struct.pack("<Q", 10**15) + b"{}",  # a header longer than the file
        struct.pack("<Q", 4) + b"{]]}",
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(15)),  # cut short
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(20)),
        header({"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}}, bytes(16)),
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}, bytes(16)),
        header({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 16]}}, bytes(16)),
        header({"a": {"dtype": "F31", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        header([1, 2]),
        header({"a": 3}),
    ],
)
def test_damaged_safetensors_are_named(content: bytes, tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"/model\.safetensors is damaged or not safetensors .*; fetch or write it"):
        read_tensors(tmp_path)


def test_a_dtype_that_numpy_has_not_is_named(tmp_path: pathlib.Path) -> None:
    content = header({"a": {"dtype": "C64", "shape": [2], "data_offsets": [0, 16]}}, bytes(16))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"a in .*/model\.safetensors is C64; wanted one of F64, F32"):
        read_tensors(tmp_path)


def test_tensors_at_odd_addresses_are_read(tmp_path: pathlib.Path) -> None:
    values = np.arange(3, dtype=np.float32)
    entries = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [3], "data_offsets": [1, 13]},
    }
    (tmp_path / "model.safetensors").write_bytes(header(entries, b"\x07" + values.tobytes()))
    found = read_tensors(tmp_path)
    np.testing.assert_array_equal(found["b"], values)
    assert found["b"].flags.aligned
    assert found["a"].tolist() == [7]


def test_mutilated_safetensors_never_fail_otherwise(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    write_tensors(tmp_path, some())
    file = tmp_path / "model.safetensors"
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    refused = read = 0
    for _ in range(300):
        cut = whole.copy()
        cut[rng.integers(0, 420, 3)] = rng.integers(0, 256, 3)
        file.unlink()
        file.write_bytes(cut[: rng.integers(1, len(cut)) if rng.random() < 0.2 else None].tobytes())
        try:
            read_tensors(tmp_path)
        except ValueError as error:
            refused += str(file) in str(error)
            continue
        read += 1
    assert refused + read == 300
    assert refused > 100


def sharded(folder: pathlib.Path, weight_map: object) -> pathlib.Path:
    for name, part in (("a.safetensors", {"x": np.zeros(2), "y": np.ones(2)}), ("b.safetensors", {"z": np.ones(3)})):
        save_file(part, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"x": "a.safetensors", "w": "c.safetensors"}, r"names shards that are not there: c\.safetensors"),
        ({"x": "a.safetensors", "w": "b.safetensors"}, r"says that w is in b\.safetensors, which has no such tensor"),
        ({"x": "b.safetensors", "y": "a.safetensors"}, r"says that x is in b\.safetensors"),
        ({"x": "../a.safetensors"}, r"puts x into '\.\./a\.safetensors'; wanted the name of a file beside it"),
        ({"x": 3}, "puts x into 3"),
        ({}, "has no weight_map"),
        ([], "has no weight_map"),
    ],
)
def test_an_index_that_disagrees_with_its_shards(weight_map: object, message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=rf"model\.safetensors\.index\.json {message}"):
        read_tensors(sharded(tmp_path, weight_map))


def test_a_tensor_in_two_shards(tmp_path: pathlib.Path) -> None:
    folder = sharded(tmp_path, {"x": "a.safetensors", "z": "b.safetensors"})
    assert set(read_tensors(folder)) == {"x", "y", "z"}  # y, which the index forgot, is not lost
    save_file({"y": np.zeros(2), "z": np.zeros(2)}, folder / "b.safetensors")
    with pytest.raises(ValueError, match=r"y is in both a\.safetensors and b\.safetensors"):
        read_tensors(folder)
    (folder / "b.safetensors").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"b\.safetensors is damaged"):
        read_tensors(folder)


def test_configs(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json; it has nothing"):
        read_config(tmp_path)
    file = tmp_path / "config.json"
    for content, message in ((b"{", "JSONDecodeError"), (b"\xff\xfe", "UnicodeDecodeError"), (b"[1]", ".*not list")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"config\.json can't be read as JSON \({message}"):
            read_config(tmp_path)
    file.write_text('{"model_type": "t5"}')
    assert read_config(tmp_path) == {"model_type": "t5"}


def test_folders_and_names(tmp_path: pathlib.Path) -> None:
    assert folder_of(tmp_path, "T5") == tmp_path
    with pytest.raises(ValueError, match="LLaMA 'nobody/nothing' is no folder here, and the hub gave none"):
        folder_of("nobody/nothing", "LLaMA")
    with pytest.raises(ValueError, match="is no folder here"):
        folder_of(tmp_path / "a" / "b" / "c", "T5")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file; give the folder"):
        folder_of(tmp_path / "model.safetensors", "T5")


def test_a_model_in_the_hubs_cache_is_found_offline(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--small"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    write_tensors(snapshot, some())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert_same(read_tensors(folder_of("someone/small", "T5")), some())


@pytest.mark.parametrize(
    ("hub", "fetched"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model.safetensors.index.json", "model-1.safetensors", "other.safetensors", "pytorch_model.bin"], None),
        (["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"], ["pytorch_model.bin"]),
        (["pytorch_model.bin.index.json", "shard.bin", "other.bin"], ["pytorch_model.bin.index.json", "shard.bin"]),
    ],
)
def test_of_the_hubs_files_only_those_that_are_needed_are_fetched(
    hub: list[str], fetched: list[str] | None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    small = ["config.json", "generation_config.json", "tokenizer.json", "spiece.model", "merges.txt"]
    for name in [*hub, *small, "onnx/config.json", "original/model.safetensors", "README.md"]:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("{}")
    for index, shard in (("model.safetensors", "model-1.safetensors"), ("pytorch_model.bin", "shard.bin")):
        if f"{index}.index.json" in hub:
            (there / f"{index}.index.json").write_text(json.dumps({"weight_map": {"x": shard}}))

    def snapshot_download(name: str, *, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        assert name == "someone/model"
        for file in there.rglob("*"):
            path = file.relative_to(there).as_posix()
            allowed = any(fnmatch.fnmatch(path, pattern) for pattern in allow_patterns)
            if file.is_file() and allowed and not any(fnmatch.fnmatch(path, pattern) for pattern in ignore_patterns):
                here.mkdir(exist_ok=True)
                shutil.copy(file, here / path)
        return str(here)

    monkeypatch.setattr(files, "snapshot_download", snapshot_download)
    assert folder_of("someone/model", "T5") == here
    fetched = fetched or ["model.safetensors.index.json", "model-1.safetensors"]
    assert {p.name for p in here.iterdir()} == {*small, *fetched}
