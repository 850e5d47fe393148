import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.tasks import examples, prompts
from jaxrec.tokenizers import vocabulary
from jaxrec.types import Codes, Histories


@pytest.fixture(scope="module")
def words() -> vocabulary.Vocabulary:
    names = vocabulary.new_token_names((5, 10))
    return vocabulary.extend(vocabulary.train_text_tokenizer(prompts.texts()), names)


HISTORIES = Histories(
    np.array([0, 3, 8, 8, 9, 14, 20]), np.random.default_rng(0).integers(0, 40, 20).astype(np.int32), 40
)


def rows(words: vocabulary.Vocabulary, prefix: str, n: int) -> np.ndarray:
    codes = np.stack(np.divmod(np.arange(n, dtype=np.int32), 10), 1)
    return words.ids(prefix, Codes(codes, (5, 10))).tokens


def make(words: vocabulary.Vocabulary, **changed) -> examples.TrainingExamples:
    users = changed.pop("users", rows(words, "<User>", 6))
    return examples.TrainingExamples(words, rows(words, "<Item>", 40), HISTORIES, users, **changed)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=8))
def test_ragged_take_is_slicing(cuts: list[tuple[int, int]]) -> None:
    pool = np.arange(30)
    starts, lengths = (np.array([c[i] for c in cuts], np.int64) for i in (0, 1))
    values, offsets = examples.ragged_take(pool, starts, lengths)
    want = [pool[s : s + n] for s, n in cuts]
    assert [list(values[a:b]) for a, b in itertools.pairwise(offsets)] == [list(w) for w in want]


def test_pad_rows() -> None:
    padded = examples.pad_rows((np.array([5, 6, 7]), np.array([0, 2, 2, 3])), 2)
    np.testing.assert_array_equal(padded, [[5, 6], [0, 0], [7, 0]])
    with pytest.raises(ValueError, match="a row of 2 tokens does not fit length=1"):
        examples.pad_rows((np.array([5, 6]), np.array([0, 2])), 1)


def test_spliced_equals_the_tokenizer(words: vocabulary.Vocabulary) -> None:
    """Every example, written out as text and tokenised by Hugging Face, gives the spliced integers."""
    made = make(words)
    source, source_at, target, target_at = made.build(np.arange(len(made)), epoch=3)
    name = words.tokenizer.convert_ids_to_tokens
    seen_templates = set()
    template, row = made._draw(3)
    asked = [*prompts.templates("sequential"), *prompts.templates("direct")]
    for i in range(len(made)):
        event = made.event[row[i]]
        user = int(HISTORIES.users[event])
        before = HISTORIES.items[HISTORIES.offsets[user] : event]
        history = " ".join("".join(name(rows(words, "<Item>", 40)[item])) for item in before)
        text = asked[template[i]].source.format(user="".join(name(rows(words, "<User>", 6)[user])), history=history)
        assert list(source[source_at[i] : source_at[i + 1]]) == words.tokenizer(text)["input_ids"]
        answer = "".join(name(rows(words, "<Item>", 40)[HISTORIES.items[event]]))
        assert list(target[target_at[i] : target_at[i + 1]]) == words.tokenizer(answer)["input_ids"]
        seen_templates.add(template[i])
    assert len(seen_templates) > 10


def test_lengths_are_known_before_building(words: vocabulary.Vocabulary) -> None:
    made = make(words, max_history=2)
    picked = np.array([4, 0, 17])
    source, target = made.lengths(1)
    _, source_at, _, target_at = made.build(picked, 1)
    np.testing.assert_array_equal(np.diff(source_at), source[picked])
    np.testing.assert_array_equal(np.diff(target_at), target[picked])


def test_every_event_but_the_first_is_a_target_once(words: vocabulary.Vocabulary) -> None:
    made = make(words, tasks=("sequential",))
    _, row = made._draw(0)
    assert sorted(made.event[row]) == [1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 15, 16, 17, 18, 19]


def test_direct_share(words: vocabulary.Vocabulary) -> None:
    made = make(words, direct_share=2.2)
    assert len(made) == 15 + 33
    _, row = made._draw(0)
    counts = np.bincount(row[15:], minlength=15)
    assert set(counts) <= {2, 3}


def test_epochs_differ_and_repeat(words: vocabulary.Vocabulary) -> None:
    made, again = make(words, seed=7), make(words, seed=7)
    assert (made._draw(0)[0] != made._draw(1)[0]).any()
    np.testing.assert_array_equal(made._draw(1)[0], again._draw(1)[0])


def test_user_rows_of_events(words: vocabulary.Vocabulary) -> None:
    per_event = rows(words, "<User>", 20)
    made = make(words, users=per_event, user_rows="events", tasks=("direct",))
    source, at, _, _ = made.build(np.arange(len(made)), 0)
    template, row = made._draw(0)
    for i in range(len(made)):
        assert set(per_event[made.event[row[i]]]) <= set(source[at[i] : at[i + 1]])
    assert len(template) == 15


def test_without_user_ids(words: vocabulary.Vocabulary) -> None:
    made = make(words, users=None, tasks=("sequential",))
    source, _, _, _ = made.build(np.arange(len(made)), 0)
    assert words.encode("<User>")[0] not in source
    with pytest.raises(ValueError, match="'direct' needs user ids"):
        make(words, users=None)


def test_newest_events() -> None:
    first, length = examples.recent(HISTORIES, np.array([1, 2, 3]), 4)
    np.testing.assert_array_equal(first, [4, 8, 8])
    np.testing.assert_array_equal(length, [4, 0, 1])


def test_nothing_to_predict(words: vocabulary.Vocabulary) -> None:
    single = Histories(np.array([0, 1, 2]), np.array([0, 1], np.int32), 40)
    with pytest.raises(ValueError, match="no user has two training events"):
        examples.TrainingExamples(words, rows(words, "<Item>", 40), single, rows(words, "<User>", 2))
