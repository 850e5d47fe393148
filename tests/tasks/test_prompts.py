import pytest

from jaxrec.tasks import prompts


@pytest.mark.parametrize("task", prompts.TEMPLATES)
def test_ten_seen_and_one_unseen(task: str) -> None:
    assert len(prompts.templates(task)) == 10
    assert len(prompts.templates(task, seen=False)) == 1
    assert len({t.source for t in prompts.TEMPLATES[task]}) == 11


def test_slots() -> None:
    assert all(sorted(t.slots) == ["history", "user"] for t in (*prompts.SEQUENTIAL, *prompts.COLLABORATIVE))
    assert all(t.slots == ["user"] for t in prompts.DIRECT)
    assert prompts.without_user(prompts.SEQUENTIAL[0]).slots == ["history"]


def test_unknown_task() -> None:
    with pytest.raises(ValueError, match="'rate' is not known; there are: sequential, collaborative, direct"):
        prompts.templates("rate")


def test_texts_hold_no_slot() -> None:
    assert not any("{" in text for text in prompts.texts())
