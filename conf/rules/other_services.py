"""Rules between services of the same clusters, which cannot share a name or a port, and share a quota.

The others are read from a folder with a subfolder for each, whatever runs in a cluster now.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.clusters.regions import Regions
from conf.plan import own_pod as pod_file
from conf.plan.placement import need
from conf.plan.plan import most_offline_pods, most_pods, opens_host_port
from conf.rules.context import Violation, hint
from conf.rules.pod_fit import over_quota
from serving.settings import Settings, SettingsError, ValueFile, load
from serving.settings.reader import ConfigError


@dataclass(frozen=True)
class OtherService:
    """Another service. folder: the name of its folder. own_pod: of its pod.yaml."""

    folder: str
    value: ValueFile
    own_pod: pod_file.OwnPod = pod_file.NOTHING

    @property
    def name(self) -> str:
        return f"{self.value.settings.username}/{self.value.settings.service_name}"


def other_services(folder: Path, service: Path, regions: Regions) -> tuple[tuple[OtherService, ...], tuple[str, ...]]:
    """Return the services in a folder but for the service itself, and a warning for each that cannot be read."""
    found, warnings = [], []
    for path in sorted(item for item in folder.iterdir() if (item / "value.py").is_file()):
        if path.resolve() == service.resolve():
            continue
        try:
            found.append(OtherService(path.name, load(path / "value.py", tuple(regions.regions)), pod_file.load(path)))
        except SettingsError as error:
            warnings.append(
                f"{path.name}: left out, since its value.py has {len(error.mistakes)} mistakes: {error.mistakes[0]}"
            )
        except ConfigError as error:
            warnings.append(f"{path.name}: left out, since its {error.mistakes[0]}")
    return tuple(found), tuple(warnings)


def name_is_free(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    mine = value.checkable_in()
    for other in others:
        theirs = other.value.settings
        if theirs.service_name != mine.service_name:
            continue
        if theirs.username == mine.username:
            yield Violation(
                "service_name",
                f"{other.name} is taken by {other.folder}: the two would replace each other, and answer each other's requests;"
                " choose another service_name",
            )
        else:
            yield hint(
                "service_name",
                f"{other.name} ({other.folder}) has the same service_name: only one of the two can be in grey or ab-test at a"
                " time; choose another service_name if both are tried there",
            )


def host_port_is_free(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    for region in regions.regions:
        mine = value.checkable_in(region)
        if not (mine.replicas and opens_host_port(mine, "prod")):
            continue
        for other in others:
            theirs = other.value.in_region(region)
            if theirs.replicas and opens_host_port(theirs, "prod") and theirs.host_port == mine.host_port:
                yield Violation(
                    value.place("host_port", region),
                    f"host_port {mine.host_port} is taken in {region} by {other.name} ({other.folder}): choose another",
                )


def namespace_is_within_quota(
    value: ValueFile, others: Sequence[OtherService], regions: Regions, own_pod: pod_file.OwnPod
) -> Iterator[Violation]:
    user = value.checkable_in().username
    same_user = [(each.value, each.own_pod) for each in others if each.value.settings.username == user]
    for region in regions.regions.values():
        if not same_user or not _pods(value.checkable_in(region.name)):
            continue
        every = [(item.checkable_in(region.name), own) for item, own in ((value, own_pod), *same_user)]
        for wanted, limit in over_quota(region.quota, [(_pods(each), need(each, region, own)) for each, own in every]):
            yield Violation(
                value.place("replicas", region.name),
                f"all services of {value.checkable_in().username} in {region.name} take {wanted}, and its namespace is allowed"
                f" {limit} ({regions.place(f'regions.{region.name}.quota')}): run fewer or smaller pods",
            )


def _pods(settings: Settings) -> int:
    """Return the most pods of prod in a region, the offline ones included."""
    return (most_pods(settings, "prod") if settings.replicas else 0) + most_offline_pods(settings, "prod")


RULES = (name_is_free, host_port_is_free)
