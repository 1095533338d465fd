"""The choices that the dashboards share, and the matchers that they fill.

A track is a namespace: the user's for prod, `grey` and `ab-test` for the others. Hence `namespace` is chosen by user and track,
and nobody sees it. Queries match job and instance too, as Grafana's linter asks.

A service is chosen by its container's name, which the pods of a canary's arms have too.
"""

from dataclasses import replace

from conf.plan.own_panels import RECORD
from conf.render.arms import BASELINE, CANARY
from dashboards.parts import Variable

INFO = "monopod_release_info"
TARGET = 'job=~"$job",instance=~"$instance"'
SERVICES = f'namespace=~"$namespace",container=~"$service",{TARGET}'  # of a pod's own metrics
PODS = f'{SERVICES},pod=~"$pod"'
ARMS = f"{CANARY}|{BASELINE}"  # what ends the names of a canary's arms
WITH_ARMS = f"$service({ARMS})?"  # of series that do not know which container they are about
REGION = 'region=~"$region"'
OWNER = f'{REGION},user=~"$user"'
NAMED = f'{OWNER},container=~"$service"'

REGION_CHOICE = Variable("region", "region", INFO, "Region")
USERS_CHOICE = Variable("user", "user", f"{INFO}{{{REGION}}}", "User")
USER_CHOICE = replace(USERS_CHOICE, many=False)
SERVICES_CHOICE = Variable("service", "container", f"{INFO}{{{OWNER}}}", "Service")
SERVICE_CHOICE = replace(SERVICES_CHOICE, many=False)
TRACK_CHOICE = Variable("track", "track", f"{INFO}{{{NAMED}}}", "Track")
OWN_PANELS = f'{RECORD}{{namespace=~"$namespace",service=~"$service",track=~"$track"}}'
OWN_PANEL_CHOICE = Variable("own_panel", "panel", OWN_PANELS, "Own panel")
POD_CHOICE = Variable("pod", "pod", f'{INFO}{{{NAMED},track=~"$track"}}', "Pod")


def namespace(where: str = f'{NAMED},track=~"$track"') -> Variable:
    """Return the hidden choice of namespaces. where: what chooses them."""
    return Variable("namespace", "namespace", f"{INFO}{{{where}}}", "Namespace", hidden=True)


def targets(series: str) -> tuple[Variable, Variable]:
    """Return the choices of job and instance among the targets that have a series."""
    job = Variable("job", "job", series, "Job", all_value=".+")
    return job, Variable("instance", "instance", series, "Instance", all_value=".+")


def releases(where: str) -> str:
    """Return the query that has one point at each release, whatever the time between two points. A canary is not a release."""
    running = f'max by (version, track) ({INFO}{{{where},arm_of=""}}'
    return f"{running}) unless {running} offset $__interval)"
