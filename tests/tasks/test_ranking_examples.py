import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.config import TaskConfig
from jaxrec.tasks import ragged, ranking_examples, templates
from jaxrec.tokenizers import vocabulary
from jaxrec.tokenizers.meta_id import LEVELS
from jaxrec.types import Codes, Histories


@pytest.fixture(scope="module")
def words() -> vocabulary.Vocabulary:
    names = vocabulary.new_token_names(Codes(np.zeros((0, 2), np.int32), (5, 10), LEVELS))
    return vocabulary.extend(vocabulary.train_text_tokenizer(templates.template_texts()), names)


HISTORIES = Histories(
    np.array([0, 3, 8, 8, 9, 14, 20]), np.random.default_rng(0).integers(0, 40, 20).astype(np.int32), 40
)


def rows(words: vocabulary.Vocabulary, prefix: str, n: int) -> np.ndarray:
    codes = np.stack(np.divmod(np.arange(n, dtype=np.int32), 10), 1)
    return words.ids(prefix, Codes(codes, (5, 10), LEVELS)).tokens


def make_examples(words: vocabulary.Vocabulary, **changed) -> ranking_examples.RankingExamples:
    users = changed.pop("users", rows(words, "<User>", 6))
    task = TaskConfig(**{name: changed.pop(name) for name in list(changed) if name in TaskConfig.__annotations__})
    return ranking_examples.RankingExamples(words, rows(words, "<Item>", 40), HISTORIES, users, task=task, **changed)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=8))
def test_ragged_take_is_slicing(cuts: list[tuple[int, int]]) -> None:
    pool = np.arange(30)
    starts, lengths = (np.array([c[i] for c in cuts], np.int64) for i in (0, 1))
    values, offsets = ragged.ragged_take(pool, starts, lengths)
    expected = [pool[s : s + n] for s, n in cuts]
    assert [list(values[a:b]) for a, b in itertools.pairwise(offsets)] == [list(w) for w in expected]


def test_pad_rows() -> None:
    padded = ragged.pad_rows((np.array([5, 6, 7]), np.array([0, 2, 2, 3])), 2)
    np.testing.assert_array_equal(padded, [[5, 6], [0, 0], [7, 0]])
    with pytest.raises(ValueError, match="a row of 2 tokens does not fit length=1"):
        ragged.pad_rows((np.array([5, 6]), np.array([0, 2])), 1)


def test_spliced_equals_the_tokenizer(words: vocabulary.Vocabulary) -> None:
    """Every example, written out as text and tokenised by Hugging Face, gives the spliced integers."""
    examples = make_examples(words)
    source, source_at, target, target_at = examples.build(np.arange(len(examples)), epoch=3)
    name = words.tokenizer.convert_ids_to_tokens
    seen_templates = set()
    template, row = examples._draw(3)
    prompt_templates = [*templates.templates("sequential"), *templates.templates("direct")]
    for i in range(len(examples)):
        event = examples.event[row[i]]
        user = int(HISTORIES.users[event])
        before = HISTORIES.items[HISTORIES.offsets[user] : event]
        history = " ".join("".join(name(rows(words, "<Item>", 40)[item])) for item in before)
        text = prompt_templates[template[i]].source.format(
            user="".join(name(rows(words, "<User>", 6)[user])), history=history
        )
        assert list(source[source_at[i] : source_at[i + 1]]) == words.tokenizer(text)["input_ids"]
        answer = "".join(name(rows(words, "<Item>", 40)[HISTORIES.items[event]]))
        assert list(target[target_at[i] : target_at[i + 1]]) == words.tokenizer(answer)["input_ids"]
        seen_templates.add(template[i])
    assert len(seen_templates) > 10


def test_lengths_are_known_before_building(words: vocabulary.Vocabulary) -> None:
    examples = make_examples(words, max_history=2)
    picked = np.array([4, 0, 17])
    source, target = examples.lengths(1)
    _, source_at, _, target_at = examples.build(picked, 1)
    np.testing.assert_array_equal(np.diff(source_at), source[picked])
    np.testing.assert_array_equal(np.diff(target_at), target[picked])


def test_every_event_but_the_first_is_a_target_once(words: vocabulary.Vocabulary) -> None:
    examples = make_examples(words, tasks=("sequential",))
    _, row = examples._draw(0)
    assert sorted(examples.event[row]) == [1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 15, 16, 17, 18, 19]


def test_weights(words: vocabulary.Vocabulary) -> None:
    examples = make_examples(words, weights=("direct=2.2",))
    assert len(examples) == 15 + 33
    _, row = examples._draw(0)
    counts = np.bincount(row[15:], minlength=15)
    assert set(counts) <= {2, 3}


def test_epochs_differ_and_repeat(words: vocabulary.Vocabulary) -> None:
    examples, again = make_examples(words, seed=7), make_examples(words, seed=7)
    assert (examples._draw(0)[0] != examples._draw(1)[0]).any()
    np.testing.assert_array_equal(examples._draw(1)[0], again._draw(1)[0])


def test_user_rows_of_events(words: vocabulary.Vocabulary) -> None:
    per_event = rows(words, "<User>", 20)
    examples = make_examples(words, users=per_event, user_rows="events", tasks=("direct",))
    source, at, _, _ = examples.build(np.arange(len(examples)), 0)
    template, row = examples._draw(0)
    for i in range(len(examples)):
        assert set(per_event[examples.event[row[i]]]) <= set(source[at[i] : at[i + 1]])
    assert len(template) == 15


def test_without_user_ids(words: vocabulary.Vocabulary) -> None:
    examples = make_examples(words, users=None, tasks=("sequential",))
    source, _, _, _ = examples.build(np.arange(len(examples)), 0)
    assert words.encode("<User>")[0] not in source
    with pytest.raises(ValueError, match="'direct' needs user ids"):
        make_examples(words, users=None)


def test_newest_events() -> None:
    events, offsets = ranking_examples.recent_events(HISTORIES, np.array([1, 2, 3]), 4)
    np.testing.assert_array_equal(events, [4, 5, 6, 7, 8])
    np.testing.assert_array_equal(offsets, [0, 4, 4, 5])


def test_nothing_to_predict(words: vocabulary.Vocabulary) -> None:
    single = Histories(np.array([0, 1, 2]), np.array([0, 1], np.int32), 40)
    with pytest.raises(ValueError, match="no user has two training events"):
        ranking_examples.RankingExamples(
            words, rows(words, "<Item>", 40), single, rows(words, "<User>", 2), task=TaskConfig()
        )


def test_shuffled_rows_keep_their_items_and_their_order_follows_their_number() -> None:
    counts = np.array([5, 0, 7, 6])
    rows = ragged.ragged_range(np.array([0, 9, 20, 40]), counts)
    which, draw = np.array([True, True, True, False]), np.array([3, 4, 5, 6], np.uint64)
    values, offsets = ragged.shuffle_rows(rows, which, draw)
    for row, (a, b) in enumerate(itertools.pairwise(offsets)):
        assert sorted(values[a:b]) == list(rows[0][a:b])
        assert which[row] or list(values[a:b]) == list(rows[0][a:b])
    alone, _ = ragged.shuffle_rows((rows[0][5:12], np.array([0, 7])), np.array([True]), draw[2:3])
    np.testing.assert_array_equal(alone, values[5:12])  # however rows are batched


def test_every_order_is_drawn_about_as_often() -> None:
    n = 6000
    rows = ragged.ragged_range(np.zeros(n, np.int64), np.full(n, 3))
    values, _ = ragged.shuffle_rows(rows, np.ones(n, bool), np.arange(n, dtype=np.uint64))
    _, counts = np.unique(values.reshape(n, 3), axis=0, return_counts=True)
    assert len(counts) == 6
    assert abs(counts - n / 6).max() < 5 * (n / 6) ** 0.5  # five standard deviations


def test_collaborative_prompts_show_the_history_shuffled_anew_every_epoch(words: vocabulary.Vocabulary) -> None:
    examples, timed = (
        make_examples(words, tasks=("collaborative",)),
        make_examples(words, tasks=("collaborative",), shuffle=False),
    )
    items = rows(words, "<Item>", 40)[:, 1:].tolist()

    def histories_of(task_examples: ranking_examples.RankingExamples, epoch: int) -> list[tuple[int, list[int]]]:
        source, at, _, _ = task_examples.build(np.arange(len(task_examples)), epoch)
        _, row = task_examples._draw(epoch)
        item_start = words.encode("<Item>")[0]
        return [
            (
                int(task_examples.event[row[i]]),
                [items.index(source[j + 1 : j + 3].tolist()) for j in range(a, b) if source[j] == item_start],
            )
            for i, (a, b) in enumerate(itertools.pairwise(at))
        ]

    orders = []
    for epoch in (0, 1):
        for event, history in histories_of(timed, epoch):
            user = HISTORIES.users[event]
            assert history == HISTORIES.items[HISTORIES.offsets[user] : event].tolist()
        first = dict(histories_of(examples, epoch))
        assert {event: sorted(h) for event, h in first.items()} == {e: sorted(h) for e, h in histories_of(timed, epoch)}
        orders.append(first)
    assert orders[0] != orders[1]
    assert orders[0] == dict(histories_of(examples, 0))


def test_answers_as_numbers(words: vocabulary.Vocabulary) -> None:
    examples = make_examples(words, tasks=("collaborative", "direct"), answer="vector")
    _, target_lengths = examples.lengths(0)
    assert set(target_lengths) == {2}
    _, _, target, offsets = examples.build(np.arange(len(examples)), 0)
    _, row = examples._draw(0)
    event = examples.event[row]
    np.testing.assert_array_equal(np.diff(offsets), 2)
    np.testing.assert_array_equal(target.reshape(-1, 2), np.stack([HISTORIES.items, HISTORIES.users], 1)[event])
