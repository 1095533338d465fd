"""Which regions are outside their release windows, and what becomes of a deploy then.

Knows that windows bind prod alone: grey and ab are tried out beside it. Does not know what time it is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from conf.base.release_windows import closed
from conf.rollout.report import CLOSED, Outcome
from conf.rollout.targets import Spot

BOUND = "prod"


def closed_now(spots: Sequence[Spot], at: datetime) -> dict[str, str]:
    """Return the regions that may not be deployed to at a moment, each with what is allowed and when it opens next."""
    bound = [each.region for each in spots if each.track == BOUND]
    found = {each.name: closed(each.windows, each.timezone, at) for each in bound}
    return {name: words for name, words in found.items() if words}


def held_back(spots: Sequence[Spot], shut: Mapping[str, str]) -> list[Outcome]:
    """Return what came of each region: none is begun where one is outside its windows, so that nothing is done halfway."""
    open_ = f"{', '.join(shut)} is outside its release windows, so no region is begun; --region names one alone"
    words = {name: f"outside its release windows: {said}" for name, said in shut.items()}
    return [
        Outcome(each.region.name, each.track, "not begun", words=words.get(each.region.name, open_), status=CLOSED)
        for each in spots
    ]
