"""Counters and verdicts that a test says, for what happens to pods only by chance, and for pods that are simulated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from conf.canary.verdict import Verdict
from conf.clusters.regions import load
from conf.observe.prometheus import NoFigures
from conf.rollout.canary.counting import Labels, PodCounters
from conf.rollout.canary.driver import Order
from conf.rollout.canary.judge import Counters, Finding, Judge, Outlook, Pods
from conf.rollout.canary.state import Canary, Journal, Rules
from serving.settings import Settings
from tests.conf.rollout.checkout import regions_of
from tests.conf.rollout.gateways import ENVOY_GATEWAY

OLD, NEW, BASELINE = "small", "small-canary", "small-baseline"
RATE = 100.0  # requests a second


class ScriptedCounters(Counters):
    """pages: the text of each pod's metrics: Service -> pod -> text. is_away: whether Prometheus does not answer.

    apart: seconds between the latest scrapes of both arms.
    """

    def __init__(self) -> None:
        self.pages: Mapping[str, Mapping[str, str]] = {}
        self.is_away = False
        self.apart = 0.0

    def __str__(self) -> str:
        return "a script"

    def read(self, services: Sequence[str]) -> tuple[dict[str, Pods], float]:
        if self.is_away:
            raise NoFigures("Prometheus is away")
        pages = {each: self.pages.get(each, {}) for each in services}
        return {each: {pod: pod_counters(text) for pod, text in pods.items()} for each, pods in pages.items()}, self.apart

    def rate(self, service: str) -> float:
        return RATE


def pod_counters(text: str) -> PodCounters:
    """Return the counters of a pod's metrics, which are in the text format."""
    series: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(f"{text}\n"):
        for each in family.samples:
            series.setdefault(each.name, []).append((each.labels, each.value))
    return PodCounters(series)


def answered(count: int, code: int = 200, reason: str = "") -> str:
    """Return the line of a page that counts answers."""
    return f'monopod_requests_total{{route="service",code="{code}",reason="{reason}"}} {count}'


def scripted(folder: Path) -> tuple[Judge, ScriptedCounters]:
    """Return a judge of the service OLD, and its counters."""
    file = folder / "regions.yaml"
    file.write_text(regions_of(ENVOY_GATEWAY, {"hk": "no-context-of-hk"}))
    counters = ScriptedCounters()
    settings = Settings(service_name=OLD, username="like")
    return Judge(load(file).regions["hk"], "like", OLD, settings, counters), counters


class ScriptedJudge(Judge):
    """Gives one verdict after another, the last of them for ever. trouble: in place of the verdict with that number.

    begun: where pods begin that were found after the step began. unplanned: the errors that answer the first questions before
    a canary. unbegun: those that answer the first ones as a step begins.
    """

    def __init__(self, *states: str, trouble: str = "", begun: Mapping[str, Mapping[str, float]] | None = None):
        self.states, self.trouble, self.begun = list(states), trouble, begun or {}
        self.unplanned: list[NoFigures] = []
        self.unbegun: list[NoFigures] = []

    @property
    def source(self) -> str:
        return "a script"

    def edges(self) -> tuple[tuple[float, float], ...]:
        if self.unplanned:
            raise self.unplanned.pop(0)
        return ()

    def outlook(self, canary: Canary) -> Outlook:
        return Outlook(1.0, tuple(1.0 for _ in canary.shares), tuple(1.0 for _ in canary.shares))

    def begin(self, canary: Canary) -> dict[str, Mapping[str, float]]:
        if self.unbegun:
            raise self.unbegun.pop(0)
        return {}

    def look(self, canary: Canary, restarts: Mapping[str, int], now: float) -> Finding:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Finding(Verdict(state, ()), self.trouble, (f"errors: {state}",), self.begun)


RULES = Rules(step_seconds=20.0, pod_seconds=3.0, read_seconds=0.1)
UNDECIDED_SECONDS = 3.0  # of a step where no verdict comes


def order(*states: str, shares: tuple[int, ...] = (5, 50), undecided: str = "hold", trouble: str = "") -> Order:
    """Return an order whose steps get these verdicts."""
    seconds = UNDECIDED_SECONDS if states[-1] == "unknown" else RULES.step_seconds
    return Order(
        shares,
        replace(RULES, undecided=undecided, step_seconds=seconds),
        ScriptedJudge(*states, trouble=trouble),
        Journal("eu"),
    )
