"""The rules of Grafana's own linter, dashboard-linter, which cannot be had here: names, units, variables and rate intervals.

An exclusion stands here with its reason, as the linter's own file .lint has them.
"""

import re
from typing import Any

import pytest

from tests.dashboards.written import EVERY, NAMES, Asked, panels, read, variables

UNITS = {"reqps", "cps", "percentunit", "s", "ms", "bytes", "short"}  # of Grafana's list
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTOR = re.compile(r"([a-z]\w*(?::\w+)*)\{([^}]*)\}")
FOREIGN = re.compile(r"kube_|namespace_service:")
# Series whose job and instance are of the exporter or of the recording rule, and say nothing of the service.
WHY_NOT_BY_TARGET = "kube-state-metrics tells of all pods, and a record has no target"
ON_BOARDS = pytest.mark.parametrize("name", NAMES)
OF_QUERIES = pytest.mark.parametrize("query", EVERY, ids=str)


@ON_BOARDS
def test_a_dashboard_is_changed_in_python_alone(name: str) -> None:
    board = read(name)
    assert board["editable"] is False
    assert board["title"]
    assert board["description"]


@ON_BOARDS
def test_the_data_source_is_a_variable_and_everything_asks_it(name: str) -> None:
    (source,) = [each for each in variables(name) if each["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")
    asking: list[Any] = [*panels(name), *(target for panel in panels(name) for target in panel["targets"])]
    asking += [each for each in variables(name) if each["type"] == "query"] + read(name)["annotations"].get("list", [])
    assert all(each["datasource"] == SOURCE for each in asking)


@ON_BOARDS
@pytest.mark.parametrize("wanted", ["job", "instance"])
def test_job_and_instance_are_variables_of_several_values(name: str, wanted: str) -> None:
    (found,) = [each for each in variables(name) if each["name"] == wanted]
    assert (found["label"], found["multi"], found["includeAll"], found["allValue"]) == (wanted.capitalize(), True, True, ".+")


@ON_BOARDS
def test_choices_follow_the_time_that_is_shown_and_earlier_choices(name: str) -> None:
    known = {"datasource"}
    for each in [each for each in variables(name) if each["type"] == "query"]:
        assert each["refresh"] == 2, each["name"]
        assert each["label"]
        assert re.fullmatch(r"label_values\(.+, \w+\)", each["query"]["query"])
        assert set(re.findall(r"\$(\w+)", each["query"]["query"])) <= known
        known.add(each["name"])


@ON_BOARDS
def test_a_link_to_another_dashboard_carries_no_choice_that_has_other_values_there(name: str) -> None:
    found = {each["name"]: each for each in variables(name)}
    (link,) = read(name)["links"]
    assert link["includeVars"] is True
    assert {each for each in found if found[each]["skipUrlSync"]} == {"namespace", "job", "instance"} & found.keys()
    assert {each for each in found if found[each].get("hide")} == {"namespace"} & found.keys()


@ON_BOARDS
def test_a_number_is_asked_for_once_and_a_line_as_a_range(name: str) -> None:
    for panel in panels(name):
        is_number = panel["type"] == "stat"
        assert {(each["instant"], each["range"]) for each in panel["targets"]} == {(is_number, not is_number)}, panel["title"]


@ON_BOARDS
def test_every_panel_has_a_title_a_description_a_unit_and_a_query(name: str) -> None:
    found = panels(name)
    for panel in found:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
    assert len({panel["id"] for panel in read(name)["panels"]}) == len(read(name)["panels"])


@ON_BOARDS
def test_no_panel_covers_another(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read(name)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@OF_QUERIES
def test_a_query_knows_only_variables_of_its_dashboard_and_grafana(query: Asked) -> None:
    known = {each["name"] for each in variables(query.dashboard)} | {"__rate_interval", "__range", "__interval"}
    assert set(re.findall(r"\$([a-z_]\w*)", query.expr)) <= known


@OF_QUERIES
def test_a_rate_takes_the_interval_that_grafana_chooses(query: Asked) -> None:
    assert re.findall(r"\b(?:rate|irate|increase)\(\w+\{[^}]*\}(?!\[\$__rate_interval\])", query.expr) == []
    assert set(re.findall(r"\}\[([^\]]*)\]", query.expr)) <= {"$__rate_interval", "$__range"}


@OF_QUERIES
def test_a_counter_is_read_by_its_rate_alone(query: Asked) -> None:
    counters = re.findall(r"(?<![\w(])(\w+_total)\{|(\w+\()(\w+_total)\{", query.expr)
    assert all(call in ("rate(", "increase(") for _, call, _ in counters), query.expr


@OF_QUERIES
def test_a_query_asks_for_the_chosen_targets_and_for_no_namespace_of_its_own(query: Asked) -> None:
    selectors = SELECTOR.findall(query.expr)
    assert selectors
    for metric, matchers in selectors:
        assert re.search(r'((?:destination_)?)namespace=~"\$\1namespace"', matchers), metric
        if not FOREIGN.match(metric):
            assert 'job=~"$job"' in matchers, (metric, WHY_NOT_BY_TARGET)
            assert 'instance=~"$instance"' in matchers, metric


@OF_QUERIES
def test_no_query_hides_that_there_is_no_data_or_needs_istios_own_metrics(query: Asked) -> None:
    assert "vector(" not in query.expr
    assert "absent" not in query.expr
    assert "istio_" not in query.expr
