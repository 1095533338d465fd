"""The offline pods of a service on a cluster: the records that they are given, and what Kubernetes says of them."""

import json

from conf.base.object_references import Item, path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.images import OFFLINE_SETTINGS
from tests.conf.rollout.service_state import BLANK_DIGIT

SOURCE = OFFLINE_SETTINGS["offline_source"].removeprefix("kafka:")
SINK = OFFLINE_SETTINGS["offline_sinks"][0].removeprefix("kafka:")
GROUP = OFFLINE_SETTINGS["offline_group"]
DEAD = f"{SOURCE}-{GROUP}-dead"
PARTITIONS = 2
OFFLINE = "digits-offline"
SECONDS = 240  # the longest wait


def record(number: int) -> bytes:
    return json.dumps({"postid": str(number), **BLANK_DIGIT}).encode()


def offline_pods(hk: Cluster, reading: Checkout) -> list[Item]:
    """Return the offline pods that stay."""
    found = hk.ask("get", path("Pod", reading.user), labelSelector=f"app.kubernetes.io/name={OFFLINE}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def ready(hk: Cluster, reading: Checkout) -> int:
    """Return how many offline pods are ready."""
    conditions = [each for pod in offline_pods(hk, reading) for each in pod["status"].get("conditions", [])]
    return sum((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
