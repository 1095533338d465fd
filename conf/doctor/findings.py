"""A check's context, and the findings that it returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conf.clusters.regions import Region
from conf.plan.plan import Plan
from conf.remote.cluster import Cluster
from serving.settings import Settings


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    region: its name, "" where the check is not about a region. subject: what was checked. words: what was found.
    cure: what to do about it, "" where nothing is wrong. seen: whether the rights allow to look.
    """

    region: str
    subject: str
    words: str
    cure: str = ""
    seen: bool = True


@dataclass(frozen=True)
class CheckContext:
    """One track of a service in one region, and the cluster that it is deployed to."""

    region: Region
    plan: Plan
    settings: Settings
    cluster: Cluster

    def passed(self, subject: str, words: str) -> Finding:
        return Finding(self.region.name, subject, words)

    def failed(self, subject: str, words: str, cure: str) -> Finding:
        return Finding(self.region.name, subject, words, cure)

    def skipped(self, subject: str, words: str) -> Finding:
        """Return the finding of a check that the rights do not allow. A deploy does not need them, so nothing is wrong yet."""
        return Finding(self.region.name, subject, words, seen=False)


Check = Callable[[CheckContext], Iterator[Finding]]
