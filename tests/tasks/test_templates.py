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


@pytest.mark.parametrize("task", [task for task in templates.TEMPLATES if task != "autoregressive"])
def test_prompt_vectors_stand_before_words_in_training_and_instead_of_them_in_answers(task: str) -> None:
    front = f"<{task}:1><{task}:2>"
    assert templates.prompt_vector_names([task], 2) == (f"<{task}:1>", f"<{task}:2>")
    trained = templates.training_templates(task, 2)
    assert [t.source for t in trained] == [f"{front} {t.source}" for t in templates.templates(task)]
    assert templates.training_templates(task) == templates.templates(task)
    answered = templates.answered_template(task, vectors=2)
    assert answered.source == front + "".join(f" {{{slot}}}" for slot in answered.slots)
    assert set(answered.slots) == set(templates.templates(task)[0].slots) - {"stars"}
    anonymous = templates.without_user(answered)
    assert anonymous.source == front + "".join(f" {{{slot}}}" for slot in answered.slots if slot != "user")
    assert templates.answered_template(task) == templates.templates(task)[0]
