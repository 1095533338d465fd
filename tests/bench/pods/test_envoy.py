"""Envoy's configuration, against the plan that the templates are filled from."""

from typing import Any

from bench.pods.envoy import configuration, planned
from bench.pods.payloads import POD_PATH
from bench.pods.servers import outside_path


def cluster() -> dict[str, Any]:
    plan, kept = planned(4)
    found: dict[str, Any] = configuration(plan, kept, 1000, 1001, [2000, 2001])["static_resources"]["clusters"][0]
    return found


def test_every_pod_is_an_endpoint_and_the_one_with_fewest_requests_gets_the_next() -> None:
    (locality,) = cluster()["load_assignment"]["endpoints"]
    ports = [each["endpoint"]["address"]["socket_address"]["port_value"] for each in locality["lb_endpoints"]]
    assert ports == [2000, 2001]
    assert cluster()["lb_policy"] == "LEAST_REQUEST"


def test_a_pod_is_ejected_for_failures_to_reach_it_and_never_for_its_answers() -> None:
    plan, _ = planned(4)
    outliers = cluster()["outlier_detection"]
    assert outliers["consecutive_local_origin_failure"] == plan.ejection_failures
    assert outliers["split_external_local_origin_errors"] is True
    enforced = {name for name, value in outliers.items() if name.startswith("enforcing_") and value}
    assert enforced == {"enforcing_consecutive_local_origin_failure"}


def test_limits_and_times_are_the_plans() -> None:
    plan, _ = planned(4)
    (limits,) = cluster()["circuit_breakers"]["thresholds"]
    assert set(limits.values()) == {plan.connections}
    assert cluster()["connect_timeout"] == plan.connect_timeout


def test_the_path_outside_is_rewritten_to_the_pods() -> None:
    plan, kept = planned(4)
    (listener,) = configuration(plan, kept, 1000, 1001, [2000])["static_resources"]["listeners"]
    assert listener["per_connection_buffer_limit_bytes"] == kept
    (manager,) = (each["typed_config"] for each in listener["filter_chains"][0]["filters"])
    (host,) = manager["route_config"]["virtual_hosts"]
    exact, below = host["routes"]
    assert outside_path().startswith(below["match"]["prefix"])
    assert outside_path().replace(below["match"]["prefix"], below["route"]["prefix_rewrite"], 1) == POD_PATH
    assert exact["match"]["path"] + "/" == below["match"]["prefix"]
    assert below["route"]["retry_policy"]["retry_on"] == plan.retry_on
