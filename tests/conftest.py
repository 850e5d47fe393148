"""Strict by default: four virtual CPU devices, no rank promotion, no network, warnings are errors."""

import collections.abc
import os
import pathlib

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("NPROC", "16")  # few threads deadlock collectives when many steps are in flight
os.environ["HF_HUB_OFFLINE"] = "1"
# Most of the time of a fresh checkout is compiling; the same programs, less polished, take a quarter less.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(__file__).parent.parent / ".cache" / "jax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


MOST_MEMORY = 4e9
"""Bytes of a test process beyond which compiled programs are forgotten; the cache on disk has them."""


@pytest.fixture(autouse=True)
def bounded_memory() -> collections.abc.Iterator[None]:
    """A thousand tests compile thousands of programs, which would otherwise stay until the end."""
    yield
    status = pathlib.Path("/proc/self/statm")
    if status.is_file() and int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > MOST_MEMORY:
        jax.clear_caches()


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("JAXREC_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set JAXREC_DATA")
    return folder
