"""The values of charts/monitoring: a region that says how alerts reach people keeps the relay and the routes."""

from dataclasses import replace

from conf.base.object_references import Item
from conf.charts.monitoring_values import monitoring_values
from conf.clusters.region import Alerting
from tests.conf import golden

REGIONS = golden.regions()


def values(alerting: Alerting | None) -> Item:
    return monitoring_values(REGIONS, replace(REGIONS.regions["hk"], alerting=alerting))


def test_a_region_with_alerting_turns_the_relay_and_the_routes_on() -> None:
    found = values(Alerting(webhook=True))
    assert found["relay"] == {
        "create": True,
        "image": "registry.example.com/monopod/relay:0.2.0",
        "secret": "monopod-relay",
        "receivers": ["robot", "webhook", "watchdog"],
        "proxy": "",
    }
    assert found["alertmanager"] == {"namespace": "monitoring", "create": True, "secret": "alertmanager-alertmanager"}


def test_a_dead_mans_switch_is_one_more_receiver_and_a_proxy_is_the_relays() -> None:
    relay = values(Alerting(proxy="http://proxy.lan:3128"))["relay"]
    assert (relay["receivers"], relay["proxy"]) == (["robot", "watchdog"], "http://proxy.lan:3128")
    assert values(Alerting(watchdog=False))["relay"]["receivers"] == ["robot"]


def test_alertmanagers_owner_may_keep_the_routes() -> None:
    found = values(Alerting(routes=False, relay_image="registry.lan/relay:7"))
    assert (found["alertmanager"]["create"], found["relay"]["create"]) == (False, True)
    assert found["relay"]["image"] == "registry.lan/relay:7"


def test_a_region_without_alerting_leaves_both_to_the_charts_own_values() -> None:
    found = values(None)
    assert "relay" not in found
    assert found["alertmanager"] == {"namespace": "monitoring"}
