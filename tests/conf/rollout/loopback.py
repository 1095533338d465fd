"""Lets pods reach a server that listens on this machine's loopback address alone, at the same address and port.

A broker tells each client the address of its listener, and its certificate names that address too. So a pod has to reach a
listener on 127.0.0.1 as 127.0.0.1. A small program in the pod (tests/services/loopback) listens there, and carries bytes to a
proxy on this machine, which carries them to the server. TLS is between the pod and the server, as ever.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.tcp_proxy import TcpProxy
from tests.waiting import until

VARIABLE = "LOOPBACK"  # names ports of the pod's loopback, and where their bytes go
SECONDS = 1800  # for which the program runs beside a pod's own containers


@contextmanager
def reached_from_pods(host: str, ports: Sequence[int]) -> Iterator[str]:
    """Run a proxy for each port of this machine's loopback, and yield the value of VARIABLE. host: this machine, for pods."""
    with ExitStack() as held:
        words = []
        for port in ports:
            proxy = TcpProxy("127.0.0.1", port, at=host)
            held.callback(proxy.close)
            words.append(f"{port}={host}:{proxy.port}")
        yield " ".join(words)


def run_beside(cluster: Cluster, namespace: str, pod: str, image: str, value: str, name: str) -> None:
    """Run the program in the network of a pod that runs already, as `kubectl debug` does.

    image: one that has the program as sitecustomize.py. name: of the container, which stays on the pod's list for ever.
    """
    container = {
        "name": name,
        "image": image,
        "command": ["python", "-c", f"import time; time.sleep({SECONDS})"],
        "env": [{"name": VARIABLE, "value": value}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    where, added = path("Pod", namespace, pod), {"spec": {"ephemeralContainers": [container]}}
    cluster.ask("patch", f"{where}/ephemeralcontainers", added, "application/strategic-merge-patch+json")

    def runs() -> bool:
        found = cluster.ask("get", where)["status"].get("ephemeralContainerStatuses", [])
        return any(each["name"] == name and "running" in each["state"] for each in found)

    until(runs, 180, pause=0.5)
