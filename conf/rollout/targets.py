"""The targets of a command: each track of a service in each region, and who changes it there.

A track may also have been left in a region: regions.yaml named the region for it before, or value.py asked for replicas there.
"""

import getpass
import os
import re
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.base.console import Mistakes
from conf.base.object_references import Ref
from conf.clusters.regions import Region, Regions
from conf.plan.plan import NAMESPACES, TRACKS, offline_name, offline_startup_time, runs, runs_offline
from conf.plan.pods import SCHEDULE_AND_PULL, startup_time
from conf.plan.routes import outside
from conf.remote.cluster import BadCredentials, Cluster, ClusterError, NoRights
from conf.render.arms import arm_names
from conf.rollout import history as histories
from conf.rollout.history import Holder, utc_now
from conf.rules.check import Service
from serving.settings import Settings

Say = Callable[[str], None]  # prints one line of progress
REMOVAL_TIMEOUT = 60.0  # seconds for an object without pods. A controller that runs takes its finalizer off in a few.


class Blocked(Exception):
    """A release cannot go on: an object is somebody else's, is paused, or stays after its deletion. The text says which."""


@dataclass(frozen=True)
class GatewayAddress:
    """The address at which a region's gateway is checked. url: of the service. host: the Host header, "*" for the URL's own."""

    url: str
    host: str


@dataclass(frozen=True)
class Target:
    """One track of a service in one cluster, as a release changes it.

    pod_timeout: seconds for one more pod to be ready.
    removal_timeout: seconds for an object without pods to be gone once it is deleted.
    wait: seconds for another deploy to end.
    by: who deploys, for history and lease.
    holder: the holder that the name must have, or gets with take_over. None checks no holder.
    gateway: None where regions.yaml has no way_in.
    """

    cluster: Cluster
    namespace: str
    service: str
    pod_timeout: float = 60.0
    removal_timeout: float = REMOVAL_TIMEOUT
    by: str = ""
    holder: Holder | None = None
    take_over: bool = False
    gateway: GatewayAddress | None = None
    wait: float = 0.0

    @property
    def history(self) -> Ref:
        return Ref("ConfigMap", self.namespace, histories.object_name(self.service))

    @property
    def deployment(self) -> Ref:
        return Ref("Deployment", self.namespace, self.service)

    @property
    def offline(self) -> Ref:
        return Ref("Deployment", self.namespace, offline_name(self.service))

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a release's objects may have: of the online and of the offline pods."""
        return self.service, self.offline.name

    @property
    def arms(self) -> tuple[str, str]:
        """The names that objects beside a release may have while a canary is driven: of the canary and of the baseline."""
        return arm_names(self.service)


@dataclass(frozen=True)
class RegionTrack:
    """One track of a service in one region. planned: whether it is to run there; if not, it may have been left there."""

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
    """Return where a service is to run, and where it may have been left. track, region: "" for all of them."""
    made = []
    for each in (track,) if track else TRACKS:
        for name in regions.regions:
            settings = found.value.in_region(name)
            if region in ("", name):
                made.append(RegionTrack(regions.regions[name], each, settings, runs(settings, name, regions, each)))
    return made


def planned_or_left(
    service: Service, regions: Regions, arguments: Namespace, *, planned_first: bool = True, may_be_empty: bool = False
) -> list[RegionTrack]:
    """Return where a service is to run, and where it was left or may have been left.

    A region that does not answer is returned too: the command meets the error there, and reports it. Where the command line
    names no region, regions without a context or without rights are skipped, since a job has the credentials of one region
    alone. One line on stderr names them. Raises Mistakes where the service is nowhere, unless the
    result may be empty.
    planned_first: those where it is to run stand first; else all stand by track and region.
    """
    chosen = region_tracks(service, regions, arguments.track, arguments.region)
    found, skipped = [each for each in chosen if each.planned], []
    silent: set[str] = set()  # regions that do not answer: each is returned once, not for every track
    for each in chosen:
        if each.planned or each.region.name in silent:
            continue
        try:
            if has_release(each):
                found.append(each)
        except ClusterError as error:
            has_no_access = isinstance(error, NoRights) or (isinstance(error, BadCredentials) and not error.status)
            if has_no_access and not arguments.region:
                skipped.append(str(each))
            else:
                silent.add(each.region.name)
                found.append(each)
    if skipped:
        words = f"skipped without a context or rights, so a release that was left there is not seen: {'; '.join(skipped)}"
        print(words, file=sys.stderr)
    if not found and not may_be_empty:
        raise no_target(arguments, regions)
    return found if planned_first else sorted(found, key=chosen.index)


def has_release(region_track: RegionTrack) -> bool:
    """Return whether a track has a history in a region. Raises ClusterError."""
    target = target_to_read(region_track)
    return target.cluster.get(target.history) is not None


def no_target(arguments: Namespace, regions: Regions) -> Mistakes:
    where = arguments.region or "any region"
    words = f"{arguments.track or 'the service'} does not run in {where}; regions are {', '.join(regions.regions)}"
    return Mistakes([words])


def target_to_read(region_track: RegionTrack, warn: Callable[[str], None] = lambda _: None) -> Target:
    """Return a target for commands that change nothing. warn: gets the API server's warnings. Raises BadCredentials."""
    return Target(Cluster(region_track.region.context, warn), region_track.namespace, region_track.name)


def target_of(region_track: RegionTrack, arguments: Namespace, say: Say = lambda _: None) -> Target:
    """Return the target of a command. say: gets the API server's warnings. Raises BadCredentials."""
    region = region_track.region
    url = f"{region.way_in.rstrip('/')}{outside(region_track.settings, region_track.track)[0]}"
    return Target(
        cluster=Cluster(region.context, lambda words: say(f"warning of the API server: {words}")),
        namespace=region_track.namespace,
        service=region_track.name,
        pod_timeout=getattr(arguments, "timeout", None) or _startup_time(region_track.settings) + SCHEDULE_AND_PULL,
        removal_timeout=removal_timeout(arguments),
        by=deployer(),
        holder=checkout_holder(arguments.service),
        take_over=arguments.take_over,
        gateway=GatewayAddress(url, region.host) if region.way_in else None,
        wait=arguments.wait,
    )


def _startup_time(settings: Settings) -> int:
    return offline_startup_time(settings) if runs_offline(settings) else startup_time(settings)


def removal_timeout(arguments: Namespace) -> float:
    """Return the seconds for an object without pods to be gone: --timeout of `stop`. Other commands' --timeout is of pods."""
    seconds: float = getattr(arguments, "timeout", None) or REMOVAL_TIMEOUT
    return seconds if arguments.name == "stop" else min(seconds, REMOVAL_TIMEOUT)


def deployer() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return os.environ.get("GITLAB_USER_LOGIN") or f"{user}@{socket.gethostname()}"


def checkout_holder(folder: Path) -> Holder:
    """Return the holder of a service: the project and branch of the GitLab job, or of the checkout."""
    here = str(folder.resolve())
    project = os.environ.get("CI_PROJECT_PATH") or project_path(_git(here, "remote", "get-url", "origin")) or here
    branch = os.environ.get("CI_COMMIT_REF_NAME") or _git(here, "symbolic-ref", "--short", "HEAD") or "none"
    return Holder(project, branch, utc_now())


def project_path(url: str) -> str:
    """Return a repository's path on its server, as CI_PROJECT_PATH has it. The same for ssh and https, and no secret."""
    path = re.sub(r"^\w+://[^/]*/|^[^/:]*:", "", url)
    return path.removesuffix("/").removesuffix(".git")


def _git(folder: str, *words: str) -> str:
    try:
        done: Sequence[str] = ["git", "-C", folder, *words]
        return subprocess.run(done, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
