"""The number of clusters where the config leaves it to the data."""

import pytest

from jaxrec.config import IdConfig
from jaxrec.tokenizers.groupings import MOST_CLUSTERS, clusters_of


@pytest.mark.parametrize(("rows", "clusters"), [(1, 1), (97, 10), (2600, 51), (10**6, MOST_CLUSTERS)])
def test_it_is_the_root_of_the_number_of_rows_up_to_a_limit(rows: int, clusters: int) -> None:
    assert clusters_of(IdConfig(clusters=0), rows) == clusters
    assert clusters_of(IdConfig(clusters=7), rows) == 7
