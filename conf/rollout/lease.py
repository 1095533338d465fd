"""The lease: one deploy of a service's track at a time. It is a Lease in the track's namespace, held while a rollout works.

Concurrency: one thread renews the lease while the block runs, and ends with it. When the thread cannot renew, because the API
server is away, the lease runs out by itself. `check` then raises: the block calls it before each change. The lease of a killed
job runs out likewise. Clocks of two machines are never compared: a lease belongs to another deploy as long as this process
sees it renewed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from conf.base.object_references import MANAGER, Item, Ref, ref
from conf.remote.cluster import CONFLICT, MAX_WRITE_SECONDS, Cluster, ClusterError, Unreachable

LEASE_SECONDS = 20
RENEWAL_SECONDS = 4  # between two renewals
FAILED_RENEWAL_SECONDS = 1.0  # from a renewal that failed to the next
WAIT_PAUSE = 0.5  # seconds between two looks at another deploy's lease
RETRY_PAUSE = 1.0  # seconds between two attempts of a request whose API server cannot be reached
RETRIED_FOR = 60  # seconds after which a request that fails each time is given up
P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """Another deploy of the same track is at work. The text names it."""


class LeaseLost(Exception):
    """The lease ran out, or another deploy took it, while the rollout was at work."""


class Lease:
    """A lease that this process holds. asked: the time.monotonic at which the process asked for it."""

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
            words = "this deploy lost its lease, so another may be at work; `monopod status` shows what runs; then run it again"
            raise LeaseLost(words)

    def retry(self, ask: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Ask the API server, and repeat that for a while as long as the lease is good. Only for what may be done twice.

        Raises LeaseLost, ClusterError.
        """
        return repeated(
            lambda: ask(*arguments, **options), self._wait_for_renewal, may_go_on=lambda: self.good, say=self._say_once
        )

    def release(self) -> None:
        """Delete the lease, so that the next deploy need not wait. The lease is left to run out where that fails."""
        self._over.set()
        self._thread.join(RENEWAL_SECONDS)
        if self.good:
            with contextlib.suppress(ClusterError):
                self._cluster.delete(ref(self._item), self._item["metadata"]["resourceVersion"])

    def _wait_for_renewal(self) -> None:
        """Wait until the lease lasts longer than any request takes: its renewal may be late. Raises LeaseLost."""
        self.check()
        while self._good_until - time.monotonic() < MAX_WRITE_SECONDS:
            time.sleep(FAILED_RENEWAL_SECONDS / 10)
            self.check()

    def _say_once(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            self._say(words)

    def _keep(self) -> None:
        pause: float = RENEWAL_SECONDS
        while not self._over.wait(pause):
            pause = FAILED_RENEWAL_SECONDS
            with contextlib.suppress(ClusterError):
                self._renew()
                pause = RENEWAL_SECONDS

    def _renew(self) -> None:
        asked = time.monotonic()
        self._item["spec"]["renewTime"] = _now()
        try:
            self._item = self._cluster.replace(self._item)
        except ClusterError as error:
            # A conflict may be due to an earlier renewal whose answer was lost. The lease is still ours then.
            found = self._cluster.get(ref(self._item)) if error.status == CONFLICT else None
            if found is None or found["spec"].get("holderIdentity") != self._item["spec"]["holderIdentity"]:
                raise
            self._item = found
        self._good_until = asked + LEASE_SECONDS


@contextlib.contextmanager
def hold(cluster: Cluster, namespace: str, name: str, by: str, wait: float, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of a name for the length of a block. by: who deploys, for people. wait: seconds for another deploy to end.

    Raises Busy, ClusterError.
    """
    item, asked = _take(cluster, Ref("Lease", namespace, name), f"{by} ({uuid4().hex[:8]})", wait, say)
    lease = Lease(cluster, item, asked, say)
    try:
        yield lease
    finally:
        lease.release()


def _take(cluster: Cluster, name: Ref, holder: str, wait: float, say: Callable[[str], None]) -> tuple[Item, float]:
    """Return the lease as this process holds it, and the time.monotonic at which the process asked for it.

    Another deploy's lease is waited for. Busy is raised once `wait` seconds are over and the lease was seen to be renewed, for
    then a deploy is at work. A lease that is not renewed for as long as it lasts was left by a killed job, and is taken over.
    """
    start = since = time.monotonic()
    first, seen, told = None, None, False
    while True:
        asked = time.monotonic()
        found = cluster.get(name)
        spec = (found or _lease(name, holder))["spec"]
        state = (spec.get("holderIdentity"), spec.get("renewTime"))
        if state != seen:
            first, seen, since = first or state, state, asked
        is_over = not state[0] or asked - since > (spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        if (found is None or is_over) and (item := _written(cluster, _lease(name, holder), found)):
            return item, asked
        if found is None or is_over:
            continue  # another deploy was quicker
        words = f"{state[0]} has been deploying it since {spec.get('acquireTime')}"
        if state != first and asked - start >= wait:
            raise Busy(f"{words}; wait for its end (--wait 600 does)")
        if not told:
            say(f"waiting: {words}, or was killed")
            told = True
        time.sleep(WAIT_PAUSE)


def _written(cluster: Cluster, mine: Item, found: Item | None) -> Item | None:
    """Write a lease over the one that was found, and return it; None where another deploy was quicker."""
    try:
        if found is None:
            return cluster.create(mine)
        mine["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        return cluster.replace(mine)
    except ClusterError as error:
        if error.status != CONFLICT:
            raise
        return None


def _lease(name: Ref, holder: str) -> dict[str, Any]:
    now = _now()
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name.name, "namespace": name.namespace, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, "acquireTime": now, "renewTime": now},
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def repeated(
    ask: Callable[[], T], before_each: Callable[[], None], may_go_on: Callable[[], bool], say: Callable[[str], None]
) -> T:
    """Ask until the API server answers, and return its answer.

    before_each: called before each attempt. It may wait or raise.
    may_go_on: whether another attempt is allowed.
    Raises Unreachable where the time is over or no other attempt is allowed, and what `ask` and `before_each` raise.
    """
    end = time.monotonic() + RETRIED_FOR
    while True:
        before_each()
        try:
            return ask()
        except Unreachable as error:
            time.sleep(RETRY_PAUSE)
            if not may_go_on() or time.monotonic() > end:
                raise
            say(f"retrying for {RETRIED_FOR} s: {error}")
