"""While a service has a canary, the dashboards name the service. Asked of a real Prometheus, whose blocks promtool filled.

The blocks hold an hour of every series that these dashboards ask for. Another namespace has two services, and one of them is
named as a canary of the other would be.
"""

import re
import time
from collections.abc import Iterator, Mapping
from itertools import product

import pytest

from conf.plan.own_panels import RECORD, UNITS
from conf.render.arms import arm_names
from tests.conf.platform_queries import known_series
from tests.dashboards.picture import Line
from tests.dashboards.real_prometheus import PrometheusServer, over_blocks
from tests.dashboards.test_long_windows import VALUES
from tests.dashboards.written import RELEASES, asked, panels, variables

SHOWN, STEP, RATE = 3600, 60, 2.0  # RATE: of every counter
BOARDS = ("fleet", "gateway", "release", "service")
CANARY, BASELINE = arm_names("demo")
OF_SERVICES = {"service", "container", "arm", "arm_of"}  # labels that the gateway's own series have otherwise
OF_KUBERNETES = ("Pods wanted and ready", "Restarts")  # panels that name Deployments and pods


def pod(namespace: str, service: str, arm: str = "", version: str = "1") -> dict[str, str]:
    """Return the labels of the one pod of a service, or of its arm, as a scrape and the gateway make them."""
    name = arm or service
    names = dict.fromkeys(("job", "deployment", "destination_service", "cluster_name"), name)
    arms = {"arm": arm.removeprefix(f"{service}-"), "arm_of": service if arm else ""}
    made = {**names, **arms, "service": service, "container": service, "pod": f"{name}-a", "version": version}
    return {**made, "namespace": namespace, "destination_namespace": namespace, "user": namespace, "track": "prod"}


ARMS = (pod("like", "demo", CANARY, "2"), pod("like", "demo", BASELINE))
PODS: tuple[dict[str, str], ...] = (pod("like", "demo"), *ARMS, pod("other", "demo"), pod("other", CANARY))


def lines(end: int) -> Iterator[str]:
    """Yield the lines of the blocks, as OpenMetrics. end: seconds since 1970. The arms came in the middle of the hour."""
    queries = [query.expr for name in BOARDS for query in asked(name)]
    names = {name for expr in queries for name in re.findall(r"([a-z]\w*)\{", expr)}
    for name in sorted(names & known_series().keys()):
        labels = (known_series()[name] or frozenset()) - (OF_SERVICES if name.startswith("envoy_") else set())
        varied = [label for label in ("le", "code", "envoy_response_code_class") if label in labels]
        for known in PODS:
            for value in VALUES[varied[0]] if varied else ("",):
                reason = "full" if name == "monopod_shed_total" else ""
                filled = known | dict.fromkeys(varied, value) | {"reason": reason}
                series = ",".join(f'{label}="{filled.get(label, "x")}"' for label in sorted(labels) if filled.get(label, "x"))
                grows = name.endswith(("_total", "_bucket", "_sum", "_count")) and name != "envoy_cluster_membership_total"
                for at in range(end - (SHOWN // 2 if known in ARMS else SHOWN + STEP), end + 1, STEP):
                    yield f"{name}{{{series}}} {RATE * (at - end + 2 * SHOWN) if grows else 1} {at}"
    services = [f'namespace="{each["namespace"]}",service="{each["container"]}"' for each in PODS if each not in ARMS]
    for where, unit, at in product(services, UNITS, range(end - SHOWN - STEP, end + 1, STEP)):
        yield f'{RECORD}{{{where},track="prod",panel="one",unit="{unit}"}} 1 {at}'
    yield "# EOF"


@pytest.fixture(scope="module")
def with_arms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus on this machine, over an hour with a canary."""
    folder = tmp_path_factory.mktemp("arms")
    end = int(time.time()) // STEP * STEP - STEP
    with over_blocks(folder, lines(end), end - SHOWN, end, STEP) as shown:
        yield shown


def legends(shown: PrometheusServer, board: str, choices: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the value at the end of each line of a dashboard, by the panel's title and the line's legend."""
    values = shown.chosen(board, choices)
    written = {(each["title"], target["refId"]): target["legendFormat"] for each in panels(board) for target in each["targets"]}
    found: dict[str, dict[str, float]] = {}
    for query in asked(board):
        for series in shown.shown(query, values) if query.panel != RELEASES else []:
            line = Line(series["labels"], written[query.panel, query.letter], ())
            found.setdefault(query.panel, {})[line.title] = series["points"][-1][1]
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_the_choice_of_a_service_names_no_arm(board: str, with_arms: PrometheusServer) -> None:
    like = "destination_namespace" if board == "gateway" else "user"
    (service,) = [each for each in variables(board) if each["name"] == "service"]
    assert with_arms.options(service, with_arms.chosen(board, {like: "like"})) == ["demo"]


def test_a_service_that_is_named_as_an_arm_of_another_is_a_choice_with_its_own_lines_alone(with_arms: PrometheusServer) -> None:
    (service,) = [each for each in variables("fleet") if each["name"] == "service"]
    assert with_arms.options(service, with_arms.chosen("fleet", {"user": "other"})) == ["demo", "demo-canary"]
    found = legends(with_arms, "service", {"user": "other", "service": "demo"})
    assert found["Requests by pod"].keys() == {"demo-a"}


def test_every_line_of_the_fleet_is_a_services_and_counts_the_pods_of_its_arms(with_arms: PrometheusServer) -> None:
    found = legends(with_arms, "fleet", {})
    named = {each for title, lines in found.items() if title not in OF_KUBERNETES for each in lines if "/" in each}
    assert {each.split()[0] for each in named} == {"like/demo", "other/demo", "other/demo-canary"}
    assert found["Traffic"]["like/demo"] == pytest.approx(3 * found["Traffic"]["other/demo"])
    assert found["Services"] == {"services": 3}
    assert found["Pods"] == {"pods": 5}
    wanted = {name for name in found["Pods wanted and ready"] if name.startswith("like/") and name.endswith("wanted")}
    assert wanted == {f"like/{name} wanted" for name in ("demo", "demo (canary)", "demo (baseline)")}


def test_a_services_dashboard_has_the_pods_of_its_arms_and_no_mark_where_a_canary_begins(with_arms: PrometheusServer) -> None:
    choices = {"user": "like", "service": "demo"}
    found = legends(with_arms, "service", choices)
    assert found["Requests by pod"].keys() == {"demo-a", "demo-canary-a", "demo-baseline-a"}
    (marks,) = [query for query in asked("service") if query.panel == RELEASES]
    assert {each["labels"]["version"] for each in with_arms.shown(marks, with_arms.chosen("service", choices))} <= {"1"}


def test_a_canarys_version_can_be_set_beside_that_of_its_service(with_arms: PrometheusServer) -> None:
    sides = {"left_track": "prod", "left_version": "1", "right_track": "prod", "right_version": "2"}
    values = with_arms.chosen("release", {"user": "like", "service": "demo", **sides})
    old, new = (with_arms.shown(query, values)[0]["points"][-1][1] for query in asked("release") if query.panel == "Requests")
    assert old == pytest.approx(2 * new)


def test_the_gateways_lines_show_an_arm_beside_its_service(with_arms: PrometheusServer) -> None:
    found = legends(with_arms, "gateway", {"destination_namespace": "like", "service": "demo"})
    assert found["Queries a second"].keys() == {"like/demo", "like/demo (canary)", "like/demo (baseline)"}
    assert {name.removesuffix(" known").removesuffix(" healthy") for name in found["Pods that get requests"]} == (
        found["Queries a second"].keys()
    )
