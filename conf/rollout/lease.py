"""One deploy of a service's track at a time: a Lease in its namespace, held while a rollout works.

Knows leases and clocks. Does not know what is done meanwhile.

Concurrency: one thread renews the lease while the block runs, and ends with it. When it cannot renew (the API server is away)
the lease runs out by itself, and `check` says so: the block asks it before each change. A killed job's lease runs out likewise.
Clocks of two machines are never compared: a lease is another's for as long as this process sees it renewed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from conf.base.object_references import MANAGER, Item, Ref, ref
from conf.remote.cluster import CONFLICT, LONGEST, Cluster, ClusterError, Unreachable

LEASE_SECONDS = 20  # seconds
RENEWAL_SECONDS = 4  # seconds between two renewals
AGAIN = 1  # seconds until an API server that was lost is asked again
AGAIN_FOR = 60  # seconds after which what fails each time is given up, though the lease can be renewed
P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """Another deploy of the same track is at work. The text names it."""


class LeaseLost(Exception):
    """The lease ran out, or another took it, while the rollout was at work."""


class Lease:
    """A lease that this process holds. asked: when it was asked for, by time.monotonic."""

    def __init__(self, cluster: Cluster, item: Item, asked: float, say: Callable[[str], None]):
        self._cluster, self._item, self._say = cluster, item, say
        self._told: set[str] = set()
        self._good_until = asked + LEASE_SECONDS
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def good(self) -> bool:
        """Whether no other deploy can be at work."""
        return time.monotonic() < self._good_until

    def check(self) -> None:
        """Raise LeaseLost where another deploy may be at work by now."""
        if not self.good:
            raise LeaseLost(
                "this deploy lost its lease, so another may be at work; `monopod status` shows what runs, run it again"
            )

    def steadily(self, ask: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Ask the API server, and ask again for a while, as long as the lease is good. Only for what may be done twice.

        Raises LeaseLost, ClusterError.
        """
        end = time.monotonic() + AGAIN_FOR
        while True:
            self._wait_for_time()
            try:
                return ask(*arguments, **options)
            except Unreachable as error:
                time.sleep(AGAIN)
                if not self.good or time.monotonic() > end:
                    raise
                self._tell(f"asking again for {AGAIN_FOR} s: {error}")

    def release(self) -> None:
        """Give the lease back, so that the next deploy need not wait. It is left to run out where that fails."""
        self._over.set()
        self._thread.join(RENEWAL_SECONDS)
        if self.good:
            with contextlib.suppress(ClusterError):
                self._cluster.delete(ref(self._item), self._item["metadata"]["resourceVersion"])

    def _wait_for_time(self) -> None:
        """Wait until what is asked for now is over before the lease is: its renewal may be late. Raises LeaseLost."""
        self.check()
        while self._good_until - time.monotonic() < LONGEST:
            time.sleep(AGAIN / 10)
            self.check()

    def _tell(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            self._say(words)

    def _keep(self) -> None:
        pause: float = RENEWAL_SECONDS
        while not self._over.wait(pause):
            pause = AGAIN
            with contextlib.suppress(ClusterError):
                self._renew()
                pause = RENEWAL_SECONDS

    def _renew(self) -> None:
        asked = time.monotonic()
        self._item["spec"]["renewTime"] = _now()
        try:
            self._item = self._cluster.replace(self._item)
        except ClusterError as error:
            # A renewal whose answer was lost also ends here, at the next one: the lease is still ours then.
            found = self._cluster.get(ref(self._item)) if error.status == CONFLICT else None
            if found is None or found["spec"].get("holderIdentity") != self._item["spec"]["holderIdentity"]:
                raise
            self._item = found
        self._good_until = asked + LEASE_SECONDS


@contextlib.contextmanager
def hold(cluster: Cluster, namespace: str, name: str, who: str, wait: float, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of a name for the length of a block. who: for people. wait: seconds to wait for another deploy's end.

    Raises Busy, ClusterError.
    """
    item, asked = _take(cluster, namespace, name, f"{who} ({uuid4().hex[:8]})", wait, say)
    lease = Lease(cluster, item, asked, say)
    try:
        yield lease
    finally:
        lease.release()


def _take(
    cluster: Cluster, namespace: str, name: str, holder: str, wait: float, say: Callable[[str], None]
) -> tuple[Item, float]:
    """Return the lease as this process holds it, and when it was asked for.

    Another's lease is waited for until `wait` is over and it was seen to be renewed: then a deploy is at work. One that is not
    renewed for as long as it lasts was left by a job that was killed, and is taken over.
    """
    start = since = time.monotonic()
    first, seen, told = None, None, False
    while True:
        asked = time.monotonic()
        found = cluster.get(Ref("Lease", namespace, name))
        mine = _lease(namespace, name, holder)
        spec = (found or mine)["spec"]
        state = (spec.get("holderIdentity"), spec.get("renewTime"))
        if state != seen:
            first, seen, since = first or state, state, asked
        try:
            if found is None:
                return cluster.create(mine), asked
            if not state[0] or asked - since > (spec.get("leaseDurationSeconds") or LEASE_SECONDS):
                mine["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
                return cluster.replace(mine), asked
        except ClusterError as error:
            if error.status != CONFLICT:
                raise
            continue  # another was quicker
        if state != first and asked - start >= wait:
            raise Busy(f"{state[0]} is deploying it since {spec.get('acquireTime')}; wait for its end (--wait 600 does)")
        if not told:
            say(f"waiting: {state[0]} is deploying it since {spec.get('acquireTime')}, or was killed")
            told = True
        time.sleep(0.5)


def _lease(namespace: str, name: str, holder: str) -> dict[str, Any]:
    now = _now()
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": now, "renewTime": now},
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
