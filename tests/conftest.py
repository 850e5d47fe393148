"""Strict by default: four virtual CPU devices, no rank promotion, no network, warnings are errors."""

import collections.abc
import ctypes
import dataclasses
import gc
import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
from collections.abc import Callable
from types import ModuleType

# Most of the time of a fresh checkout is compiling: the same programs, less polished, take less than half of it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    # From 0.11 on there is one way to emit code.
    + (" --xla_cpu_use_fusion_emitters=false" if importlib.metadata.version("jaxlib").startswith("0.10.") else ""),
)
os.environ.setdefault("NPROC", "16")  # few threads deadlock collectives when many steps are in flight
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import jax
import numpy as np
import pytest
from filelock import FileLock
from flax import nnx

from jaxrec import experiment
from jaxrec.config import (
    Config,
    DataConfig,
    EvalConfig,
    IdConfig,
    LightGcnConfig,
    ModelConfig,
    QuantizerConfig,
    RetrievalConfig,
    SkipGramConfig,
    T5Config,
    TaskConfig,
    TrainConfig,
    WalkConfig,
    WorldConfig,
    to_json,
)
from jaxrec.files import write_kept
from jaxrec.system import loading
from jaxrec.system.system import System

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(__file__).parent.parent / ".cache" / "jax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


LONG_FILES = (
    "tests/system/",
    "tests/additions/",
    "tests/export/",
    "tests/docs/test_tutorial",
    "tests/launch/",
    "tests/test_api",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG_FILES))


def pytest_collection_finish() -> None:
    """Modules and tests stay, so garbage is not searched for in them; tracing makes millions of small objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


ROOM = 1.5e9
"""Bytes that a test process may grow by before compiled programs are forgotten; the cache on disk has them."""
_most_memory = 3e9


@pytest.fixture(autouse=True)
def bounded_memory() -> collections.abc.Iterator[None]:
    """A thousand tests compile thousands of programs, which would otherwise stay until the end."""
    global _most_memory
    yield
    if _memory() > _most_memory:
        jax.clear_caches()
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of glibc; others give memory back by themselves
            trim(0)
        _most_memory = max(_most_memory, _memory() + ROOM)


def _memory() -> float:
    """Bytes that this process holds; 0 where the system does not tell."""
    status = pathlib.Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.is_file() else 0.0


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("JAXREC_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set JAXREC_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny() -> Config:
    return Config(
        name="tiny",
        data=DataConfig(world=WorldConfig(users=80, items=48, events_per_user=9.0, tastes=4)),
        walks=WalkConfig(rounds=2, length=12),
        skipgram=SkipGramConfig(dim=8, epochs=2, batch_walks=64),
        ids=IdConfig(clusters=6, restarts=1, spare=4),
        model=ModelConfig(t5=T5Config(d_model=16, d_kv=8, heads=2, d_ff=32, encoder_layers=1, decoder_layers=1)),
        task=TaskConfig(max_history=6),
        train=TrainConfig(
            steps=8, rows=8, source_length=96, target_length=16, validate_every=0.25, validate_users=20, log_every=1
        ),
        eval=EvalConfig(beams=10, batch_users=32),
    )


@pytest.fixture(scope="session")
def token_rec(tiny: Config) -> Config:
    return dataclasses.replace(
        tiny,
        name="tiny TokenRec",
        embedder="lightgcn",
        answer="vector",
        lightgcn=LightGcnConfig(dim=8, layers=2, epochs=10, batch=128, learning_rate=1e-2),
        quantizer=QuantizerConfig(codebooks=2, codewords=8, width=8, hidden=(16, 16), epochs=20),
        ids=dataclasses.replace(tiny.ids, kind="mq", users="static"),
        task=dataclasses.replace(tiny.task, tasks=("collaborative", "direct")),
        retrieval=RetrievalConfig(hidden=16),
        eval=dataclasses.replace(tiny.eval, prompt="both"),
    )


@pytest.fixture(scope="session")
def finished_run(
    tiny: Config, token_rec: Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, pathlib.Path], System]:
    """A trained and measured run of a method, read from a copy in a new folder: ("META ID", folder).

    Whoever asks first trains it, for all processes of the test run. TokenRec's is one with unseen users and items.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished runs"
    configs = {"META ID": tiny, "TokenRec": token_rec.replace(data__unseen_users=0.1, data__unseen_items=0.1)}

    def copied(method: str, folder: pathlib.Path) -> System:
        config, made = configs[method], shared / method
        shared.mkdir(exist_ok=True)
        with FileLock(shared / f"{method}.lock"):
            if not (made / "report.html").is_file():
                experiment.train(dataclasses.replace(config, out=str(made)))
        shutil.copytree(made, folder)
        write_kept(folder / "config.json", to_json(dataclasses.replace(config, out=str(folder))) + "\n")
        return loading.load(folder)

    return copied


@pytest.fixture(scope="session")
def adapted() -> Callable[[System], System]:
    """Gives LoRA's factors values as if they had learned something."""
    return _adapted


@pytest.fixture(scope="session")
def script() -> Callable[[pathlib.Path], ModuleType]:
    """An exported folder's recommend.py as a module of this process, where torch is loaded once."""
    return _script


def _adapted(system: System) -> System:
    draw = np.random.default_rng(0)
    for path, factor in nnx.to_flat_state(nnx.state(system.model)):
        if path[-1] == "b":
            factor[...] = draw.normal(size=factor[...].shape).astype(np.float32) * 0.1
    return system


def _script(folder: pathlib.Path) -> ModuleType:
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("recommend", folder / "recommend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
