import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from jaxrec.config import OovConfig, T5Config
from jaxrec.hub.files import write_tensors
from jaxrec.hub.t5 import HEAD, TABLE, read_t5, t5_config_json, tensor_names, to_hf
from jaxrec.hub.weights import load_weights
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.t5 import T5
from jaxrec.types import Batch

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TINY = {
    "vocab_size": 96,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
}
SMALL = {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
V10 = {"feed_forward_proj": "relu", "tie_word_embeddings": True}
V11 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def torch_model(**shape):
    torch.manual_seed(0)
    config = transformers.T5Config(**shape, dropout_rate=0.0, decoder_start_token_id=0, pad_token_id=0)
    model = transformers.T5ForConditionalGeneration(config).eval()
    for name, value in model.named_parameters():
        if "layer_norm" in name:  # all ones at the start, which would hide a wrong place
            value.data += 0.3 * torch.randn_like(value)
    if not shape["tie_word_embeddings"]:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(shape["vocab_size"], shape["d_model"]))
        model.config.tie_word_embeddings = False
    return model


def store(model, folder: pathlib.Path) -> pathlib.Path:
    """What `save_pretrained` writes, without its progress bar."""
    folder.mkdir()
    flat = {name: np.ascontiguousarray(value.numpy()) for name, value in model.state_dict().items()}
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        flat.pop(name)
    if model.config.scale_decoder_outputs:
        flat.pop("lm_head.weight")
    save_file(flat, folder / "model.safetensors")
    (folder / "config.json").write_text(model.config.to_json_string())
    return folder


def load(folder: pathlib.Path, config: T5Config | None = None) -> T5:
    found, flat = read_t5(folder)
    config = config or found
    model = T5(config, OovConfig("none"), None, config.vocab, rngs=nnx.Rngs(0))
    fill(model, flat)
    return model


def fill(model: T5, flat: dict[str, np.ndarray], **how) -> None:
    load_weights(model, flat, tensor_names(model.config), tables=(TABLE, HEAD), **how)


@jax.jit
def logits(model: T5, source: jax.Array, inputs: jax.Array) -> jax.Array:
    return model.logits(model.decode(inputs, model.encode(source), (source != 0).astype(jnp.int32)))


def rows(vocab: int, source: int = 40, target: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = rng.integers(2, vocab, (3, source)), rng.integers(2, vocab, (3, target))
    x[0, source // 2 :] = 0
    y[1, target // 2 :] = 0
    return x.astype(np.int32), y.astype(np.int32)


@pytest.mark.parametrize(
    "shape",
    [TINY | V10, TINY | V11, pytest.param(SMALL | V10, marks=pytest.mark.soak)],
    ids=["tiny-v1.0", "tiny-v1.1", "small-v1.0"],
)
def test_logits_equal_pytorchs(shape: dict, tmp_path: pathlib.Path) -> None:
    theirs = torch_model(**shape)
    ours = load(store(theirs, tmp_path / "t5"))
    x, y = rows(shape["vocab_size"], source=300 if shape["vocab_size"] < 100 else 40)
    inputs = np.pad(y[:, :-1], ((0, 0), (1, 0)))
    with torch.no_grad():
        want = theirs(
            input_ids=torch.tensor(x), attention_mask=torch.tensor(x != 0), decoder_input_ids=torch.tensor(inputs)
        ).logits.numpy()
    np.testing.assert_allclose(logits(ours, x, inputs), want, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [TINY | V10, TINY | V11], ids=["v1.0", "v1.1"])
def test_the_loss_and_its_gradients_equal_pytorchs(shape: dict, tmp_path: pathlib.Path) -> None:
    theirs = torch_model(**shape)
    ours = load(store(theirs, tmp_path / "t5"))
    x, y = rows(shape["vocab_size"])
    labels = torch.tensor(np.where(y == 0, -100, y), dtype=torch.long)
    inputs = torch.tensor(np.pad(y[:, :-1], ((0, 0), (1, 0))))
    loss = theirs(
        input_ids=torch.tensor(x), attention_mask=torch.tensor(x != 0), decoder_input_ids=inputs, labels=labels
    ).loss
    loss.backward()
    want = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    segments = [(a != 0).astype(np.int32) for a in (x, y)]
    batch = Batch(x, segments[0], y, segments[1], segments[1].astype(np.float32))
    graph, params = nnx.split(ours, nnx.Param)
    step = jax.jit(jax.value_and_grad(lambda p: sequence_loss(nnx.merge(graph, p), batch), has_aux=True))
    (found, _), gradient = step(params)
    np.testing.assert_allclose(found, loss.item(), rtol=1e-5)
    nnx.update(ours, gradient)  # so that the gradients go out by the names of the weights
    for name, value in to_hf(ours).items():
        np.testing.assert_allclose(value, want[name], atol=2e-5 * max(1, np.abs(want[name]).max()), err_msg=name)


@pytest.mark.parametrize("version", [V10, V11], ids=["v1.0", "v1.1"])
def test_weights_go_out_as_they_came_in(version: dict, tmp_path: pathlib.Path) -> None:
    folder = store(torch_model(**TINY, **version), tmp_path / "t5")
    ours = load(folder)
    flat, stored = to_hf(ours), load_file(folder / "model.safetensors")
    assert set(flat) == set(stored)
    for name, value in flat.items():
        assert value.flags.c_contiguous
        np.testing.assert_array_equal(value, stored[name], err_msg=name)
    out = tmp_path / "out"
    out.mkdir()
    write_tensors(out, flat, shard_bytes=10_000)
    (out / "config.json").write_text(json.dumps(t5_config_json(ours.config)))
    again = load(out)
    assert again.config == ours.config
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again), nnx.state(ours))


def test_pytorch_loads_what_went_out(tmp_path: pathlib.Path) -> None:
    theirs = torch_model(**TINY, **V10)
    config, _ = read_t5(store(theirs, tmp_path / "t5"))
    ours = T5(config, OovConfig("shared"), np.eye(5, dtype=np.float32), 90, rngs=nnx.Rngs(1))
    flat = {name: torch.tensor(value) for name, value in to_hf(ours).items()}
    missing, unexpected = theirs.load_state_dict(flat, strict=False)
    assert not unexpected
    assert set(missing) == {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}  # tied
    x, y = rows(96)
    with torch.no_grad():
        want = theirs(input_ids=torch.tensor(x), attention_mask=torch.tensor(x != 0), decoder_input_ids=torch.tensor(y))
    np.testing.assert_allclose(logits(ours, x, y), want.logits, atol=1e-4)


@pytest.mark.parametrize("version", [V10, V11], ids=["v1.0", "v1.1"])
def test_pytorch_loads_an_encoder_projection_as_its_own_table(version: dict, tmp_path: pathlib.Path) -> None:
    config, flat = read_t5(store(torch_model(**(TINY | version)), tmp_path / "t5"))
    anchors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    ours = T5(config, OovConfig("encoder", alpha=0.5), anchors, 88, rngs=nnx.Rngs(1))
    fill(ours, flat)
    folder = tmp_path / "out"
    folder.mkdir()
    out = to_hf(ours)
    write_tensors(folder, out)
    (folder / "config.json").write_text(json.dumps(t5_config_json(config)))
    theirs, info = transformers.T5ForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    tied = {"lm_head.weight"} if version is V10 else set()
    assert set(info["missing_keys"]) <= tied
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    x, y = rows(96)
    x[1, :6] = np.arange(88, 94)  # new tokens, the last without an anchor
    y[0, :5] = np.arange(88, 93)
    with torch.no_grad():
        want = theirs(input_ids=torch.tensor(x), attention_mask=torch.tensor(x != 0), decoder_input_ids=torch.tensor(y))
    np.testing.assert_allclose(logits(ours, x, y), want.logits, atol=1e-4)
    difference = out["encoder.embed_tokens.weight"] - out["shared.weight"]
    assert np.flatnonzero(np.abs(difference).max(axis=1)).tolist() == list(range(88, 93))
    with pytest.raises(ValueError, match=r"encoder\.embed_tokens\.weight of .* differs from shared\.weight"):
        read_t5(folder)


def test_shards_and_bfloat16_are_read(tmp_path: pathlib.Path) -> None:
    folder = store(torch_model(**TINY, **V10), tmp_path / "t5")
    _, want = read_t5(folder)
    names = sorted(want)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: want[name].astype(jnp.bfloat16) for name in part}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    _, got = read_t5(folder)
    assert set(got) == set(want)
    for name in names:
        assert got[name].dtype == jnp.bfloat16
        np.testing.assert_array_equal(got[name], want[name].astype(jnp.bfloat16))


@pytest.mark.parametrize("version", [V10, V11], ids=["v1.0", "v1.1"])
def test_a_larger_vocabulary_keeps_known_rows_and_draws_the_rest_alike(version: dict, tmp_path: pathlib.Path) -> None:
    config, flat = read_t5(store(torch_model(**(TINY | version | {"vocab_size": 400})), tmp_path / "t5"))
    flat["shared.weight"] = 5 * flat["shared.weight"] + 2
    grown = T5Config(**{**vars(config), "vocab": 1200})
    model = T5(grown, OovConfig(), np.eye(8, dtype=np.float32), 390, rngs=nnx.Rngs(0))
    fill(model, flat, text_rows=390)
    table = np.asarray(model.embedding.table[...])
    np.testing.assert_array_equal(table[:390], flat["shared.weight"][:390])
    new = table[390:]
    np.testing.assert_allclose(new.mean(0), table[:390].mean(0), atol=5 * 5 / np.sqrt(len(new)))
    np.testing.assert_allclose(new.std(0), table[:390].std(0), rtol=0.2)
    projected = np.asarray(model.embedding.anchors[...] @ model.embedding.kernel[...])
    np.testing.assert_allclose(np.sqrt(np.mean(projected**2)), np.sqrt(np.mean(table**2)), rtol=1e-4)


def test_all_that_does_not_fit_is_named_at_once(tmp_path: pathlib.Path) -> None:
    config, flat = read_t5(store(torch_model(**TINY, **V10), tmp_path / "t5"))
    model = T5(config, OovConfig("none"), None, config.vocab, rngs=nnx.Rngs(0))
    del flat["encoder.final_layer_norm.weight"]
    flat["extra.weight"] = np.zeros(3)
    flat["decoder.final_layer_norm.weight"] = np.zeros(5)
    with pytest.raises(ValueError, match="weights do not fit") as caught:
        fill(model, flat)
    for part in ("missing encoder.final", "unexpected extra.weight", "decoder.final_layer_norm.weight is (5,)"):
        assert part in str(caught.value)


def test_folders_that_are_no_t5(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="is no folder here, and the hub gave none"):
        read_t5("nobody/no-such-t5")
    with pytest.raises(ValueError, match=r"has no config\.json; it has nothing"):
        read_t5(tmp_path)
    for values, message in (
        ({"model_type": "bart"}, "model_type='bart'"),
        ({"model_type": "umt5"}, "model_type='umt5'"),
        ({"model_type": "mt5", "feed_forward_proj": "gated-gelu"}, "model_type='mt5'"),
        ({"model_type": "t5", "feed_forward_proj": "gated-silu"}, "feed_forward_proj='gated-silu'"),
        ({"model_type": "t5", "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"}, "dense_act_fn='gelu'"),
        ({"model_type": "t5", "is_gated_act": True}, "is_gated_act=True"),
        ({"model_type": "t5"}, r"has no model\.safetensors"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(values))
        with pytest.raises(ValueError, match=message):
            read_t5(tmp_path)
    save_file({"shared.weight": np.zeros((3, 2))}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"has 3 rows, .* vocab_size is 32128"):
        read_t5(tmp_path)


def test_what_old_files_hold_beside_is_left_out_and_other_tables_are_refused(tmp_path: pathlib.Path) -> None:
    folder = store(torch_model(**TINY, **V10), tmp_path / "t5")
    _, want = read_t5(folder)
    old = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    table = want["shared.weight"]
    copies = {name: table for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")}
    write_tensors(folder, {**want, **copies, old: np.zeros((32, 4), np.float32)})
    assert set(read_t5(folder)[1]) == set(want)
    without = {name: value for name, value in {**want, **copies}.items() if name != "shared.weight"}
    write_tensors(folder, without)
    np.testing.assert_array_equal(read_t5(folder)[1]["shared.weight"], table)
    write_tensors(folder, {**without, "decoder.embed_tokens.weight": table + 1})
    with pytest.raises(ValueError, match=r"decoder\.embed_tokens\.weight .* differs"):
        read_t5(folder)
    write_tensors(folder, {**want, "lm_head.weight": table + 1})
    with pytest.raises(ValueError, match="has a head of its own"):
        read_t5(folder)


@pytest.mark.parametrize("version", [V10, V11], ids=["v1.0", "v1.1"])
def test_our_config_says_the_same_to_transformers_and_to_us(version: dict, tmp_path: pathlib.Path) -> None:
    config, flat = read_t5(store(torch_model(**(TINY | version)), tmp_path / "t5"))
    written = t5_config_json(config)
    read = transformers.T5Config(**written)
    assert read.scale_decoder_outputs == version["tie_word_embeddings"]
    for name, value in written.items():
        if name not in ("tie_word_embeddings", "dtype"):
            assert getattr(read, name) == value, name
    for n, values in enumerate((written, json.loads(read.to_json_string()))):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(values))
        write_tensors(folder, flat)
        assert read_t5(folder)[0] == config


def test_every_parameter_has_a_name() -> None:
    config = T5Config(vocab=20, d_model=8, d_kv=4, heads=2, d_ff=8, encoder_layers=1, decoder_layers=2, tied=False)
    model = T5(config, OovConfig(), np.eye(3, dtype=np.float32), 12, rngs=nnx.Rngs(0))
    params = {path for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    assert params - set(tensor_names(config)) == {("embedding", "kernel")}
