"""A gateway outside the mesh sends requests to the node's port that `use_srv` opens, through a release.

The gateway here probes /api/ping and ejects a pod as docs/deploy.md asks of one.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.images import DRAIN_DELAY
from tests.conf.rollout.load import DIGIT
from tests.conf.rollout.ready_pods import names, ready
from tests.conf.rollout.service_state import until, version
from tests.running import get

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
PORT = 20_001
PROBE_SECONDS, FAILURES = 2.0, 2  # of docs/deploy.md
REQUEST_SECONDS = 0.05  # between two requests


class Gateway:
    """Sends one request after another to a node's port while its pod counts as healthy. answers: how many there were of each.

    Two threads work until `sending` ends: one probes and alone writes `_healthy`, the other sends and alone writes `answers`.
    """

    def __init__(self, address: str, route: str):
        self._address, self._route = address, route
        self._healthy, self._over = threading.Event(), threading.Event()
        self.answers: Counter[str] = Counter()

    @contextmanager
    def sending(self) -> Iterator[None]:
        with ThreadPoolExecutor(2) as pool:
            working = [pool.submit(self._probe), pool.submit(self._send)]
            try:
                yield
            finally:
                self._over.set()
            for each in working:
                each.result()

    def is_healthy(self) -> bool:
        return self._healthy.is_set()

    def _probe(self) -> None:
        failures = 0
        while not self._over.wait(PROBE_SECONDS):
            failures = 0 if self._ask("/api/ping") == "200" else failures + 1
            if failures == 0:
                self._healthy.set()
            elif failures >= FAILURES:
                self._healthy.clear()

    def _send(self) -> None:
        while not self._over.wait(REQUEST_SECONDS):
            if self._healthy.is_set():
                self.answers[self._ask(self._route, DIGIT.encode())] += 1

    def _ask(self, route: str, body: bytes | None = None) -> str:
        try:
            return str(get(self._address + route, body, {"Content-Type": "application/json"})[0])
        except OSError as error:
            return str(error)


def node_address(hk: Cluster) -> str:
    addresses = hk.ask("get", "/api/v1/nodes")["items"][0]["status"]["addresses"]
    return str(next(each["address"] for each in addresses if each["type"] == "InternalIP"))


def test_a_gateway_that_probes_the_nodes_port_loses_nothing_while_a_release_takes_the_port_over(
    make_checkout: MakeCheckout, hk: Cluster
) -> None:
    mine = make_checkout("hk")
    mine.set_region(srv={"first_port": 20_000, "last_port": 20_999, "cidrs": ["0.0.0.0/0"]})
    mine.write_value(replicas=1, use_srv=True, host_port=PORT, drain_delay_second=DRAIN_DELAY)
    mine.run("deploy", tag="drains")
    address = f"http://{node_address(hk)}:{PORT}"
    gateway = Gateway(address, f"/api/{mine.name}")
    with gateway.sending():
        until(lambda: gateway.answers["200"] > 20)
        job = mine.start("deploy", tag="2")
        job.wait_for("free ports")  # the only node has one such port, so the new pod waits for the end of the old one
        assert version(address) == "drains"
        hk.ask("delete", path("Pod", mine.user, names(hk, mine)[0]))
        until(lambda: not gateway.is_healthy())
        job.wait_exit(0)
        before = gateway.answers["200"]
        until(lambda: gateway.answers["200"] > before + 20)
    assert set(gateway.answers) == {"200"}, gateway.answers
    assert (version(address), len(ready(hk, mine))) == ("2", 1)
