"""One deploy of a service's track at a time: a Lease in its namespace, held while a rollout works.

Knows leases and clocks. Does not know what is done meanwhile.

Concurrency: one thread renews the lease while the block runs, and ends with it. When it cannot renew (the API server is away)
the lease runs out by itself, and `check` says so: the block asks it before each change. A killed job's lease runs out likewise.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from conf.cluster import CONFLICT, Cluster, ClusterError
from conf.refs import Item, Ref

LASTS = 20  # seconds
RENEWED = 5  # seconds


class Busy(Exception):
    """Another deploy of the same track is at work. The text names it."""


class Lost(Exception):
    """The lease ran out, or another took it, while the rollout was at work."""


class Lease:
    """A lease that this process holds."""

    def __init__(self, cluster: Cluster, item: Item):
        self._cluster, self._item = cluster, item
        self._good_until = time.monotonic() + LASTS
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise Lost where another deploy may be at work by now."""
        if time.monotonic() > self._good_until:
            raise Lost(
                "the lease of this deploy ran out while the API server was away; run it again: it goes on from what it finds"
            )

    def release(self) -> None:
        """Give the lease back, so that the next deploy need not wait."""
        self._over.set()
        self._thread.join()
        metadata = self._item["metadata"]
        with contextlib.suppress(ClusterError):
            self._cluster.delete(Ref("Lease", metadata["namespace"], metadata["name"], metadata["uid"]))

    def _keep(self) -> None:
        while not self._over.wait(RENEWED):
            with contextlib.suppress(ClusterError):
                self._item["spec"]["renewTime"] = _now()
                self._item = self._cluster.replace(self._item)
                self._good_until = time.monotonic() + LASTS


@contextlib.contextmanager
def held(cluster: Cluster, namespace: str, name: str, holder: str, wait: float, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of a name for the length of a block. wait: seconds to wait for another deploy's end.

    Raises Busy, ClusterError.
    """
    lease = Lease(cluster, _take(cluster, namespace, name, holder, wait, say))
    try:
        yield lease
    finally:
        lease.release()


def _take(cluster: Cluster, namespace: str, name: str, holder: str, wait: float, say: Callable[[str], None]) -> Item:
    """Return the lease as this process holds it.

    Another's is taken over once it has not been renewed for as long as it lasts, by this process' own clock: clocks may differ.
    """
    end, seen, since = time.monotonic() + wait, None, time.monotonic()
    told = False
    while True:
        found = cluster.get(Ref("Lease", namespace, name))
        mine = _lease(namespace, name, holder)
        try:
            if found is None:
                return cluster.create(mine)
            state = (found["spec"].get("holderIdentity"), found["spec"].get("renewTime"))
            if state != seen:
                seen, since = state, time.monotonic()
            elif time.monotonic() - since > (found["spec"].get("leaseDurationSeconds") or LASTS):
                mine["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
                return cluster.replace(mine)
        except ClusterError as error:
            if error.status != CONFLICT:
                raise
            continue  # another was quicker
        who, when = found["spec"].get("holderIdentity"), found["spec"].get("acquireTime")
        stale = time.monotonic() - since < LASTS and _age(found) > 2 * LASTS  # a killed job's, most likely
        if time.monotonic() > end and not stale:
            raise Busy(
                f"{who} is deploying it since {when}; wait for its end (--wait 600 does), or a killed job's lease runs out in "
                f"{LASTS} s"
            )
        if not told:
            say(f"waiting: {who} is deploying it since {when}")
            told = True
        time.sleep(0.5)


def _lease(namespace: str, name: str, holder: str) -> dict[str, Any]:
    now = _now()
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "monopod"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": LASTS, "acquireTime": now, "renewTime": now},
    }


def _age(item: Item) -> float:
    """Return the seconds since a lease was renewed, by both machines' clocks."""
    try:
        renewed = datetime.fromisoformat(item["spec"]["renewTime"])
    except (KeyError, TypeError, ValueError):
        return float("inf")
    return (datetime.now(UTC) - renewed).total_seconds()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
