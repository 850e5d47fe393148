"""Frozen dataclasses that say all a run needs; `configs/*.py` build them, the command line overrides them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pathlib
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The generated world of `jaxrec.data.synthetic`, used where no `path` is given."""

    users: int = 2000
    items: int = 600
    events_per_user: float = 16.0
    """Mean number of events of a user (at least 5 each)."""
    tastes: int = 12
    """Planted item clusters, of which each user likes a few."""
    drift: float = 0.8
    """How often the next item follows the planted order of its cluster (0 = never, 1 = always)."""
    popularity: float = 0.6
    """Exponent of the popularity skew inside a cluster (0 = none)."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where events come from and how they are split."""

    name: str = "generated"
    path: str | None = None
    """A file; looked up as given, then under $JAXREC_DATA, data/ and ../shared/data. None: the generated world."""
    format: str = "auto"
    """A reader's name; "auto" recognises it."""
    columns: tuple[str, ...] = ()
    """What a table's columns mean where their names do not say it: "user=customer" "item=sku" "time=bought"."""
    items_path: str | None = None
    """A file of item titles, where the format has one."""
    k_core: int = 0
    """Keep users and items with at least this many events, repeated until none falls out; 0 keeps all."""
    min_events: int = 3
    """Users with fewer events are dropped and counted: one each to train, validate and test."""
    split: Literal["strict", "temporal"] = "strict"
    unseen_users: float = 0.0
    """Share of the users, those with the fewest events, that nothing but a refresh of the embedder sees."""
    unseen_items: float = 0.0
    """Share of the items, drawn at random, likewise."""
    world: WorldConfig = WorldConfig()


@dataclasses.dataclass(frozen=True)
class WalkConfig:
    """Meta-path walks; META ID, appendix A.1."""

    rounds: int = 32
    length: int = 64
    equal_ratings: bool = True
    """Walk U-I-U over edges of one rating only (eq. 6); without ratings all edges are one."""


@dataclasses.dataclass(frozen=True)
class SkipGramConfig:
    """Skip-gram with negative sampling; META ID, eq. 9 and 10."""

    dim: int = 64
    window: int = 5
    negatives: int = 5
    form: Literal["banded", "pairs"] = "banded"
    epochs: int = 10
    batch_walks: int = 256
    learning_rate: float = 1e-2
    patience: int = 2
    """Stop after this many epochs without a better loss; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class LightGcnConfig:
    """LightGCN (He et al. 2020) and, with no layers, matrix factorisation; both by BPR (Rendle et al. 2009)."""

    dim: int = 64
    layers: int = 3
    """Propagations over the graph; the embedder "mf" has none."""
    batch: int = 2048
    """Training events in a step, each with one negative drawn on the device."""
    learning_rate: float = 5e-3
    regularization: float = 1e-4
    """Weight of half the squared length of a triple's layer-0 rows."""
    epochs: int = 1000
    """At most; training stops when validation no longer improves."""
    validate_every: int = 5
    """Epochs between validations."""
    patience: int = 10
    """Validations without a better NDCG@10 before training stops; 0 never stops early."""


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
    """From vectors to codes by a learned quantizer, one for users and one for items; TokenRec, section 2.3."""

    codebooks: int = 3
    """K: codes of an id. RQ-VAE: levels of residuals. "vq_vae" and "kmeans" have one, of codebooks * codewords."""
    codewords: int = 256
    """L: codewords of a codebook."""
    mask: float = 0.2
    """rho, eq. 2: how often an entry of a vector is masked, drawn anew for each row, entry and step."""
    width: int = 64
    """d_c: width of a codeword."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Hidden layers of an encoder."""
    beta: float = 0.25
    """Weight of the commitment loss, eq. 13."""
    ema: float = 0.0
    """Decay of codebooks that follow their members' moving average; 0 trains them by the codebook loss, eq. 11."""
    revive: int = 20
    """Steps after which a codeword that nothing chose is put onto a row of the batch; 0 never."""
    epochs: int = 200
    batch: int = 256
    learning_rate: float = 3e-3


@dataclasses.dataclass(frozen=True)
class IdConfig:
    """From vectors to ids: META ID's `<Item><CTi><CIj>` (section 5.2), the codes of a quantizer, or numbers."""

    kind: Literal[
        "meta_id", "spectral", "dbscan", "mq", "rq_vae", "vq_vae", "kmeans", "rq_kmeans", "cid", "rid", "sid", "iid"
    ] = "meta_id"
    """"spectral" and "dbscan" are META ID with other clusters (table 4). "mq" is TokenRec's masked K-way quantizer;
    from it to "rq_kmeans" `Config.quantizer` is read. "cid" splits the graph of items met together again and again.
    "rid" (random) and "sid" (in training order) number with digits of the text vocabulary, "iid" with a new token
    for each."""
    entities: Literal["both", "items", "users"] = "both"
    """Whose ids are of that kind (META ID, appendix D); the others get random numbers, as "rid". To leave users out of
    the prompts, set `users`."""
    clusters: int = 100
    restarts: int = 4
    iterations: int = 50
    neighbours: int = 10
    """"spectral": how many nearest vectors each is linked with; "dbscan": how many within `eps` make a core."""
    eps: float = 0.0
    """"dbscan": a cosine distance; 0 takes the one that gives about `clusters` clusters."""
    branches: int = 20
    """"cid": into how many parts a part is split."""
    leaf: int = 200
    """"cid": the most members of a part that is not split."""
    ranks: Literal["joint", "per_kind"] = "joint"
    """Whether users and items of a cluster share one ranking (the paper) or have one each (fewer new tokens)."""
    spare: int = 32
    """Fine tokens kept free per cluster, for entities that come later."""
    users: Literal["static", "causal", "none"] = "causal"
    """User ids: of all training events (the paper), of the history before the target alone, or left out."""


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Shape of a T5. Defaults: T5 v1.0 small (Raffel et al. 2020)."""

    vocab: int = 32128
    d_model: int = 512
    d_kv: int = 64
    heads: int = 8
    d_ff: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    buckets: int = 32
    max_distance: int = 128
    activation: Literal["relu", "gated-gelu"] = "relu"
    tied: bool = True
    """v1.0 ties the head to the embedding table and scales hidden states by d_model**-0.5; v1.1 does neither."""
    dropout: float = 0.1
    epsilon: float = 1e-6
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of matrix products; parameters, softmax, norms and loss stay float32."""
    remat: bool = False
    """Gradient checkpointing: layers are computed again in the backward pass instead of kept."""


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary positions (Su et al. 2021), and how they are stretched beyond the length of pretraining."""

    theta: float = 10000.0
    kind: Literal["default", "linear", "llama3", "yarn"] = "default"
    factor: float = 1.0
    original_length: int = 8192
    """Positions of pretraining; "llama3" and "yarn" read it."""
    low: float = 1.0
    high: float = 4.0
    """"llama3": wavelengths above original_length / low are stretched, those below original_length / high kept."""
    beta_slow: float = 1.0
    beta_fast: float = 32.0
    """"yarn": rotations over original_length between which stretching fades out."""
    attention_factor: float | None = None
    """"yarn": scale of cosines and sines; None: 0.1 ln(factor) + 1."""


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Shape of a decoder-only model of the LLaMA family. Defaults: LLaMA 2 7B (Touvron et al. 2023)."""

    family: Literal["llama", "mistral", "qwen2", "qwen3"] = "llama"
    """Hugging Face's model_type."""
    vocab: int = 32000
    d_model: int = 4096
    d_kv: int = 128
    heads: int = 32
    kv_heads: int = 32
    """Heads of keys and values; fewer than `heads` is grouped-query attention."""
    d_ff: int = 11008
    layers: int = 32
    rope: RopeConfig = RopeConfig()
    positions: int = 0
    """How many the whole model is for, as a stored one said; 0: as many as `rope` makes of its original length."""
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    """RMS norms of each head's queries and keys (Qwen 3)."""
    tied: bool = False
    """Whether the head is the embedding table."""
    window: int = 0
    """Sliding window: how many of the newest positions a query sees, itself among them; 0 = all."""
    windowed: tuple[int, ...] = ()
    """Numbers of the layers that the window holds for; empty = all."""
    dropout: float = 0.0
    epsilon: float = 1e-5
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation (Hu et al. 2022) of a decoder-only model: W + alpha / rank * A B, with W frozen."""

    rank: int = 0
    """0: no LoRA, every weight is trained. META ID (L) has 16."""
    alpha: float = 32.0
    dropout: float = 0.05
    """Of the input of A."""
    targets: tuple[Literal["attention", "mlp", "embedding", "head"], ...] = ("attention", "mlp")
    """What is adapted; META ID (L) adapts embedding and head. Rows of new tokens are trained whole in any case."""
    base_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen weights."""


@dataclasses.dataclass(frozen=True)
class OovConfig:
    """Linear OOV projection E'(x) + alpha F(anchor); META ID, eq. 8 and appendix C.3.1."""

    scope: Literal["encoder", "shared", "none"] = "encoder"
    """"encoder": the encoder's input alone (the released code), in a decoder-only model its input; "shared": every
    use of the table."""
    alpha: float = 0.1


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The language model."""

    backbone: Literal["t5", "llama"] = "t5"
    """An encoder-decoder, or a decoder-only model of the LLaMA family; META ID (T) and META ID (L)."""
    t5: T5Config = T5Config()
    llama: LlamaConfig = LlamaConfig()
    lora: LoraConfig = LoraConfig()
    oov: OovConfig = OovConfig()
    init_from: str | None = None
    """A local Hugging Face folder or a hub name with weights and tokenizer of the backbone's kind; None: random
    weights and a tokenizer trained on the prompts."""
    new_rows: Literal["random", "mean", "anchors"] = "random"
    """How rows of new tokens start beside pretrained ones: "random" draws from a normal with each column's mean and
    deviation, "mean" is the mean row, "anchors" the mean row plus the token's anchor, projected to the rows' spread
    (tokens without an anchor are drawn)."""


RANKING = ("sequential", "collaborative", "direct")
"""Tasks whose answer is an item."""
WRITING = ("rating", "explanation", "review", "preference")
"""Tasks whose answer is text or stars."""


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """What the model is asked."""

    tasks: tuple[
        Literal["sequential", "collaborative", "direct", "rating", "explanation", "review", "preference"], ...
    ] = ("sequential", "direct")
    """"sequential" and "collaborative" show the history, the first in time order; "direct" the user's id alone. Of a
    user and an item, "rating" asks for the stars and "explanation" for a sentence about a feature word; of a review,
    "review" asks for its summary and "preference" for its stars. The first that ranks items is the main one."""
    weights: tuple[str, ...] = ("direct=0.5",)
    """TASK=WEIGHT: how many examples of a task an epoch holds, as a multiple of those there are; tasks that are not
    named, or alone, have 1."""
    words: int = 2000
    """Tokens of the text tokenizer that is trained where the model brings none; texts of reviews want 4000 or more."""
    max_text: int = 96
    """Tokens of a review that a prompt holds; the rest is cut off, as the paper does at 512 (section C.3.2)."""
    max_answer: int = 32
    """Tokens of an explanation or summary, in training and generated."""
    max_history: int = 20
    """The newest items of a history that a prompt holds."""
    shuffle: bool = True
    """Show the history of "collaborative" in random order, drawn anew every epoch (TokenRec, section 3.1.1)."""

    @property
    def ranking(self) -> tuple[str, ...]:
        """Tasks whose answer is an item; the first is the main one."""
        return tuple(task for task in self.tasks if task in RANKING)

    @property
    def writing(self) -> tuple[str, ...]:
        """Tasks whose answer is text or stars."""
        return tuple(task for task in self.tasks if task not in RANKING)

    def weight(self, task: str) -> float:
        """Of one of `tasks`.

        Raises:
          ValueError: `weights` holds something that is not TASK=WEIGHT.
        """
        found = {}
        for pair in self.weights:
            name, mark, value = pair.partition("=")
            try:
                found[name] = float(value)
            except ValueError:
                found[name] = -1.0
            if not mark or name not in (*RANKING, *WRITING) or not 0 < found[name] < float("inf"):
                raise ValueError(f"task.weights: {pair!r} is not TASK=WEIGHT with a task and a number above 0")
        return found.get(task, 1.0) if len(self.tasks) > 1 else 1.0


@dataclasses.dataclass(frozen=True)
class RetrievalConfig:
    """How a model that answers with a vector is built and trained; TokenRec, section 2.4."""

    loss: Literal["margin", "sampled", "full"] = "full"
    """"margin": eq. 20 with one negative. Beyond the paper: softmax over cosine / temperature, "sampled" against
    `negatives` items that the whole batch shares, "full" against all items."""
    similarity: Literal["cosine", "inner"] = "cosine"
    """"cosine" (eq. 19) forgets how long an item's vector is. "inner" ranks by inner product, as LightGCN does, which
    is a cosine in one more dimension (Bachrach et al. 2014)."""
    margin: float = 0.1
    temperature: float = 0.07
    negatives: int = 512
    align: float = 0.0
    """Weight of 1 - cosine between the answer and the user's own collaborative vector, added to any loss: the
    embedder's ranking is what the language model then starts from."""
    mask_known: bool = True
    """Whether a softmax leaves out the user's other training items, which a ranking leaves out too."""
    pooling: Literal["mean", "flatten"] = "mean"
    """Of the decoder's positions before the projection: their mean (the paper), or all side by side (its code)."""
    decoder_prompt: str = "The user prefers"
    """What the decoder is fed."""
    hidden: int = 256
    """Width of the projection's two hidden layers."""
    approximate: bool = False
    """Search with `approx_max_k`, which a TPU does faster than an exact top-k."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training loop."""

    epochs: float = 10
    steps: int | None = None
    """Overrides `epochs` where given."""
    rows: int = 16
    """Packed rows in a global batch."""
    source_length: int = 512
    target_length: int = 64
    learning_rate: float = 1e-3
    relative: bool = False
    """Scale every parameter's update by that parameter's root mean square, as Adafactor does; the learning rate is
    then a share of it. Weights that start random, T5's at scales from 1 to 0.02, learn many times faster with it."""
    warmup: float = 0.05
    """Share of the steps with a rising learning rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest global norm of the gradient."""
    label_smoothing: float = 0.0
    validate_every: float = 1.0
    """Epochs between validations."""
    validate_users: int = 2000
    """Users per validation, drawn once; 0 takes all."""
    patience: int = 3
    """Validations without a better NDCG@10 (where no task ranks items: likelihood of answers) before training stops;
    0 never stops early."""
    checkpoint_minutes: float = 10.0
    """Also checkpointed at every validation."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    data_parallel: int = 0
    """Size of the mesh's `data` axis; 0 takes all devices that `model_parallel` leaves."""
    model_parallel: int = 1
    """Size of the mesh's `model` axis, over which tables and a decoder-only model's matrices are cut."""
    fsdp: bool = False
    """Whether the matrices of a decoder-only model are cut over the mesh's `data` axis as well."""


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """How a trained model is asked and measured."""

    recommender: Literal["beam", "exact"] = "beam"
    beams: int = 20
    batch_users: int = 64
    prompt: Literal["seen", "unseen", "both"] = "seen"
    """Whether the evaluation's template was among those of training; "both" measures one after the other."""
    mask_seen: bool = True
    """Leave items of the history out of the recommendations, for baselines and model alike."""
    text_beams: int = 1
    """Beams for free text; 1 is greedy (the paper, section C.3.2)."""
    text_events: int = 0
    """Test events of each text task that are measured, drawn once; 0 takes all."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run. `python -m launch.train configs/NAME.py --train.steps 200` overrides any field."""

    name: str
    embedder: Literal["walks", "lightgcn", "mf"] = "walks"
    """Where vectors come from: META ID's walks and skip-gram, TokenRec's LightGCN, or matrix factorisation."""
    answer: Literal["id", "vector"] = "id"
    """What the model says: an item's id token by token (beam search), or a vector to search items with (retrieval)."""
    seed: int = 0
    protocol: Literal["strict", "as-released"] = "strict"
    out: str | None = None
    """The run folder; default runs/NAME."""
    data: DataConfig = DataConfig()
    walks: WalkConfig = WalkConfig()
    skipgram: SkipGramConfig = SkipGramConfig()
    lightgcn: LightGcnConfig = LightGcnConfig()
    ids: IdConfig = IdConfig()
    quantizer: QuantizerConfig = QuantizerConfig()
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.out or f"runs/{self.name}")


def load_config(path: str | os.PathLike[str]) -> Config:
    """The `config` that a configs/*.py file builds.

    Raises:
      ValueError: there is no such file, or it builds no `config`; names the files there are.
    """
    config = getattr(_module(path), "config", None)
    if not isinstance(config, Config):
        raise ValueError(f"{path!s} builds no `config = Config(...)`; see configs/demo.py")
    return config


def load_study(path: str | os.PathLike[str]) -> dict[str, Config]:
    """The `study` that a configs/*.py file builds: configs by the names of their rows; or its one `config`.

    Raises:
      ValueError: there is no such file, or it builds neither; names the files there are.
    """
    module = _module(path)
    study = getattr(module, "study", None)
    if study is None and isinstance(config := getattr(module, "config", None), Config):
        study = {config.name: config}
    if not isinstance(study, dict) or not study or not all(isinstance(c, Config) for c in study.values()):
        raise ValueError(f"{path!s} builds no `study` of configs by name, nor a `config`; see configs/demo_study.py")
    return study


def _module(path: str | os.PathLike[str]) -> Any:
    file = pathlib.Path(path)
    if not file.is_file():
        found = ", ".join(sorted(str(p) for p in pathlib.Path("configs").glob("*.py"))) or "none here"
        raise ValueError(f"config {path!s} is not a file; there are: {found}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_file(path: str) -> pathlib.Path:
    """Where a data file is: as given, or under $JAXREC_DATA, data/ or ../shared/data, the first that exists.

    Raises:
      ValueError: it is nowhere; names every place that was tried.
    """
    roots = [os.environ.get("JAXREC_DATA"), "data", "../shared/data"]
    tried = [pathlib.Path(path), *(pathlib.Path(r) / path for r in roots if r)]
    for file in tried:
        if file.exists():
            return file
    places = ", ".join(str(p) for p in tried)
    raise ValueError(f"data file {path!r} is at none of: {places}; fetch it with python -m launch.download")


def to_json(config: Any) -> str:
    """A config as indented JSON, for config.json."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The inverse of `dataclasses.asdict` for the classes of this file.

    Raises:
      ValueError: a field is not known; names it.
    """
    hints = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(hints)}")
    built = {}
    for name, value in values.items():
        default = hints[name].default
        if dataclasses.is_dataclass(default):
            value = from_dict(type(default), value)
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return kind(**built)
