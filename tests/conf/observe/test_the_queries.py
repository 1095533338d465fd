"""Every query that is sent to Prometheus names metrics and labels that exist, and fits into the head of a request."""

import pytest

from conf.observe.figures import figures_query, offline_query
from conf.observe.offline_figures import offline_status_query
from conf.observe.service_report import hourly, hourly_records, over_all, versions
from tests.conf.platform_queries import mistakes_of

QUERIES = {
    "figures": figures_query("s" * 40, ["u" * 40, "grey", "ab-test"], "300s"),
    "offline figures": offline_query("s" * 40, ["u" * 40, "grey", "ab-test"], "300s"),
    "offline status": offline_status_query("s" * 40, "u" * 40),
    "versions": versions("small", "like"),
    **hourly("small", "like", 15.0),
    **over_all("small", "like", 7),
    **{f"offline {name}": query for name, query in hourly_records("small-offline", "like").items()},
    **{f"offline {name}": query for name, query in over_all("small-offline", "like", 7, offline=True).items()},
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_metrics_and_labels_that_exist(name: str) -> None:
    assert mistakes_of(QUERIES[name]) == []


def test_the_longest_query_fits_into_the_head_of_a_request() -> None:
    assert max(map(len, QUERIES.values())) < 6000
