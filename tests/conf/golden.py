"""The golden renders: the list of them, and how each is made."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from conf.clusters.regions import Regions, load
from conf.plan.plan import TRACKS, plan
from conf.render.templates import render
from conf.rules.check import read
from tests.running import ROOT

GOLDEN = ROOT / "tests" / "golden"
SERVICES = {"demo": ROOT, "every-setting": ROOT / "tests/services/every-setting", "gpu": ROOT / "tests/services/gpu"}
ROUTINGS = ("istio", "gateway-api")
DIGEST = "sha256:" + "0123456789abcdef" * 4


@cache
def regions(routing: str = "") -> Regions:
    """Return the regions of the golden renders. routing: the way to route in all of them; "" leaves each region its own."""
    found = load(GOLDEN / "regions.yaml", "tests/golden/regions.yaml")
    if not routing:
        return found
    return replace(found, regions={name: replace(region, routing=routing) for name, region in found.regions.items()})


def is_the_platforms_own_root() -> bool:
    """Return whether the root is still the platform's demo. The service of a fork has no golden renders."""
    text = (ROOT / "value.py").read_text(encoding="utf-8")
    return 'service_name = "demo"' in text and 'username = "like"' in text


def renders() -> Iterator[tuple[Path, str]]:
    """Yield the path of each golden file and the text that it should hold."""
    for name, folder in SERVICES.items():
        if name == "demo" and not is_the_platforms_own_root():
            continue
        for routing in ROUTINGS:
            service, mistakes = read(folder, regions(routing), f"registry.example.com/{name}:1.0.0@{DIGEST}")
            assert mistakes == []
            assert service
            for track in TRACKS:
                for each in plan(service.value, regions(routing), track, service.image, service.own):
                    yield GOLDEN / name / f"{each.region}-{track}-{routing}.yaml", render(each)
