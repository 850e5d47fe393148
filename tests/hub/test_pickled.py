import builtins
import collections
import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from jaxrec.hub.pickled import read_pickled

torch = pytest.importorskip("torch")

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def saved(what: object, folder: pathlib.Path, **how) -> pathlib.Path:
    file = folder / "pytorch_model.bin"
    torch.save(what, file, **how)
    return file


def archive(
    file: pathlib.Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, **storages: bytes
) -> pathlib.Path:
    """A file as torch.save would write it, of any pickle; storages by s0, s1, ..."""
    with zipfile.ZipFile(file, "w", compression) as out:
        out.writestr("archive/data.pkl", pickled)
        out.writestr("archive/byteorder", "little")
        for name, content in storages.items():
            out.writestr(f"archive/data/{name[1:]}", content)
    return file


def assert_as_pytorch_reads(file: pathlib.Path) -> dict[str, np.ndarray]:
    want, found = torch.load(file, weights_only=True), read_pickled(file)
    assert list(found) == list(want)
    for name, value in want.items():
        assert str(value.dtype).removeprefix("torch.") == found[name].dtype.name, name
        assert tuple(value.shape) == found[name].shape, name
        exact = value.detach().to(torch.float64).numpy()
        np.testing.assert_array_equal(found[name].astype(np.float64), exact, err_msg=name)
    return found


def test_every_dtype_and_shape(tmp_path: pathlib.Path) -> None:
    torch.manual_seed(0)
    tensors = {name: (torch.randn(5, 3) * 50).to(getattr(torch, name)) for name in DTYPES}
    tensors |= {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "empty behind": torch.zeros(6)[6:],
        "five axes": torch.randn(2, 1, 3, 1, 2),
        "many": torch.arange(70_000),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "größe": torch.ones(2),
    }
    assert_as_pytorch_reads(saved(tensors, tmp_path))


def test_views_of_one_storage(tmp_path: pathlib.Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "base": base,
        "transposed": base.T,
        "part": base[1:3, 2:],
        "every other": base[::2, ::3],
        "one row, many times": base[1].expand(5, 6),
        "diagonal": base.diagonal(),
        "permuted": base.reshape(2, 2, 6).permute(2, 0, 1),
        "last": base[3, 5],
    }
    file = saved(tensors, tmp_path)
    found = assert_as_pytorch_reads(file)
    assert np.shares_memory(found["base"], found["part"])
    assert not any(value.flags.writeable for value in found.values())
    assert len([name for name in zipfile.ZipFile(file).namelist() if "/data/" in name]) == 1


def test_a_modules_state_with_its_versions(tmp_path: pathlib.Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3).half())
    state = module.state_dict()
    assert hasattr(state, "_metadata")
    found = assert_as_pytorch_reads(saved(state, tmp_path))
    assert "1.num_batches_tracked" in found


def test_thousands_of_tensors_and_higher_protocols(tmp_path: pathlib.Path) -> None:
    tensors = collections.OrderedDict((f"layer.{n}.weight", torch.full((2,), float(n))) for n in range(2500))
    assert_as_pytorch_reads(saved(tensors, tmp_path))
    for protocol in (3, 4, 5):  # torch.load without pickles has 2 alone
        found = read_pickled(saved(tensors, tmp_path, pickle_protocol=protocol))
        assert list(found) == list(tensors)
        assert all(found[name].tolist() == value.tolist() for name, value in tensors.items())


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Ordered(collections.OrderedDict):
    pass


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "value", "in a list", "argument", "state"])
def test_a_pickle_runs_nothing(place: str, protocol: int, tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "ran"
    for call in (
        Calls(os.system, f"touch {marker}"),
        Calls(builtins.eval, f"open({str(marker)!r}, 'w')"),
        Calls(builtins.exec, f"open({str(marker)!r}, 'w')"),
        Calls(builtins.open, str(marker), "w"),
        Calls(builtins.getattr, "", "join"),
    ):
        held: object = {
            "alone": call,
            "value": {"a": call},
            "in a list": {"a": [1, call]},
            "argument": {"a": Calls(collections.OrderedDict, [("b", call)])},
            "state": {"a": Calls(collections.OrderedDict, call)},
        }[place]
        if place == "state":
            held = Ordered()
            held.hidden = call  # pyright: ignore[reportAttributeAccessIssue]
        pickled = pickle.dumps(held, protocol)
        file = archive(tmp_path / "pytorch_model.bin", pickled)
        with pytest.raises(ValueError, match=r"pytorch_model\.bin .*: refused"):
            read_pickled(file)
        assert not marker.exists()


def test_the_pickles_above_do_run_where_one_lets_them(tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {marker}")))
    assert marker.exists()


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        # A state built into a class or function, which pickle writes into it.
        (b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.", "uses a _Name as a dict"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.", "uses a _Name as a dict"),
        (b"\x80\x02ccollections\nOrderedDict\n(NN\x86ltR.", "LIST"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"(iposix\nsystem\n.", "INST"),
        (b"(cposix\nsystem\no.", r"posix\.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"os\.system"),
        (b"\x80\x02ctorch\nserialization.os.system\n.", r"torch\.serialization\.os\.system"),
        (b"\x80\x04K\x01K\x02\x93.", "uses a int as a str"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", r"calls collections\.OrderedDict with 1 arguments"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", r"calls torch\.FloatStorage with 0 arguments"),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\nNNN\x87R.", "calls torch._utils._rebuild_parameter"),
        (b"\x80\x02K\x01)R.", "uses a int as a Name"),
        (b"\x80\x02}.}", None),
        (b"\x80\x02]K\x01a.", "holds a list, not tensors by name"),
        (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "holds a int under 'a'"),
        (b"\x80\x02}]K\x01s.", "keys are no strings"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "uses a str as a tuple"),
        (b"\x80\x02X\x01\x00\x00\x00a\x85Q.", r"damaged data\.pkl"),
        (b"\x80\x02t.", r"damaged data\.pkl"),
        (b"\x80\x02}", r"damaged data\.pkl"),
        (b"", r"damaged data\.pkl"),
        (b"\xff\xff\xff", r"damaged data\.pkl"),
    ],
)
def test_pickles_that_torch_save_does_not_write(pickled: bytes, message: str | None, tmp_path: pathlib.Path) -> None:
    file = archive(tmp_path / "pytorch_model.bin", pickled)
    if message is None:
        assert read_pickled(file) == {}
        return
    with pytest.raises(ValueError, match=message) as caught:
        read_pickled(file)
    assert str(file) in str(caught.value)
    assert "safetensors.torch.save_file" in str(caught.value)


def tensor(shape: tuple, strides: tuple, offset: object = 0, count: object = 12, kind: str = "FloatStorage") -> bytes:
    """The pickle of {"a": tensor}, its storage 0 announced with `count` values."""
    place = object()

    class Pickler(pickle._Pickler):  # pyright: ignore[reportAttributeAccessIssue]
        def persistent_id(self, obj: object) -> object:
            return ("storage", getattr(torch, kind), "0", "cpu", count) if obj is place else None

    out = io.BytesIO()
    call = Calls(torch._utils._rebuild_tensor_v2, place, offset, shape, strides, False, collections.OrderedDict())
    Pickler(out, 2).dump({"a": call})
    return out.getvalue()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"shape": (3, 4), "strides": (4, 1)}, None),
        ({"shape": (13,), "strides": (1,)}, "reaches past its 12 values"),
        ({"shape": (3, 4), "strides": (4, 1), "offset": 1}, "reaches past"),
        ({"shape": (3, 4), "strides": (5, 1)}, "reaches past"),
        ({"shape": (2,), "strides": (10**18,)}, "past its 12 values"),
        ({"shape": (2,), "strides": (-1,), "offset": 5}, "which cannot be"),
        ({"shape": (-2,), "strides": (1,)}, "which cannot be"),
        ({"shape": (2,), "strides": (1,), "offset": -1}, "which cannot be"),
        ({"shape": (2.0,), "strides": (1,)}, "which cannot be"),
        ({"shape": (2, 2), "strides": (1,)}, "which cannot be"),
        ({"shape": (1,) * 80, "strides": (1,) * 80}, r"\(1, 1, .*, \.\.\. 80 in all\).* which cannot be"),
        ({"shape": (10**30,), "strides": (0,)}, "which cannot be"),
        ({"shape": (0, 10**30), "strides": (1, 1)}, "which cannot be"),
        ({"shape": (10**18,), "strides": (0,)}, "repeats its 12 values too often"),
        ({"shape": (2,), "strides": (1,), "count": 13}, "48 bytes in archive/data/0; 13 of float32"),
        ({"shape": (2,), "strides": (1,), "count": 12.0}, "names a storage"),
        ({"shape": (2,), "strides": (1,), "kind": "DoubleStorage"}, "12 of float64 were announced"),
        ({"shape": (2,), "strides": (1,), "kind": "ComplexFloatStorage"}, r"torch\.ComplexFloatStorage"),
    ],
)
def test_no_tensor_reaches_past_its_storage(how: dict, message: str | None, tmp_path: pathlib.Path) -> None:
    values = np.arange(12, dtype=np.float32)
    file = archive(tmp_path / "pytorch_model.bin", tensor(**how), s0=values.tobytes())
    if message is None:
        np.testing.assert_array_equal(read_pickled(file)["a"], values.reshape(3, 4))
        return
    with pytest.raises(ValueError, match=message) as caught:
        read_pickled(file)
    assert str(file) in str(caught.value)


def test_archives_of_other_kinds(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    pickled, data = tensor((12,), (1,)), bytes(48)

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            read_pickled(file)
        assert str(file) in str(caught.value)

    with pytest.raises(FileNotFoundError):
        read_pickled(file)
    archive(file, pickled)
    refused(r"has no archive/data/0, which a tensor lies in")
    archive(file, pickled, zipfile.ZIP_DEFLATED, s0=data)
    refused("compressed")
    whole = archive(file, pickled, s0=data).read_bytes()
    for length in (3, 40, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(r"is damaged or cut short")
    broken = bytearray(whole)
    broken[whole.index(data) + 5] = 1
    file.write_bytes(broken)
    refused(r"is damaged or cut short")
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/version", "3")
    refused(r"has no data\.pkl")
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", pickled)
        out.writestr("archive/data/0", data)
        out.writestr("archive/byteorder", "big")
    refused("has big-endian tensors")
    archive(file, pickled, s0=data)
    with zipfile.ZipFile(file, "a") as out:
        out.writestr("archive/code/__torch__.py", "import os")
    refused("is a TorchScript archive, which holds code")
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    refused("is no zip archive")
    saved({"a": torch.ones(2)}, tmp_path, _use_new_zipfile_serialization=False)
    refused(r"is no zip archive, as PyTorch 1\.6 and later write; load it")
    saved(torch.nn.Linear(2, 2), tmp_path)
    refused(r"wants torch\.nn\.modules\.linear\.Linear, which is no part of a tensor: refused")
    saved({"state_dict": {"a": torch.ones(2)}}, tmp_path)
    refused("holds a dict under 'state_dict', not tensors by name")
    saved({"a": torch.ones(2), "epoch": 3}, tmp_path)
    refused("holds a int under 'epoch'")


def test_mutilated_pickles_never_fail_otherwise(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    whole = np.frombuffer(tensor((3, 4), (4, 1)), np.uint8)
    refused = read = 0
    for _ in range(600):
        cut = whole.copy()
        where = rng.integers(0, len(cut), 2)
        cut[where] = rng.integers(0, 256, 2)
        file = archive(tmp_path / "pytorch_model.bin", cut.tobytes(), s0=bytes(48))
        try:
            read_pickled(file)
        except ValueError as error:
            refused += str(file) in str(error)
            continue
        read += 1
    assert refused + read == 600
    assert refused > 300
