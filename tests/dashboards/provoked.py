"""Load that provokes everything a dashboard shows: good and bad requests, refusals, crashes, reloads, retries and ejections.

Threads of its own send requests until the block ends. Each ends after its request, and
the block waits for it. Answers are not judged here.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from conf.base.object_references import path
from tests.conf.cluster import Cluster, Item
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.ready_pods import ready
from tests.conf.rollout.service_state import url
from tests.image.pods import Pod
from tests.running import get

JSON = {"Content-Type": "application/json"}
LARGER_THAN_A_BUFFER = 5 * 2**20  # bytes of a body: no gateway keeps so much to send it again
SPOILED = ("spoiled", "two", "spoiled", "three")
SLOW_SIZE = 100_000  # bytes of a slow request, which is work that a scrape sees
NOBODY_LISTENS = (9, 10, 11)
Act = Callable[[], object]


def digit(brightness: float, size: int = 0) -> bytes:
    """Return a request of one digit. brightness: of all pixels. size: bytes to which blanks fill it."""
    return json.dumps({"data": [[[[brightness] * 8] * 8]]}).ljust(size).encode()


def acts(where: str) -> list[tuple[float, Act]]:
    """Return what is sent to a service, each with the seconds between two of it. where: its URL."""
    tensor = {"inputs": [{"name": "images", "shape": [4, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 256}]}

    def send(body: bytes, more: str = "") -> None:
        get(where + more, body, JSON)

    return [
        (0.15, lambda: send(digit(0.5))),
        (0.5, lambda: send(json.dumps(tensor).encode(), "/v2/models/seen/infer")),
        (1.0, lambda: send(digit(0.9))),
        (1.0, lambda: send(b'{"data": ')),
        (8.0, lambda: send(digit(0.5, LARGER_THAN_A_BUFFER))),
        *[(2.0, lambda: send(digit(0.8, SLOW_SIZE)))] * 24,
    ]


@contextmanager
def repeated(every: Sequence[tuple[float, Act]]) -> Iterator[None]:
    """Do acts again and again for the length of a block, each on a thread of its own. Failures are what the load is for."""
    over = threading.Event()

    def repeat(seconds: float, act: Act) -> None:
        while not over.wait(seconds):
            with suppress(Exception):
                act()

    threads = [threading.Thread(target=repeat, args=each, daemon=True) for each in every]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(40)


@contextmanager
def provoking(cluster: Cluster, services: Sequence[tuple[Checkout, str]]) -> Iterator[None]:
    """Provoke everything for the length of a block. services: each with the namespace of a track, "" for prod."""
    every = [act for checkout, track in services for act in acts(url(checkout, track))]
    with ExitStack() as stack:
        for checkout, track in services:
            if not track:
                stack.enter_context(some_that_refuse(cluster, checkout))
                every += [(10.0, spoiling(cluster.context, checkout)), (60.0, dying(checkout))]
        stack.enter_context(repeated(every))
        yield


def spoiling(context: str, checkout: Checkout) -> Act:
    """Return what writes the next word to the watched file of each pod."""
    own, words = Cluster(context), itertools.cycle(SPOILED)  # a thread needs a client of its own

    def spoil() -> None:
        word = next(words)
        for pod in ready(own, checkout):
            name = pod["metadata"]["name"]
            Pod.of(context, checkout.user, name).run("python", "-c", f"open('/tmp/word', 'w').write('{word}')")

    return spoil


def dying(checkout: Checkout) -> Act:
    """Return what ends the processes of the pods, one after the other."""

    def die() -> None:
        for _ in range(4):
            get(url(checkout), digit(0.7), JSON)

    return die


@contextmanager
def some_that_refuse(cluster: Cluster, checkout: Checkout) -> Iterator[None]:
    """Create endpoints of a service that refuse every connection: the node's address, at ports that nobody listens on.

    They are more than half, which a gateway never ejects all of. A request to a service whose pods died meets them alone.
    """
    (pod, *_) = ready(cluster, checkout)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{checkout.user}/endpointslices"
    service = cluster.ask("get", path("Service", checkout.user, checkout.name))
    names = [port["name"] for port in service["spec"]["ports"] if port["port"] == 80]
    with ExitStack() as stack:
        for number in NOBODY_LISTENS:
            item: Item = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
            labels = {"kubernetes.io/service-name": checkout.name}
            item["metadata"] = {"name": f"{checkout.name}-refuses-{number}", "labels": labels}
            item["endpoints"] = [{"addresses": [pod["status"]["hostIP"]], "conditions": {"ready": True}}]
            item["ports"] = [{"name": name, "port": number, "protocol": "TCP"} for name in names]
            stack.enter_context(cluster.having(slices, item))
        yield
