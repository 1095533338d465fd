"""The real autoscalers on a real node: up under a load that needs three pods, and down again, by the queue and by cores.

One model sleeps, so that its queue is long and the cores are idle. The other one works on a core, of which its pods ask for a
tenth. Both services scale at the same time. The hours of `scale_hours` begin and end by the clock, in a zone of their own.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from conf.base.object_references import path
from serving.settings.weekly_hours import DAYS
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import SLEEPING_SETTINGS
from tests.conf.rollout.load import loaded
from tests.conf.rollout.service_state import status_row, until, url
from tests.prerequisites import missing
from tests.repeating import repeating

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.usefixtures("images", "prompt_reload")]
MOST = 4
NUMBER = json.dumps({"data": [[1.0]]})
THREE_PODS = {"sleeping": 11.0, "working": 35.0}  # requests a second: 2.75 s of the model's time, and 0.35 of a core
ONE_POD = {"sleeping": 1.0, "working": 1.0}
ZONE = ZoneInfo("Asia/Hong_Kong")
UP, DOWN = 150, 240  # seconds: at most, for all pods to come and to go
FIRST = 90  # seconds until the first new pod is ready, at most: a scrape, two looks of the autoscaler, and the pod's start


@dataclass
class Watched:
    """The pods of a Deployment. seen: seconds since the begin, the pods that are wanted, and those that are ready."""

    begin: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def changes(self) -> list[tuple[int, int]]:
        """The seconds since the begin at which another number of pods was wanted, and that number."""
        found: list[tuple[int, int]] = []
        for at, wanted, _ in self.seen:
            if not found or found[-1][1] != wanted:
                found.append((round(at), wanted))
        return found

    @property
    def wanted(self) -> list[int]:
        """The numbers of pods that were wanted, one after another."""
        return [wanted for _, wanted in self.changes]

    @property
    def turns_once(self) -> bool:
        """Whether pods only came, and from then on only went."""
        top = self.wanted.index(max(self.wanted)) + 1
        return self.wanted == sorted(self.wanted[:top]) + sorted(self.wanted[top:], reverse=True)

    @property
    def now(self) -> tuple[int, int]:
        return self.seen[-1][1:] if self.seen else (0, 0)

    def between(self, first: float, last: float) -> set[int]:
        """Return the numbers of pods that were wanted from one time of the clock to another."""
        return {wanted for at, wanted, _ in self.seen if first <= self.begin + at <= last}

    def second(self, after: float) -> tuple[float, float]:
        """Return the seconds from a time of the clock until a second pod was wanted, and until it was ready."""
        later = [(self.begin + at - after, *pods) for at, *pods in self.seen if self.begin + at >= after]
        return next(at for at, wanted, _ in later if wanted > 1), next(at for at, _, ready in later if ready > 1)


@contextmanager
def watched(hk: Cluster, checkout: Checkout) -> Iterator[Watched]:
    own, found = Cluster(hk.context), Watched()  # each thread has a client of its own

    def look() -> None:
        item = own.ask("get", path("Deployment", checkout.user, checkout.name))
        ready = item["status"].get("readyReplicas", 0)
        found.seen.append((time.monotonic() - found.begin, item["spec"]["replicas"], ready))

    with repeating(0.5, look):
        yield found


@pytest.fixture
def scaled(make_checkout: MakeCheckout, hk: Cluster) -> Callable[..., Checkout]:
    """Return a function that deploys a service of one to four pods: its name, autoscale_by, and scale_down_after_second."""
    for name, namespace in (("keda-operator", "keda"), ("keda-metrics-apiserver", "keda")):
        if hk.find(path("Deployment", namespace, name)) is None:
            missing("KEDA is not on this cluster: install its operator and its metrics API server in the namespace keda")
    if hk.find(path("Service", "monitoring", "prometheus")) is None:
        missing("Prometheus is not on this cluster: have it answer at prometheus.monitoring:9090")

    def made(name: str, autoscale_by: str, seconds: int) -> Checkout:
        mine = make_checkout("hk", name=name)
        region = json.loads(mine.regions_file.read_text())["regions"]["hk"]
        mine.set_region(prometheus={**region["prometheus"], "labels": {"release": "prometheus"}}, timezone=ZONE.key)
        deploy(mine, autoscale_by, seconds)
        return mine

    return made


def deploy(checkout: Checkout, autoscale_by: str, seconds: int, hours: Sequence[str] = ()) -> None:
    own = {setting: value for setting, value in SLEEPING_SETTINGS[checkout.name].items() if setting != "service_name"}
    scaling = {"max_replicas": MOST, "autoscale_by": autoscale_by, "scale_down_after_second": seconds}
    checkout.write_value(replicas=1, **scaling, scale_hours=[*hours], **own)
    checkout.run("deploy", tag=checkout.name)


def hours_from(begin: datetime, end: datetime, pods: int) -> list[str]:
    """Return the entries of `scale_hours` from one minute to another, each of one day."""
    found = []
    while begin < end:
        midnight = datetime.combine(begin + timedelta(days=1), datetime.min.time(), ZONE)
        last = "24:00" if midnight <= end else f"{end:%H:%M}"
        found.append(f"{DAYS[begin.weekday()]} {begin:%H:%M}-{last} {pods}")
        begin = midnight
    return found


def minute_to_come() -> tuple[datetime, float]:
    """Return a full minute that is one to two minutes ahead, and that time of the clock of `time.monotonic`."""
    now = datetime.now(ZONE)
    found = (now + timedelta(minutes=2)).replace(second=0, microsecond=0)
    return found, time.monotonic() + (found - now).total_seconds()


def answers(checkout: Checkout) -> dict[str, float]:
    """Return what the measures of a service's autoscaler say now."""
    found: dict[str, float] = (status_row(checkout, status=None)["autoscaler"] or {}).get("answers", {})
    return found


def up_and_down(hk: Cluster, checkout: Checkout) -> float:
    """Load a service until all pods are ready, then lightly until one is left. Return the seconds until the first new one."""
    where = url(checkout)
    with watched(hk, checkout) as pods:
        with loaded(where, THREE_PODS[checkout.name], data=NUMBER):
            begin = time.monotonic()
            until(lambda: pods.now == (MOST, MOST), UP)
        with loaded(where, ONE_POD[checkout.name], data=NUMBER) as load:
            until(lambda: pods.now == (1, 1), DOWN)
            time.sleep(2)
    wanted, first = pods.second(begin)
    print(f"{checkout.name}: {pods.wanted} pods; the first new pod was wanted after {wanted:.0f} s, ready after {first:.0f} s")
    assert load.lost() == []
    assert pods.turns_once, pods.wanted
    assert (pods.wanted[0], max(pods.wanted), pods.wanted[-1]) == (1, MOST, 1)
    return first


def test_pods_come_under_load_and_go_without_a_lost_request_by_the_queue_and_by_cores(
    scaled: Callable[..., Checkout], hk: Cluster
) -> None:
    queue, cores = scaled("sleeping", "queue", 20), scaled("working", "cpu", 20)
    until(lambda: set(answers(queue)) == {"queue", "busy"}, 400)  # the monitor acts
    until(lambda: set(answers(cores)) == {"cpu"}, 400)
    with ThreadPoolExecutor(2) as pool:
        first = [*pool.map(lambda checkout: up_and_down(hk, checkout), (queue, cores))]
    assert max(first) < FIRST
    for checkout in (queue, cores):
        checkout.run("stop", "--yes")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("always", "more", "wait", "minutes", "settled"),
    [
        pytest.param(5, 0, 90, 6, 2, id="steady"),  # 1.25 s of the model's time. By the rows alone the pods went 1, 3, 1, 3
        pytest.param(2, 8, 120, 6, 3, id="swinging"),  # with a period of a minute; 1.5 s of the model's time in the mean
    ],
)
def test_pods_settle_at_a_number(
    scaled: Callable[..., Checkout], hk: Cluster, always: float, more: float, wait: int, minutes: int, settled: int
) -> None:
    """always: requests a second. more: of them in the first half of each minute. wait: scale_down_after_second."""
    mine = scaled("sleeping", "queue", wait)
    until(lambda: set(answers(mine)) == {"queue", "busy"}, 400)
    with watched(hk, mine) as pods, loaded(url(mine), always, data=NUMBER):
        for _ in range(minutes):
            with loaded(url(mine), more, data=NUMBER) if more else nullcontext():
                time.sleep(30)
            time.sleep(30)
        end = time.monotonic()
    print(f"seconds and pods: {pods.changes}")
    assert pods.between(end - 120, end) == {settled}, pods.changes
    assert pods.turns_once, pods.changes  # up at the first peak, and then to what suffices
    mine.run("stop", "--yes")


@pytest.mark.soak
def test_hours_raise_the_least_pods_while_they_last_and_the_queue_may_add_more(
    scaled: Callable[..., Checkout], hk: Cluster
) -> None:
    day, mine = timedelta(days=1), scaled("sleeping", "queue", 15)
    until(lambda: set(answers(mine)) == {"queue", "busy"}, 180)
    with watched(hk, mine) as pods:
        begin, begin_at = minute_to_come()
        deploy(mine, "queue", 15, hours_from(begin, begin + day, 2))
        until(lambda: pods.now == (2, 2), 240)
        two_at = time.monotonic()
        with loaded(url(mine), THREE_PODS[mine.name], data=NUMBER):
            until(lambda: pods.now == (MOST, MOST), UP)
        until(lambda: pods.now == (2, 2), DOWN)
        until(lambda: answers(mine) == {"queue": 0, "busy": 0, "hours-1": 2}, 120)  # the hours alone ask for the second pod
        end, end_at = minute_to_come()
        deploy(mine, "queue", 15, hours_from(end - day, end, 2))
        until(lambda: pods.now == (1, 1), 240)
    print(f"the hours begin at {begin_at - pods.begin:.0f} s and end at {end_at - pods.begin:.0f} s: {pods.changes}")
    assert pods.between(pods.begin, begin_at) == {1}
    assert min(pods.between(two_at, end_at)) == 2
    assert pods.turns_once, pods.changes
    mine.run("stop", "--yes")
