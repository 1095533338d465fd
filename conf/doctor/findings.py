"""The links that the doctor examines, and its findings.

Knows one track of a service in one region, and its cluster. Does not know what may be wrong with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conf.clusters.region import Region
from conf.plan.plan import Plan
from conf.remote.cluster import Cluster
from serving.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One link of the way. words: what was seen. cure: what to do, "" where all is well. seen: whether one may look at it."""

    region: str
    subject: str
    words: str
    cure: str = ""
    seen: bool = True


@dataclass(frozen=True)
class Patient:
    """One track of a service in one region, and the cluster that it goes to."""

    region: Region
    plan: Plan
    settings: Settings
    cluster: Cluster

    def good(self, subject: str, words: str) -> Finding:
        return Finding(self.region.name, subject, words)

    def bad(self, subject: str, words: str, cure: str) -> Finding:
        return Finding(self.region.name, subject, words, cure)

    def closed(self, subject: str, words: str) -> Finding:
        """Return what may not be looked at. A deploy does not look there either, so nothing is wrong yet."""
        return Finding(self.region.name, subject, words, seen=False)


Check = Callable[[Patient], Iterator[Finding]]
