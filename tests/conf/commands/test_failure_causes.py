"""The causes that are named beside the share of answers that fail."""

from pathlib import Path

from conf.clusters.regions import load
from conf.commands.health_command import failure_causes
from conf.observe.figures import ObservedTrack, PodFigures, TrackFigures
from serving.settings import Settings
from tests.conf.observe.folders import write_regions


def test_the_pods_that_fail_are_named_and_so_is_what_cannot_be_read(tmp_path: Path) -> None:
    region = load(write_regions(tmp_path, {"hk": "http://127.0.0.1:1"})).regions["hk"]
    pods = [PodFigures(f"small-{number}", valid=10.0, errors=float(number)) for number in range(5)]
    track = TrackFigures("hk", "prod", "like", "small", pods=tuple(pods))
    found = failure_causes(ObservedTrack(region, "prod", "like", Settings(service_name="small", username="like"), 1), track)
    assert found[0] == "4 pods of 5: small-4 40 %, small-3 30 %, small-2 20 %, and 1 more pod"
    assert found[1].startswith("the errors in the logs: not known: context 'no-context-of-hk' cannot be used")
    assert found[2].startswith("the last release: not known: context 'no-context-of-hk' cannot be used")
