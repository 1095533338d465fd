"""The rules of `scale_hours`: its entries can be read, do not overlap, and fit replicas and max_replicas.

A rule returns what those of serving.settings.consistency do. Knows the settings that it reads. Does not know regions.
"""

from itertools import combinations
from typing import Protocol

from serving.settings.declared.weekly_hours import WEEK, fault, hours_of, overlap, spans

Violation = tuple[tuple[str, ...], str]


class Scaled(Protocol):
    """The settings that the rules read."""

    @property
    def replicas(self) -> int: ...
    @property
    def max_replicas(self) -> int: ...
    @property
    def scale_hours(self) -> tuple[str, ...]: ...


def hours_can_be_read(s: Scaled) -> Violation | None:
    for text in s.scale_hours:
        if words := fault(text):
            return ("scale_hours",), f'scale_hours has "{text}": {words}'
    return None


def hours_do_not_overlap(s: Scaled) -> Violation | None:
    for one, other in combinations(hours_of(s.scale_hours), 2):
        if when := overlap(one, other):
            return ("scale_hours",), (
                f'scale_hours has "{one.text}" and "{other.text}", which both hold on {when}: let one end where'
                " the other begins"
            )
    return None


def hours_leave_a_part_of_the_week(s: Scaled) -> Violation | None:
    hours = hours_of(s.scale_hours)
    whole = next((each for each in spans(hours) if each.minutes >= WEEK), None)
    if whole is None:
        return None
    return ("scale_hours", "replicas"), (
        f"scale_hours asks for {whole.pods} pods all week: set replicas = {whole.pods}, and take those hours out"
    )


def hours_add_pods(s: Scaled) -> Violation | None:
    """A region without replicas runs none in its hours either."""
    low = next((each for each in hours_of(s.scale_hours) if s.replicas and each.pods < s.replicas), None)
    if low is None:
        return None
    return ("scale_hours", "replicas"), (
        f'scale_hours has "{low.text}", and replicas is {s.replicas}, which is the least at any hour: set replicas ='
        f" {low.pods}, and give the other hours more"
    )


def hours_fit_max_replicas(s: Scaled) -> Violation | None:
    high = next((each for each in hours_of(s.scale_hours) if s.max_replicas and each.pods > s.max_replicas), None)
    if high is None:
        return None
    return ("scale_hours", "max_replicas"), (
        f'scale_hours has "{high.text}", and max_replicas is {s.max_replicas}: raise max_replicas to {high.pods} or more, or'
        " ask for fewer pods"
    )


RULES = (hours_can_be_read, hours_do_not_overlap, hours_leave_a_part_of_the_week, hours_add_pods, hours_fit_max_replicas)
