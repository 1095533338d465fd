"""The alerts that fire and the requests that fail, as a real Prometheus tells them."""

from pathlib import Path

import pytest

from conf.clusters.regions_file import load
from conf.observe.present_troubles import present_troubles, troubles_query
from conf.observe.prometheus import PrometheusClient, Sample
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import fill, prometheus

MINE = 'namespace="like",service="small"'


@pytest.mark.parametrize(("failed", "kinds"), [(25.0, ["requests fail", "alerts fire"]), (5.0, ["alerts fire"])])
def test_a_service_whose_requests_fail_and_whose_alerts_fire_is_told_and_no_other(
    tmp_path: Path, failed: float, kinds: list[str]
) -> None:
    growing = [15.0 * number for number in range(41)]
    requests = 'monopod_requests_total{%s,pod="small-1",route="service",code="%s",reason="%s"}'
    alert = 'ALERTS{alertname="%s",alertstate="%s",severity="critical",%s}'
    series = {
        requests % (MINE, 200, ""): ("counter", [(25.0 - failed) * each for each in growing]),
        requests % (MINE, 500, "internal"): ("counter", [failed * each for each in growing]),
        alert % ("ErrorBudgetBurnsFast", "firing", MINE): ("gauge", [1.0] * 41),
        alert % ("Restarts", "pending", MINE): ("gauge", [1.0] * 41),
        alert % ("Slow", "firing", 'namespace="like",service="other"'): ("gauge", [1.0] * 41),
    }
    fill(tmp_path, series, 15.0)
    with prometheus(tmp_path) as url:
        client = PrometheusClient(load(write_regions(tmp_path, {"hk": url})).regions["hk"])
        found = present_troubles(client.now(troubles_query("small", "small-offline", "like")))
    assert [kind for kind, _ in found] == kinds
    assert found[-1][1] == "alerts fire: ErrorBudgetBurnsFast (critical); docs/runbook.md says what to do"
    if failed == 25.0:
        assert found[0][1].startswith("100 % of the answers of the last two minutes are 5xx: `monopod health` names")


def test_without_requests_and_alerts_nothing_is_wrong() -> None:
    assert present_troubles([]) == []
    assert present_troubles([Sample({}, None)]) == []  # no request in two minutes
