import numpy as np
import pytest

from jaxrec.config import TaskConfig
from jaxrec.tasks.autoregressive_examples import AutoregressiveExamples
from jaxrec.tasks.pieces import cut
from jaxrec.tasks.templates import template_texts
from jaxrec.tokenizers import vocabulary
from jaxrec.tokenizers.meta_id import LEVELS
from jaxrec.types import Codes, Histories

HISTORIES = Histories(
    np.array([0, 3, 8, 8, 9, 14, 20]), np.random.default_rng(0).integers(0, 40, 20).astype(np.int32), 40
)


@pytest.fixture(scope="module")
def words() -> vocabulary.Vocabulary:
    names = vocabulary.new_token_names(Codes(np.zeros((0, 2), np.int32), (5, 10), LEVELS), answer=True)
    return vocabulary.extend(vocabulary.train_text_tokenizer(template_texts(), ends=False), names)


def rows(words: vocabulary.Vocabulary, prefix: str, n: int) -> np.ndarray:
    codes = np.stack(np.divmod(np.arange(n, dtype=np.int32), 10), 1)
    return words.ids(prefix, Codes(codes, (5, 10), LEVELS)).tokens


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("length", [1, 2, 4, 50])
def test_every_event_is_a_target_once(length: int, ahead: int) -> None:
    pieces = cut(HISTORIES, length, ahead=ahead)
    predicted = []
    for user, start, size in zip(*pieces, strict=True):
        assert 1 <= size <= length
        assert HISTORIES.offsets[user] <= start
        assert start + size + ahead <= HISTORIES.offsets[user + 1]
        predicted += range(start + ahead, start + size + ahead)
    first = {int(start) for start in HISTORIES.offsets[:-1]} if ahead else set()
    assert sorted(predicted) == [event for event in range(20) if event not in first]


def test_nobody_with_two_events_is_an_error() -> None:
    with pytest.raises(ValueError, match="no history holds 2 events"):
        cut(Histories(np.array([0, 1, 2]), np.array([3, 4], np.int32), 5), 4)


@pytest.mark.parametrize("user_ids", [True, False])
def test_source_and_target_are_the_history_behind_the_prompt(words: vocabulary.Vocabulary, user_ids: bool) -> None:
    """Put together around the start token they are what Hugging Face makes of the whole history's text."""
    users = rows(words, "<User>", 6) if user_ids else None
    examples = AutoregressiveExamples(
        words, rows(words, "<Item>", 40), HISTORIES, users, task=TaskConfig(tasks=("autoregressive",), max_history=3)
    )
    which = np.array([4, 0, 2])
    source, source_at, target, target_at = examples.build(which, epoch=7)
    for row, piece in enumerate(which):
        user, start, size = (int(column[piece]) for column in examples.pieces)
        name = "".join(words.tokenizer.convert_ids_to_tokens(users[user].tolist())) if users is not None else "the user"
        items = HISTORIES.items[start : start + size + 1]
        text = " ".join("".join(words.tokenizer.convert_ids_to_tokens(rows(words, "<Item>", 40)[i])) for i in items)
        whole = [
            *source[source_at[row] : source_at[row + 1]],
            words.item_prefix,
            *target[target_at[row] : target_at[row + 1]],
        ]
        assert whole == words.tokenizer(f"{name} chose {text}")["input_ids"]
    for lengths, at in zip(examples.lengths(7), (source_at, target_at), strict=True):
        np.testing.assert_array_equal(lengths[which], np.diff(at))
