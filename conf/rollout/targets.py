"""Where a service may be: each region and track, and on whose behalf it is changed there.

Knows a service's settings, the environment of GitLab's jobs and of a checkout. Asks a cluster only whether something was left.
A track may have been left in any region: where regions.yaml named another before, or where value.py asked for replicas.
"""

import getpass
import os
import re
import socket
import subprocess
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.base.mistakes import mistaken
from conf.base.object_references import Ref
from conf.clusters.region import Region, Regions
from conf.plan.plan import NAMESPACES, TRACKS, runs
from conf.plan.pods import SCHEDULE_AND_PULL, startup_time
from conf.plan.routes import outside
from conf.remote.cluster import BadCredentials, Cluster, ClusterError, NoRights
from conf.rollout import history as histories
from conf.rollout.history import Holder, utc_now
from conf.rules.check import Service
from serving.settings import Settings

REMOVAL_TIMEOUT = 60.0  # seconds for an object without pods: a controller that is alive takes its finalizer off in a few


class Blocked(Exception):
    """Something is there that a release would have to break: another's object, or a Deployment that somebody paused."""


@dataclass(frozen=True)
class GatewayCheck:
    """Where a region's gateway can be asked: the service's URL there, and the host that the request names."""

    url: str
    host: str


@dataclass(frozen=True)
class Target:
    """One track of a service in one cluster, as a release changes it.

    pod_timeout: seconds for one more pod to be ready. removal_timeout: seconds for an object without pods to be gone once it
    is deleted. wait: seconds for another deploy to end. gateway: None where regions.yaml names no URL of it.
    by: who deploys, for history and lease. holder: whose the name must be, or becomes with take_over; None does not ask.
    """

    cluster: Cluster
    namespace: str
    service: str
    pod_timeout: float = 60.0
    removal_timeout: float = REMOVAL_TIMEOUT
    by: str = ""
    holder: Holder | None = None
    take_over: bool = False
    gateway: GatewayCheck | None = None
    wait: float = 0.0

    @property
    def history(self) -> Ref:
        return Ref("ConfigMap", self.namespace, histories.name(self.service))

    @property
    def deployment(self) -> Ref:
        return Ref("Deployment", self.namespace, self.service)


@dataclass(frozen=True)
class RegionTrack:
    """One track of a service in one region. planned: whether it is to run there; else it may have been left there."""

    region: Region
    track: str
    settings: Settings
    planned: bool

    @property
    def namespace(self) -> str:
        return NAMESPACES.get(self.track, self.settings.username)

    @property
    def name(self) -> str:
        return self.settings.service_name

    def __str__(self) -> str:
        return f"{self.region.name}, {self.track}"


def region_tracks(found: Service, regions: Regions, track: str, region: str = "") -> list[RegionTrack]:
    """Return where a service is to run, and where it may have been left. track, region: "" for every one."""
    made = []
    for each in (track,) if track else TRACKS:
        for name in regions.regions:
            settings = found.value.in_region(name)
            if region in ("", name):
                made.append(RegionTrack(regions.regions[name], each, settings, runs(settings, name, regions, each)))
    return made


def planned_or_left(
    chosen: Sequence[RegionTrack], named: bool, say: Callable[[str], None] = lambda _: None
) -> list[RegionTrack]:
    """Return where a service is to run, then where it was left or where that cannot be asked: whoever acts there is told why.

    named: whether a person named the region. Where not, a region that whoever asks has no context of, or no rights in, is
    passed over: a job has the credentials of one region alone. Which were, is said in one line.
    """
    found, passed = [each for each in chosen if each.planned], []
    away: set[str] = set()  # regions that do not answer: told once, not of every track
    for each in chosen:
        if each.planned or each.region.name in away:
            continue
        try:
            if has_release(each):
                found.append(each)
        except ClusterError as error:
            if not named and (isinstance(error, NoRights) or (isinstance(error, BadCredentials) and not error.status)):
                passed.append(str(each))
            else:
                away.add(each.region.name)
                found.append(each)
    if passed:
        say(f"not looked at, for want of a context or of rights, whether something was left: {'; '.join(passed)}")
    return found


def has_release(spot: RegionTrack) -> bool:
    """Whether a release was left where the service is no longer to run. Raises ClusterError."""
    where = Target(Cluster(spot.region.context), spot.namespace, spot.name)
    return where.cluster.get(where.history) is not None


def no_target(arguments: Namespace, regions: Regions) -> int:
    """Tell that there is nothing to act on, and return the exit status."""
    where = arguments.region or "any region"
    words = f"{arguments.track or 'the service'} does not run in {where}; regions are {', '.join(regions.regions)}"
    return mistaken(arguments, [words])


def target_of(spot: RegionTrack, arguments: Namespace, say: Callable[[str], None] = lambda _: None) -> Target:
    """Return where a release goes. say: gets the API server's warnings. Raises BadCredentials."""
    region = spot.region
    url = f"{region.way_in.rstrip('/')}{outside(spot.settings, spot.track)[0]}"
    return Target(
        cluster=Cluster(region.context, lambda words: say(f"warning of the API server: {words}")),
        namespace=spot.namespace,
        service=spot.name,
        pod_timeout=getattr(arguments, "timeout", None) or startup_time(spot.settings) + SCHEDULE_AND_PULL,
        removal_timeout=removal_timeout(arguments),
        by=deployer(),
        holder=checkout_holder(arguments.service),
        take_over=arguments.take_over,
        gateway=GatewayCheck(url, region.host) if region.way_in else None,
        wait=arguments.wait,
    )


def removal_timeout(arguments: Namespace) -> float:
    """Return how many seconds an object without pods may take to be gone. `stop --timeout` says that; others' is of pods."""
    said: float = getattr(arguments, "timeout", None) or REMOVAL_TIMEOUT
    return said if arguments.name == "stop" else min(said, REMOVAL_TIMEOUT)


def deployer() -> str:
    """Return who deploys, as people know them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return os.environ.get("GITLAB_USER_LOGIN") or f"{user}@{socket.gethostname()}"


def checkout_holder(folder: Path) -> Holder:
    """Return whose a service is: the project and branch that GitLab names, or those of the checkout."""
    here = str(folder.resolve())
    project = os.environ.get("CI_PROJECT_PATH") or project_path(_git(here, "remote", "get-url", "origin")) or here
    branch = os.environ.get("CI_COMMIT_REF_NAME") or _git(here, "symbolic-ref", "--short", "HEAD") or "none"
    return Holder(project, branch, utc_now())


def project_path(url: str) -> str:
    """Return a repository's path on its server, as CI_PROJECT_PATH has it: the same for ssh and https, and without a secret."""
    path = re.sub(r"^\w+://[^/]*/|^[^/:]*:", "", url)
    return path.removesuffix("/").removesuffix(".git")


def _git(folder: str, *words: str) -> str:
    try:
        done: Sequence[str] = ["git", "-C", folder, *words]
        return subprocess.run(done, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
