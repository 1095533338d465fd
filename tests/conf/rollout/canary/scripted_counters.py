"""Counters that a test says, and a judge that reads them: for what happens to pods only by chance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from conf.clusters.regions import load
from conf.observe.metrics_page import Page, parsed
from conf.rollout.canary.counters import PAGE_SECONDS, Counters, Standing
from conf.rollout.canary.judge import Judge
from serving.settings import Settings
from tests.conf.rollout.checkout import regions_of
from tests.conf.rollout.gateways import ENVOY_GATEWAY

OLD, NEW, BASELINE = "small", "small-canary", "small-baseline"
RATE = 100.0  # requests a second


class ScriptedCounters(Counters):
    """pages: the text of each pod's page: Service -> pod -> text."""

    def __init__(self) -> None:
        self.pages: Mapping[str, Mapping[str, str]] = {}

    def standing(self, services: Sequence[str], *, new: bool = True) -> Standing:
        pods = {each: {pod: page(text) for pod, text in self.pages.get(each, {}).items()} for each in services}
        return Standing(pods, "a script", PAGE_SECONDS)

    def rate(self, service: str) -> float:
        return RATE


def page(text: str) -> Page:
    return parsed(f"monopod_ready 1\n{text}\n", 0.0)


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
