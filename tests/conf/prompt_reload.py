"""Has Prometheus and Alertmanager read changes of their configuration at once, for the length of a test run.

A kubelet looks about once a minute whether a mounted Secret or ConfigMap has changed, and also whenever the pod's own object
changes. So each pod gets an annotation with the versions of what it mounts, and the time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kubernetes.client import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError
from urllib3.exceptions import HTTPError

from conf.base.object_references import path
from tests.conf.cluster import Cluster, Item
from tests.repeating import repeating

SECONDS = 2.0  # between two looks
APART = 10  # seconds, at least, between two annotations: the reloader loses a change that comes while it reloads
ANNOTATION = "monopod-test/mounted-at"
NAMESPACE, OPERATED = "monitoring", "app.kubernetes.io/managed-by=prometheus-operator"
PLURALS = {"secret": ("secrets", "secretName"), "configMap": ("configmaps", "name")}


@contextmanager
def reloading_promptly(cluster: Cluster) -> Iterator[None]:
    """Annotate the operator's pods on a thread of its own, for the length of a block. It does nothing where there are none."""
    own = Cluster(cluster.context)  # each thread needs a client of its own

    def look() -> None:
        with suppress(ApiException, DynamicApiError, HTTPError):  # the next look comes soon enough
            for pod in own.ask("get", path("Pod", NAMESPACE), labelSelector=OPERATED)["items"]:
                _annotate(own, pod)

    with repeating(SECONDS, look):
        yield


def _annotate(cluster: Cluster, pod: Item) -> None:
    versions = {}
    for volume in pod["spec"]["volumes"]:
        for kind, (plural, field) in PLURALS.items():
            if kind in volume:
                found = cluster.find(f"/api/v1/namespaces/{NAMESPACE}/{plural}/{volume[kind][field]}")
                versions[volume["name"]] = found["metadata"]["resourceVersion"] if found else "none"
    text = " ".join(f"{name}={version}" for name, version in sorted(versions.items()))
    at, _, before = pod["metadata"].get("annotations", {}).get(ANNOTATION, "0 ").partition(" ")
    if before != text and time.time() - int(at) > APART:
        named = {"metadata": {"annotations": {ANNOTATION: f"{time.time():.0f} {text}"}}}
        cluster.by_hand(path("Pod", NAMESPACE, pod["metadata"]["name"]), named)
