"""Rules between the offline pods of services in the same clusters, which cannot share a name nor a consumer group.

Knows the value.py of other services. Does not know what runs in a cluster now, nor which groups the brokers have.
"""

from collections.abc import Iterator, Mapping, Sequence

from conf.clusters.region import Regions
from conf.plan.offline import offline_name, runs_offline, track_group
from conf.plan.plan import TRACKS, runs
from conf.rules.case import Violation
from conf.rules.other_services import OtherService
from serving.settings import Settings, ValueFile

Groups = Mapping[tuple[str, str], str]  # (broker, group) -> the track that has it


def no_service_has_the_offline_name(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    """A service and the offline pods of another one would be objects of the same names, in grey for different users too."""
    mine = value.judged_in()
    for other in others:
        theirs = other.value.settings
        pairs = ((mine, value, theirs), (theirs, other.value, mine))
        if not any(_is_offline_name(one, its, another, regions) for one, its, another in pairs):
            continue
        same = theirs.username == mine.username
        owner, name = (mine, theirs) if offline_name(mine.service_name) == theirs.service_name else (theirs, mine)
        where = "would replace each other" if same else "cannot be in grey or ab-test at a time"
        yield Violation(
            "service_name",
            f"{name.username}/{name.service_name} and the offline pods of {owner.username}/{owner.service_name} have one name"
            f" ({other.folder}), and {where}: choose another service_name",
            hint=not same,
        )


def _is_offline_name(one: Settings, value: ValueFile, another: Settings, regions: Regions) -> bool:
    """Return whether a service has offline pods anywhere that are called as another service is."""
    if offline_name(one.service_name) != another.service_name:
        return False
    return any(runs_offline(value.judged_in(region)) for region in regions.regions)


def the_group_is_free(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    """Two services in one group would share the records, so that each sees a part of them."""
    mine = _groups(value, regions)
    for other in others:
        theirs = _groups(other.value, regions)
        for broker, group in sorted(mine.keys() & theirs.keys(), key=lambda each: (each[1], each[0])):
            yield Violation(
                "offline_group",
                f'the group "{group}" ({mine[broker, group]}) at {broker} is that of {other.name} ({other.folder},'
                f" {theirs[broker, group]}): the two would share the records, and each would miss some; choose another group",
            )
            break


def _groups(value: ValueFile, regions: Regions) -> Groups:
    """Return the groups of a service's tracks at each broker. One cluster of brokers may serve several regions."""
    found: dict[tuple[str, str], str] = {}
    for name, region in regions.regions.items():
        settings = value.judged_in(name)
        if region.kafka is None or not runs_offline(settings):
            continue
        for track in (each for each in TRACKS if runs(settings, name, regions, each)):
            for broker in region.kafka.brokers:
                found.setdefault((broker, track_group(settings, track)), track)
    return found


RULES = (no_service_has_the_offline_name, the_group_is_free)
