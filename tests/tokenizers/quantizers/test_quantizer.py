"""A fitted quantizer: what was planted is found, reports count rightly, training is one program."""

import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from jaxrec.config import QuantizerConfig
from jaxrec.models import codebook, masked_vq
from jaxrec.progress import Progress, messages_to
from jaxrec.tokenizers.quantizers import training as quantizer_training
from jaxrec.tokenizers.quantizers.blocks import BLOCK
from jaxrec.tokenizers.quantizers.centroids import KMEANS
from jaxrec.tokenizers.quantizers.learned import MQ, RQ_VAE, VQ_VAE
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, collapse_warnings, fit_quantizer
from jaxrec.tokenizers.quantizers.residual import RQ_KMEANS

KINDS = {kind.name: kind for kind in (MQ, RQ_VAE, VQ_VAE, KMEANS, RQ_KMEANS)}

CONFIG = QuantizerConfig(
    codebooks=2, codewords=8, width=8, hidden=(64,), batch=64, epochs=160, learning_rate=3e-3, revive=20
)
CLUSTERS, PER_CLUSTER, DIM = 8, 40, 10


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around 8 far centres, not near the origin and small as an embedder's may be; and each row's centre."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(CLUSTERS, DIM))
    label = np.repeat(np.arange(CLUSTERS), PER_CLUSTER)
    rows = 0.05 * (centres[label] + 0.2 * rng.normal(size=(len(label), DIM))) + 0.02
    order = rng.permutation(len(label))
    return rows[order].astype(np.float32), label[order]


def fit(kind: str, rows: np.ndarray, config: QuantizerConfig = CONFIG, seed: int = 0) -> Quantizer:
    return fit_quantizer(rows, KINDS[kind], config, key=jax.random.key(seed))


@pytest.fixture(scope="module")
def of_kind() -> dict[str, Quantizer]:
    rows, _ = planted()
    return {kind: fit(kind, rows) for kind in KINDS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_planted_clusters_are_found_in_new_rows(of_kind: dict[str, Quantizer], kind: str) -> None:
    """Codes of rows that were not learned from tell the clusters; codes dealt out at random do not."""
    rows, label = planted(seed=1)
    codes = of_kind[kind].encode(rows)
    names = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    chance = normalized_mutual_info_score(label, np.random.default_rng(0).permutation(names))
    assert normalized_mutual_info_score(label, names) > max(0.6, chance + 0.3)
    first = normalized_mutual_info_score(label, codes[:, 0])
    assert first > 0.6
    report = of_kind[kind].report(rows)
    assert report["error"] < 0.3
    assert report["cosine"] > 0.8
    assert not collapse_warnings(report, "item")


@pytest.mark.slow
def test_the_mean_of_a_cluster_is_rebuilt(of_kind: dict[str, Quantizer]) -> None:
    """What a row's codes stand for is nearer to its own centre than to any other."""
    rows, label = planted()
    centres = np.stack([rows[label == cluster].mean(0) for cluster in range(CLUSTERS)])
    for kind in KINDS:
        rebuilt = of_kind[kind].decode(of_kind[kind].encode(rows))
        nearest = np.linalg.norm(rebuilt[:, None] - centres, axis=-1).argmin(1)
        assert (nearest == label).mean() > 0.9, kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_codes_hang_on_the_row_alone(of_kind: dict[str, Quantizer], kind: str) -> None:
    rows, _ = planted(seed=2)
    many = np.tile(rows, (8, 1))
    assert len(many) > BLOCK
    codes = of_kind[kind].encode(many)
    np.testing.assert_array_equal(codes, np.tile(codes[: len(rows)], (8, 1)))
    for row in (0, 5):
        np.testing.assert_array_equal(of_kind[kind].encode(rows[row : row + 1])[0], codes[row])
    assert codes.dtype == np.int32
    assert ((codes >= 0) & (codes < of_kind[kind].sizes)).all()
    assert of_kind[kind].encode(rows[:0]).shape == (0, len(of_kind[kind].sizes))


@pytest.mark.slow
def test_masks_are_for_training_only(of_kind: dict[str, Quantizer]) -> None:
    """`encode` is the encoders and codebooks on the centred row, nothing masked: eq. (4) and (5) in NumPy."""
    rows, _ = planted()
    fitted = of_kind["mq"]
    x = (rows - rows.mean(0)) / np.sqrt(np.mean((rows - rows.mean(0)) ** 2))
    books = []
    for k in range(2):
        a = x.astype(np.float64)
        for i, layer in enumerate(fitted.params["encoder"]):
            a = (np.maximum(a, 0) if i else a) @ layer["w"][k] + layer["b"][k]
        books.append(np.linalg.norm(a[:, None] - fitted.params["codebook"][k], axis=-1).argmin(1))
    assert (fitted.encode(rows) == np.stack(books, 1)).mean() > 0.995  # ties in single precision


@pytest.mark.slow
def test_the_scale_of_vectors_does_not_matter() -> None:
    """A power of two, so that not a bit differs."""
    rows, _ = planted()
    one, other = fit("mq", rows), fit("mq", rows * 64)
    np.testing.assert_array_equal(one.encode(rows), other.encode(rows * 64))
    np.testing.assert_array_equal(one.decode(one.encode(rows)) * 64, other.decode(one.encode(rows)))


def test_equal_keys_give_equal_quantizers() -> None:
    rows, _ = planted()
    one, two, other = (fit("mq", rows, seed=seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    assert (one.params["codebook"] != other.params["codebook"]).any()


def test_zeros_are_not_learned_from_but_get_codes() -> None:
    rows, _ = planted()
    with_zeros = np.concatenate([rows[:100], np.zeros((7, DIM), np.float32), rows[100:]])
    one, two = fit("mq", rows), fit("mq", with_zeros)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    codes = two.encode(with_zeros)
    assert (codes[100:107] == codes[100]).all()
    assert two.report(with_zeros) == one.report(rows)


def test_report_by_hand() -> None:
    """Six rows on four codewords of five, 3 + 1 + 1 + 1; means are where K-means of a line puts them."""
    means = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 1]], np.float32)
    config = KMEANS.shaped(QuantizerConfig(codebooks=1, codewords=5))
    params = {"centroids": means, "means": means}
    fitted = Quantizer(KMEANS, config, np.zeros(2, np.float32), np.asarray(1.0), params)
    rows = np.array([[1, 0], [2, 0], [3, 0], [0, 1], [-1, 0], [0, -1], [0, 0]], np.float32)
    report = fitted.report(rows)
    share = np.array([3, 1, 1, 1]) / 6
    assert report["rows"] == 6
    assert (report["codebooks"][0]["codewords"], report["codebooks"][0]["used"]) == (5, 4)
    assert report["codebooks"][0]["perplexity"] == pytest.approx(np.prod(share**-share))
    assert (report["shared"], report["shared_share"]) == (3, 0.5)
    assert report["error"] == pytest.approx((1 + 4) / (1 + 4 + 9 + 3))
    assert report["cosine"] == pytest.approx(1.0)
    assert collapse_warnings(report, "item") == []


def test_a_collapsed_codebook_is_named() -> None:
    def book(perplexity: float, used: int) -> dict:
        return {"codewords": 256, "used": used, "perplexity": perplexity}

    report = {"rows": 5000, "error": 0.5, "codebooks": [book(180.0, 250), book(1.9, 3), book(26.0, 256)]}
    lines = collapse_warnings(report, "item")
    assert len(lines) == 2  # a tenth of the way from 1 to 256 is 26.5
    assert lines[0].startswith("codebook 2 of the item quantizer has collapsed: 3 of 256 codewords used")
    assert "perplexity 1.9; raise quantizer.epochs" in lines[0]
    assert lines[1].startswith("codebook 3 of the item quantizer")
    assert collapse_warnings({**report, "rows": 100}, "item") == lines[:1]  # 100 rows can use 100 codewords at most
    lost = {**report, "codebooks": [book(180.0, 250)], "error": 0.95}
    assert len(collapse_warnings(lost, "user")) == 1
    assert "user quantizer has learned next to nothing: its error is 0.95" in collapse_warnings(lost, "user")[0]


def test_training_that_collapses_is_told() -> None:
    """Codewords far from every row but one, and no revival: the report of a real training names them."""
    rows, _ = planted()
    config = dataclasses.replace(CONFIG, codebooks=1, codewords=64, revive=0, epochs=1, learning_rate=1e-6)
    fitted = fit("mq", rows, config)
    assert not [line for line in collapse_warnings(fitted.report(rows), "user") if line.startswith("codebook")]
    far = np.array(fitted.params["codebook"])
    far[0, 2:] += 1e3
    broken = dataclasses.replace(fitted, params={**fitted.params, "codebook": far})
    assert "codebook 1 of the user quantizer has collapsed" in collapse_warnings(broken.report(rows), "user")[0]


def test_revival_brings_dead_codewords_back_in_training() -> None:
    """All codewords but one start far away: with revival most come into use, without none does."""
    rows, _ = planted()
    x = jnp.asarray((rows - rows.mean(0)) / rows.std())
    used = {}
    for patience in (0, 5):
        config = dataclasses.replace(CONFIG, revive=patience, learning_rate=1e-4)
        params = masked_vq.init(DIM, config, key=jax.random.key(0))
        params["codebook"] = params["codebook"].at[:, 1:].add(1e3)
        optimizer = quantizer_training.optimizer(config, len(rows) // config.batch)
        state = quantizer_training.State(
            jnp.int32(0), params, optimizer.init(params), codebook.fresh_use(params["codebook"])
        )
        revived = 0
        for epoch in range(4):
            state, metrics = quantizer_training.train_epoch(
                state, x, model=masked_vq, config=config, batch=config.batch, key=jax.random.key(epoch)
            )
            revived += int(metrics["revived"])
        codes = masked_vq.encode(state.params, x)
        used[patience] = min(len(np.unique(codes[:, k])) for k in range(2))
        assert (revived > 0) == (patience > 0)
    assert used[0] == 1
    assert used[5] >= 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mq", "rq_vae"])
def test_averages_learn_as_well(kind: str) -> None:
    rows, label = planted()
    fitted = fit(kind, rows, dataclasses.replace(CONFIG, ema=0.9))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.params))
    assert normalized_mutual_info_score(label, fitted.encode(rows)[:, 0]) > 0.6
    assert fitted.report(rows)["error"] < 0.3


def test_all_epochs_are_one_trace_and_progress_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = planted()
    config = dataclasses.replace(CONFIG, epochs=3, width=6)  # a shape of its own
    monkeypatch.setattr(quantizer_training, "QUIET", 0.0)
    monkeypatch.setattr(Progress, "FIRST", 0.0)
    traced = chex.assert_max_traces(masked_vq.loss, n=1)
    monkeypatch.setattr(masked_vq, "loss", traced)
    lines: list[str] = []
    with messages_to(lines.append):
        fit_quantizer(rows, MQ, config, key=jax.random.key(0), name="item quantizer")
    assert len(lines) == 3
    losses = r"codebook \S+  commitment \S+  reconstruction \S+  revived \d+"
    assert re.fullmatch(rf"item quantizer epoch 2/3 \(67%\)  {losses}  [\d.]+[kM]? rows/s  ETA \d+:\d\d", lines[1])


@pytest.mark.slow
def test_fewer_rows_than_a_batch_or_a_codebook() -> None:
    rows, _ = planted()
    for kind, n in (("mq", 1), ("rq_vae", 5)):
        fitted = fit(kind, rows[:n], dataclasses.replace(CONFIG, epochs=3))
        assert np.isfinite(fitted.decode(fitted.encode(rows))).all()


def test_bad_arguments_are_named() -> None:
    rows, _ = planted()
    with pytest.raises(ValueError, match="rows are all zeros"):
        fit("mq", np.zeros((4, 3), np.float32))
    with pytest.raises(ValueError, match="row 3 is not finite"):
        fit("mq", np.where(np.arange(len(rows))[:, None] == 3, np.nan, rows))
    with pytest.raises(ValueError, match=r"16 clusters exceed the 10 vectors; lower quantizer\.codewords"):
        fit("kmeans", rows[:10])
