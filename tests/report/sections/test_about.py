"""Paths lose their folders before a page may be passed on."""

from jaxrec.report.sections.about import without_folders


def test_of_a_path_from_the_root_only_the_last_part_is_shown() -> None:
    assert without_folders("launch.train configs/a.py --out /home/me/runs/x --data.path a/b.csv") == (
        "launch.train configs/a.py --out …/x --data.path a/b.csv"
    )
