"""Requests of the data port go to their routes, and each is counted and logged once, with its route's name."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from serving.base.errors import SHED, BadInput, NotFound, QueueFull
from serving.core.messages import Reply
from serving.models.registry import ModelRegistry
from serving.settings import Settings
from serving.telemetry.access_log import AccessLog
from serving.telemetry.metrics import Metrics
from serving.web.data_port import REFUSALS_LOGGED_A_SECOND, DataPort, HotRoute, HotRoutes, refusal_counter
from serving.web.front.request_cycle import RequestCycle
from tests.serving.models.recording import RecordingObserver
from tests.serving.web.request_cycles import Front, kept, own_loop

FINE = Reply(b"{}")


class Hot:
    """One hot route, /hot, which counts in the queue of model m. /missing is hot too, and raises."""

    def __init__(self) -> None:
        self.started: list[RequestCycle] = []

    def find(self, path: str) -> HotRoute | None:
        routes = {"/hot": HotRoute("infer", "m", self.started.append), "/missing": HotRoute("infer", "s", self._missing)}
        return routes.get(path)

    def _missing(self, cycle: RequestCycle) -> None:
        raise NotFound("no such model")


class Access:
    """Keeps the access lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def note(self, *line: Any) -> None:
        self.lines.append(line)


class Asked:
    """A data port whose requests end when the test says so."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop):
        self.other: list[RequestCycle] = []  # what the worker threads would run
        self.hot, self.access, self.metrics = Hot(), Access(), Metrics()
        self.models = ModelRegistry(folder, Settings(service_name="s", username="u"), RecordingObserver())
        hot, other, access = cast(HotRoutes, self.hot), self.other.append, cast(AccessLog, self.access)
        self.port = DataPort(hot, other, lambda method, path: f"found {method} {path}", self.models, self.metrics, access, "s")
        self.front = Front(loop, self.port.run)
        object.__setattr__(self.front.rules, "ended", self.port.ended)

    def begin(self, line: bytes, *lines: bytes) -> RequestCycle:
        cycle = self.front.cycle(line + b" HTTP/1.1\r\nHost: x\r\n", *lines)
        assert cycle.run(b"{}", True) is None
        return cycle

    def value(self, line: str) -> float:
        """Return a metric's value. line: name and labels as on the page."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics.page().decode(), re.MULTILINE)
        return float(found[1]) if found else -1.0


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    with own_loop() as loop:
        yield Asked(tmp_path, loop)


def test_a_hot_route_is_started_and_what_it_expects_is_forgotten_when_it_ends(asked: Asked) -> None:
    cycle = asked.begin(b"POST /hot")
    assert (asked.hot.started, asked.other, cycle.route) == ([cycle], [], "infer")
    assert asked.models.waiting_rows() == 0
    asked.models.expect("m", cycle.life)  # as the core does when the request leaves the loop
    cycle.finish(FINE)
    assert asked.models.waiting_rows() == 0


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"HEAD", b"OPTIONS"])
def test_a_hot_path_by_another_method_is_left_to_others(asked: Asked, method: bytes) -> None:
    cycle = asked.begin(method + b" /hot")
    assert (asked.hot.started, asked.other) == ([], [cycle])


def test_any_other_work_counts_as_a_row_of_the_service_and_light_requests_do_not(asked: Asked) -> None:
    work, light = asked.begin(b"POST /own"), asked.begin(b"GET /own")
    assert asked.other == [work, light]
    assert asked.models.waiting_rows("s") == 1
    assert asked.models.oldest_age("s") > 0
    light.finish(FINE)
    assert asked.models.waiting_rows("s") == 1
    work.finish(FINE)
    assert (asked.models.waiting_rows("s"), asked.models.oldest_age("s")) == (0, 0.0)


@pytest.mark.parametrize("how", ["an error", "a client that has gone", "a deadline"])
def test_no_row_waits_once_a_request_has_ended_in_any_way(asked: Asked, how: str) -> None:
    cycle = asked.begin(b"POST /hot")
    if how == "an error":
        cycle.finish(BadInput("bad"))
    elif how == "a client that has gone":
        cycle.abandon()
    else:
        cycle.finish(cycle.life.too_late())
    assert (asked.models.waiting_rows(), asked.front.gate.empty()) == (0, True)


def test_a_route_that_refuses_at_once_is_answered_and_counted(asked: Asked) -> None:
    cycle = asked.begin(b"POST /missing")
    assert kept(cycle).status == 404
    assert asked.value('monopod_requests_total{code="404",reason="not_found",route="infer"}') == 1
    assert asked.models.waiting_rows() == 0


def test_the_stages_of_a_request_add_up_to_its_duration_on_the_page(asked: Asked) -> None:
    cycle = asked.begin(b"POST /hot")
    cycle.times.begin("decode")
    cycle.times.begin("queue")
    cycle.finish(FINE)
    stages = [line for line in asked.metrics.page().decode().splitlines() if "stage_duration_seconds_sum" in line]
    total = asked.value('monopod_request_duration_seconds_sum{route="infer"}')
    assert total > 0
    assert sum(float(line.split()[-1]) for line in stages) == pytest.approx(total, rel=1e-6)


def test_requests_without_work_have_a_duration_and_no_stages(asked: Asked) -> None:
    asked.begin(b"GET /page").finish(FINE)
    assert asked.value('monopod_request_duration_seconds_count{route="found GET /page"}') == 1
    assert asked.value('monopod_stage_duration_seconds_count{stage="queue"}') == 0


def test_a_route_is_named_by_whoever_ran_it_and_else_found_by_its_path(asked: Asked) -> None:
    named, unnamed = asked.begin(b"POST /own/7"), asked.begin(b"POST /own/8")
    named.route = "own"
    named.finish(FINE)
    unnamed.abandon()
    assert [line[4] for line in asked.access.lines] == ["own", "found POST /own/8"]


def test_the_status_that_the_page_polls_is_logged_and_not_counted(asked: Asked) -> None:
    cycle = asked.begin(b"GET /status")
    cycle.route = "status"
    cycle.finish(FINE)
    assert 'route="status"' not in asked.metrics.page().decode()
    assert len(asked.access.lines) == 1


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", "a" * 32),
        (b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01", ""),
        (b"no trace", ""),
    ],
)
def test_an_access_line_holds_what_is_known_of_a_request(asked: Asked, header: bytes, trace: str) -> None:
    cycle = asked.begin(b"POST /hot", b"X-Request-Id: id-7", b"traceparent: " + header)
    cycle.finish(BadInput("bad"))
    ((_, method, path, name, route, status, milliseconds, reason, found),) = asked.access.lines
    assert (method, path, name, route, status, reason) == ("POST", b"/hot", "id-7", "infer", 400, "bad_input")
    assert 0 <= milliseconds < 60_000
    assert found == trace


def test_a_refusal_is_counted_always_and_logged_so_often_a_second(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    refused = refusal_counter(metrics)
    page = metrics.page().decode()
    for kind in SHED:
        assert f'monopod_shed_total{{reason="{kind.reason}"}} 0\n' in page
    with caplog.at_level(logging.INFO):
        for _ in range(REFUSALS_LOGGED_A_SECOND * 10):
            refused(QueueFull("full"), 0.0)
    page = metrics.page().decode()
    assert 'monopod_shed_total{reason="queue_full"} 100\n' in page
    assert 'monopod_requests_total{code="429",reason="queue_full",route="refused"} 100\n' in page
    assert 0 < len(caplog.records) < 100
    assert json.dumps(caplog.records[0].getMessage()) == '"refused: full"'
