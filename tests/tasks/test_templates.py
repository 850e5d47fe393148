import pytest

from jaxrec.tasks import templates


@pytest.mark.parametrize("task", templates.TEMPLATES)
def test_seen_templates_and_one_unseen(task: str) -> None:
    seen = 1 if task == "autoregressive" else 10  # what a history begins with is no question to vary
    assert len(templates.templates(task)) == seen
    assert len(templates.templates(task, seen=False)) == 1
    assert len({t.source for t in templates.TEMPLATES[task]}) == seen + 1


def test_slots() -> None:
    assert all(sorted(t.slots) == ["history", "user"] for t in (*templates.SEQUENTIAL, *templates.COLLABORATIVE))
    assert all(t.slots == ["user"] for t in templates.DIRECT)
    assert templates.without_user(templates.SEQUENTIAL[0]).slots == ["history"]


def test_unknown_task() -> None:
    with pytest.raises(ValueError, match="'rate' is not known; there are: sequential, collaborative, direct"):
        templates.templates("rate")


def test_texts_hold_no_slot() -> None:
    assert not any("{" in text for text in templates.template_texts())
