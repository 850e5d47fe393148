"""Section "Recommendations": lists for a few users, beside the history that each of them comes from."""

from __future__ import annotations

from collections.abc import Sequence

from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.report.page import Section, render


def recommendations_section(users: Sequence[RecommendationList]) -> Section:
    """Histories, and recommended items with their ids and scores; the held-out item is marked."""
    score_name = users[0].score if users else "score"
    content = render("recommendations.html", users=users, score_name=score_name)
    return Section("recommendations", "Recommendations", content)
