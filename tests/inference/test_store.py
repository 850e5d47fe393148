"""The vector store gives back what was put in, keeps numbers and versions, and names what is wrong with it."""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from jaxrec.inference import store as module
from jaxrec.inference import store_files
from jaxrec.inference.store import Entities, LanceStore

WIDTH = 6


def make(first, count, seed=0, width=WIDTH):
    """Entities called `first`, `first` + 1, ... with random contents; titles hold quotes and other scripts."""
    rng = np.random.default_rng([seed, first])
    return Entities.of(
        [f"name {n}" for n in range(first, first + count)],
        rng.normal(size=(count, width)),
        rng.integers(0, 100, (count, 3)),
        [f"Übung '{n}' \U0001f3b5" for n in rng.integers(0, 9, count)],
        [rng.integers(0, 50, rng.integers(0, 4)) for _ in range(count)],
    )


def assert_same(actual, expected, rows=slice(None)):
    """Bit for bit."""
    for field in ("names", "codes", "titles"):
        np.testing.assert_array_equal(getattr(actual, field), getattr(expected, field)[rows])
    assert actual.vectors.dtype == np.float32
    assert actual.vectors.tobytes() == expected.vectors[rows].tobytes()
    for n, row in enumerate(np.arange(len(expected))[rows]):
        mine, theirs = (e.histories[e.offsets[i] : e.offsets[i + 1]] for e, i in ((actual, n), (expected, row)))
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture
def store(tmp_path):
    return LanceStore.create(tmp_path / "store", WIDTH)


def test_gives_back_bit_by_bit(store) -> None:
    entities = make(0, 50)
    odd = np.array([-0.0, 1e-42, 3.4e38, -1e-38, 1 / 3, 0.0], np.float32)
    entities.vectors[7] = odd
    np.testing.assert_array_equal(store.upsert("users", entities), np.arange(50))
    assert_same(store.read("users"), entities)
    assert_same(LanceStore.open(store.path, WIDTH).read("users"), entities)
    assert store.find("users", "name 31") == 31
    assert store.find("users", "x' OR '1'='1") is None
    assert len(store.read("items")) == 0


def test_without_codes_titles_and_histories(store) -> None:
    store.upsert("items", Entities.of(["b", "a"], np.ones((2, WIDTH))))
    actual = store.read("items")
    assert actual.codes.shape == (2, 0)
    assert actual.titles.tolist() == ["b", "a"]
    assert actual.histories.shape == (0,)


def test_known_names_keep_their_numbers(store) -> None:
    first, then = make(0, 20), make(15, 10, seed=1)
    store.upsert("items", first)
    shuffled = np.random.default_rng(0).permutation(10)
    then = Entities.of(then.names[shuffled], then.vectors[shuffled], then.codes[shuffled], then.titles[shuffled])
    numbers = store.upsert("items", then)
    known = np.array([int(name.split()[1]) < 20 for name in then.names])
    np.testing.assert_array_equal(numbers[known], [int(name.split()[1]) for name in then.names[known]])
    np.testing.assert_array_equal(numbers[~known], np.arange(20, 25))  # in the order in which they came
    actual = store.read("items")
    assert len(actual) == 25
    np.testing.assert_array_equal(actual.names[numbers], then.names)
    np.testing.assert_array_equal(actual.vectors[numbers], then.vectors)
    np.testing.assert_array_equal(actual.vectors[:15], first.vectors[:15])


def test_writing_twice_is_writing_once(store) -> None:
    entities = make(0, 12)
    once = store.upsert("items", entities)
    np.testing.assert_array_equal(store.upsert("items", entities), once)
    assert_same(store.read("items"), entities)
    versions = store.versions
    assert store.upsert("items", make(0, 0)).shape == (0,)
    assert store.versions == versions


def test_older_versions_stay_readable(store) -> None:
    states = [make(0, 10, seed=n) for n in range(3)]
    versions = []
    for state in states:
        store.upsert("items", state)
        versions.append(store.versions)
    store.index("items")  # joins files
    for state, version in zip(states, versions):
        old = LanceStore.open(store.path, WIDTH, versions=version)
        assert_same(old.read("items"), state)
        assert old.versions == version
        with pytest.raises(ValueError, match="opened at versions"):
            old.upsert("items", state)
    assert_same(store.read("items"), states[2])


def test_an_open_store_sees_what_others_wrote(store) -> None:
    other = LanceStore.open(store.path)
    store.upsert("items", make(0, 5))
    assert len(other.read("items")) == 5
    other.upsert("items", make(3, 5))
    assert len(store.read("items")) == 8


def cosines(queries, vectors):
    queries, vectors = np.asarray(queries, np.float64), np.asarray(vectors, np.float64)
    return (queries @ vectors.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)


def test_search_equals_numpy(store) -> None:
    entities = make(0, 300)
    store.upsert("items", entities)
    assert not store.index("items")  # too few rows for one
    queries = np.random.default_rng(1).normal(size=(8, WIDTH)).astype(np.float32)
    numbers, scores = store.search("items", queries, 10)
    expected = cosines(queries, entities.vectors)
    np.testing.assert_array_equal(numbers, np.argsort(-expected, axis=1)[:, :10])
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :10], atol=1e-5)


def test_search_leaves_out_what_has_no_direction(store) -> None:
    vectors = np.eye(4, WIDTH)
    vectors[2] = 0
    store.upsert("items", Entities.of(list("abcd"), vectors))
    queries = np.array([[1, 0.5, 0, 0.25, 0, 0], [0] * 6], np.float32)
    numbers, scores = store.search("items", queries, 5)
    np.testing.assert_array_equal(numbers, [[0, 1, 3, -1, -1], [-1] * 5])
    assert (scores[numbers < 0] == -np.inf).all()
    np.testing.assert_array_equal(store.search("users", queries, 2)[0], np.full((2, 2), -1))


def test_index_finds_most_and_rows_written_later(store) -> None:
    """Recall at 10 of 10,000 random vectors, the hardest to put into partitions; 0.9 is what is asked for."""
    entities = make(0, 10_000)
    store.upsert("items", entities)
    assert store.index("items")
    queries = np.random.default_rng(1).normal(size=(50, WIDTH)).astype(np.float32)
    numbers, _ = store.search("items", queries, 10)
    best = np.argsort(-cosines(queries, entities.vectors), axis=1)[:, :10]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(numbers, best)]) >= 0.9
    late = Entities.of([f"late {n}" for n in range(50)], 2 * queries, np.zeros((50, 3)))
    added = store.upsert("items", late)
    np.testing.assert_array_equal(store.search("items", queries, 1)[0][:, 0], added)


def test_clear_errors(store, tmp_path) -> None:
    with pytest.raises(ValueError, match="holds tables already"):
        LanceStore.create(store.path, WIDTH)
    with pytest.raises(ValueError, match="nowhere holds no vector store"):
        LanceStore.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no vector store: no table items, users"):
        LanceStore.open(tmp_path / "empty")
    with pytest.raises(ValueError, match=f"vectors of width {WIDTH}, expected 64"):
        LanceStore.open(store.path, 64)
    with pytest.raises(ValueError, match="'items' has no readable version 9"):
        LanceStore.open(store.path, versions={"items": 9})
    for use in (store.read, lambda t: store.find(t, "a"), store.index, lambda t: store.upsert(t, make(0, 1))):
        with pytest.raises(ValueError, match="table='movies' is none of items, users"):
            use("movies")
    good = make(0, 4)
    store.upsert("items", good)
    for wrong, message in (
        ({"names": np.array(["a", "b", "a", "c"], object)}, "'a' stands 2 times"),
        ({"vectors": np.full((4, WIDTH), np.nan, np.float32)}, "4 vectors are not finite"),
        ({"vectors": np.zeros((4, 3), np.float32)}, r"vectors of 4 entities have shape \(4, 3\), expected \(4, 6\)"),
        ({"vectors": np.zeros((3, WIDTH), np.float32)}, "vectors of 4"),
        ({"codes": np.zeros((2, 3), np.int32)}, "codes of 4"),
        ({"titles": good.titles[:2]}, "titles of 4"),
        ({"offsets": good.offsets[:-1]}, "offsets of 4"),
        ({"offsets": good.offsets[::-1]}, "offsets must rise"),
        ({"codes": np.zeros((4, 2), np.int32)}, "have 3 codes, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            store.upsert("items", dataclasses.replace(good, **wrong))
    with pytest.raises(ValueError, match=r"queries must be finite f32\[B,6\]"):
        store.search("items", np.zeros((2, 5)), 3)
    with pytest.raises(ValueError, match="k=0"):
        store.search("items", np.zeros((2, 6)), 0)
    assert_same(store.read("items"), good)  # nothing of all that was written


def files(store, pattern):
    return sorted(pathlib.Path(store.path, "users.lance").glob(pattern))


fill = np.random.default_rng(0).bytes
DAMAGES = {
    "garbage": lambda file, whole: file.write_bytes(fill(len(whole))),
    "zeros": lambda file, whole: file.write_bytes(bytes(len(whole))),
    "cut in half": lambda file, whole: file.write_bytes(whole[: len(whole) // 2]),
    "cut short": lambda file, whole: file.write_bytes(whole[:-1]),
    "empty": lambda file, whole: file.write_bytes(b""),
    "gone": lambda file, whole: file.unlink(),
    "garbage inside": lambda file, whole: file.write_bytes(whole[:500] + fill(500) + whole[1000:]),
    "one bit": lambda file, whole: file.write_bytes(whole[:700] + bytes([whole[700] ^ 16]) + whole[701:]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_is_told(store, damage) -> None:
    entities = make(0, 100)
    store.upsert("items", entities)
    store.upsert("users", entities)
    (file,) = files(store, "data/*.lance")
    DAMAGES[damage](file, file.read_bytes())
    with pytest.raises(ValueError, match="users") as error:
        LanceStore.open(store.path, WIDTH).read("users")
    assert store.path in str(error.value)
    assert_same(LanceStore.open(store.path).read("items"), entities)  # the other table is as it was


@pytest.mark.parametrize("damage", ["garbage", "zeros", "cut in half", "empty", "gone"])
def test_damaged_manifests_are_told(store, damage) -> None:
    store.upsert("users", make(0, 100))
    for file in files(store, "_versions/*.manifest"):
        DAMAGES[damage](file, file.read_bytes())
    with pytest.raises(ValueError, match="users") as error:
        LanceStore.open(store.path, WIDTH).read("users")
    assert store.path in str(error.value)


@pytest.mark.parametrize("pattern", ["data/*.lance", "_versions/*.manifest"])
def test_an_older_state_survives_damage_to_a_newer_one(store, pattern) -> None:
    store.upsert("users", make(0, 100))
    versions, there = store.versions, set(files(store, pattern))
    store.upsert("users", make(0, 100, seed=1))
    (file,) = set(files(store, pattern)) - there
    DAMAGES["garbage"](file, file.read_bytes())
    with pytest.raises(ValueError, match="users"):
        LanceStore.open(store.path).read("users")
    if file.suffix == ".manifest":  # LanceDB looks at the newest one first; without it, the older state is not newest
        file.unlink()
        with pytest.raises(ValueError, match="version 3 of table 'users' is gone"):
            LanceStore.open(store.path)
    assert_same(LanceStore.open(store.path, versions=versions).read("users"), make(0, 100))


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(store) -> None:
    """Two writers, each with its own names and some in common."""
    script = """
        import sys, numpy as np
        from jaxrec.inference.store import Entities, LanceStore
        path, me = sys.argv[1], sys.argv[2]
        store = LanceStore.open(path)
        for n in range(12):
            store.upsert("items", Entities.of([f"{me} {n}", f"both {n}"], np.full((2, 6), 1 + n)))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), store.path]
    writers = [subprocess.Popen([*command, me]) for me in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    actual = store.read("items")
    expected = {f"{who} {n}": n + 1 for who in ("one", "two", "both") for n in range(12)}
    assert dict(zip(actual.names, actual.vectors[:, 0])) == expected


def test_an_overtaken_writer_numbers_its_new_names_again(store, monkeypatch) -> None:
    """As on object storage, where no lock is: another writer commits between this one's look and its commit."""
    monkeypatch.setattr(module, "locked", lambda path: contextlib.nullcontext())
    store.upsert("items", make(0, 3))
    other, numbers_of = LanceStore.open(store.path), LanceStore._numbers
    pending = [make(10, 4)]

    def overtaken(self, table, entities):
        numbers = numbers_of(self, table, entities)
        if self is store and pending:
            other.upsert("items", pending.pop())
        return numbers

    monkeypatch.setattr(LanceStore, "_numbers", overtaken)
    ours = store.upsert("items", make(2, 4, seed=1))
    actual = store.read("items")
    assert actual.names.tolist() == [f"name {n}" for n in (0, 1, 2, 10, 11, 12, 13, 3, 4, 5)]
    np.testing.assert_array_equal(ours, [2, 7, 8, 9])


def test_a_writer_that_waits_too_long_says_so(store, monkeypatch) -> None:
    monkeypatch.setattr(store_files, "LOCK_SECONDS", 0.1)
    with store_files.locked(store.path), pytest.raises(ValueError, match="another process has been writing"):
        store.upsert("items", make(0, 1))


def test_recommending_does_not_wait_for_the_database() -> None:
    script = """
        import sys, jaxrec.recommend.trie_recommender, jaxrec.recommend.retrieval, jaxrec.inference.store
        assert "lancedb" not in sys.modules and "pyarrow" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
