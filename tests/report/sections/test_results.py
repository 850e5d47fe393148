"""The best baseline, and differences with their intervals as they are shown."""

import xml.etree.ElementTree as ET

from jaxrec.report.sections.results import best_baseline, results_section


def test_the_best_baseline_is_no_row_of_the_method() -> None:
    rows = [
        {"system": "META ID", "ndcg@10": 0.9},
        {"system": "META ID (user id only)", "ndcg@10": 0.8},
        {"system": "popularity", "ndcg@10": 0.1},
        {"system": "item-kNN", "ndcg@10": 0.2},
        {"system": "item-kNN, unseen users", "ndcg@10": 0.7},
    ]
    best = best_baseline({"rows": rows})
    assert best is not None
    assert best["system"] == "item-kNN"
    assert best_baseline({"rows": rows[:2]}) is None


def test_intervals_as_they_are_shown() -> None:
    row = {"system": "META ID", "hr@10": 0.5, "n_users": 9, "baseline": False}
    interval = {"system": "META ID", "baseline": "item-kNN", "metric": "hr@10"}
    interval |= {"difference": 0.02, "low": 0.01, "high": 0.03, "n_users": 9}
    report = {"rows": [row], "mask_seen": True, "n_items": 5, "intervals": [interval]}
    content = results_section(report).content
    text = " ".join(ET.fromstring(f"<section>{content}</section>").itertext())
    assert "+0.0200" in text
    assert "+0.0100 to +0.0300" in text
    assert 'class="good"' in content
