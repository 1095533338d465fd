"""The real autoscalers on a real node: up under a load that needs three pods, and down again, by the queue and by cores.

One model sleeps, so that its queue is long and the cores are idle. The other one works on a core, of which its pods ask for a
tenth. Both services scale at the same time.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import SLEEPING_SETTINGS
from tests.conf.rollout.load import loaded
from tests.conf.rollout.service_state import status_row, until, url
from tests.prerequisites import missing
from tests.repeating import repeating

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.timeout(900), pytest.mark.usefixtures("images")]
MOST = 4
NUMBER = json.dumps({"data": [[1.0]]})
THREE_PODS = {"sleeping": 11.0, "working": 35.0}  # requests a second: 2.75 s of the model's time, and 0.35 of a core
ONE_POD = {"sleeping": 1.0, "working": 1.0}
UP, DOWN = 150, 240  # seconds: at most, for all pods to come and to go
FIRST = 90  # seconds until the first new pod is ready, at most: a scrape, two looks of the autoscaler, and the pod's start


@dataclass
class Watched:
    """The pods of a Deployment. seen: seconds since the begin, the pods that are wanted, and those that are ready."""

    begin: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def wanted(self) -> list[int]:
        """The numbers of pods that were wanted, one after another."""
        numbers = [wanted for _, wanted, _ in self.seen]
        return numbers[:1] + [new for old, new in pairwise(numbers) if new != old]

    @property
    def turns_once(self) -> bool:
        """Whether pods only came, and from then on only went."""
        top = self.wanted.index(max(self.wanted)) + 1
        return self.wanted == sorted(self.wanted[:top]) + sorted(self.wanted[top:], reverse=True)

    @property
    def now(self) -> tuple[int, int]:
        return self.seen[-1][1:] if self.seen else (0, 0)

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

    def deploy(name: str, autoscale_by: str, seconds: int) -> Checkout:
        mine = make_checkout("hk", name=name)
        region = json.loads(mine.regions_file.read_text())["regions"]["hk"]
        mine.set_region(prometheus={**region["prometheus"], "labels": {"release": "prometheus"}})
        own = {setting: value for setting, value in SLEEPING_SETTINGS[name].items() if setting != "service_name"}
        scaling = {"max_replicas": MOST, "autoscale_by": autoscale_by, "scale_down_after_second": seconds}
        mine.write_value(replicas=1, **scaling, **own)
        mine.run("deploy", tag=name)
        return mine

    return deploy


def answers(checkout: Checkout) -> dict[str, float]:
    """Return what the measures of a service's autoscaler say now."""
    found: dict[str, float] = status_row(checkout)["autoscaler"]["answers"]
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
    until(lambda: set(answers(queue)) == {"queue", "busy"}, 180)  # the monitor acts
    until(lambda: set(answers(cores)) == {"cpu"}, 180)
    with ThreadPoolExecutor(2) as pool:
        first = [*pool.map(lambda checkout: up_and_down(hk, checkout), (queue, cores))]
    assert max(first) < FIRST
    for checkout in (queue, cores):
        checkout.run("stop", "--yes")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("always", "more", "wait", "minutes"),
    [
        pytest.param(5, 0, 15, 4, id="steady"),  # 1.25 s of the model's time: two pods. By the rows alone they went 1, 3, 1, 3
        pytest.param(2, 8, 120, 6, id="swinging"),  # with a period of a minute
    ],
)
def test_pods_settle_at_a_number(
    scaled: Callable[..., Checkout], hk: Cluster, always: float, more: float, wait: int, minutes: int
) -> None:
    """always: requests a second. more: of them in the first half of each minute. wait: scale_down_after_second."""
    mine = scaled("sleeping", "queue", wait)
    until(lambda: set(answers(mine)) == {"queue", "busy"}, 180)
    with watched(hk, mine) as pods, loaded(url(mine), always, data=NUMBER):
        for _ in range(minutes):
            with loaded(url(mine), more, data=NUMBER) if more else nullcontext():
                time.sleep(30)
            time.sleep(30)
    print(f"pods: {pods.wanted}")
    assert len({wanted for at, wanted, _ in pods.seen if at > 60 * minutes - 120}) == 1, pods.seen
    assert pods.turns_once, pods.wanted  # up at the first peak, and then to what suffices
    mine.run("stop", "--yes")
