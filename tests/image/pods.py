"""Makes, waits for, calls and deletes pods of the real cluster that KUBECONFIG names."""

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client, config
from kubernetes.stream import stream

from tests.waiting import until

Item = dict[str, Any]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}


class Pod:
    """One pod, by its name."""

    def __init__(self, api: Any, namespace: str, name: str):
        self._api, self._namespace, self._name = api, namespace, name

    @classmethod
    def of(cls, context: str, namespace: str, name: str) -> "Pod":
        """Return an existing pod."""
        return cls(client.CoreV1Api(config.new_client_from_config(context=context)), namespace, name)  # type: ignore[no-untyped-call]

    def status(self) -> Item:
        """Return the pod's status as the API server's JSON."""
        found = self._api.api_client.sanitize_for_serialization(self._api.read_namespaced_pod(self._name, self._namespace))
        return dict(found["status"])

    def wait(self, done: Callable[[Item], bool], seconds: float) -> Item:
        """Return the status once `done` accepts it. Raises AssertionError with status and log when it takes too long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = self.status()
            if done(status):
                return status
            time.sleep(0.2)
        raise AssertionError(f"after {seconds} s: {json.dumps(status, indent=1)}\n{self.log()}")

    def log(self) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return str(self._api.read_namespaced_pod_log(self._name, self._namespace))

    def post(self, port: int, path: str, body: bytes, kind: str) -> Any:
        """Return the JSON answer of a POST, sent through the API server."""
        where = f"/api/v1/namespaces/{self._namespace}/pods/{self._name}:{port}/proxy{path}"
        api = self._api.api_client
        headers = {"Content-Type": kind}
        api.update_params_for_auth(headers, [], ["BearerToken"], where, "POST", body)
        return json.loads(api.call_api("POST", api.configuration.host + where, headers, body).read())

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command in the pod's container. Return its exit code and its output."""
        socket = stream(
            self._api.connect_get_namespaced_pod_exec, self._name, self._namespace, command=list(command),
            stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False,
        )  # fmt: skip
        try:
            socket.run_forever(timeout=60)
            return int(socket.returncode), socket.read_all()
        finally:
            socket.close()
            socket.sock.shutdown()  # close() leaves the socket open where the server closed first


def context() -> str:
    """Return the kubeconfig's current context."""
    return str(config.list_kube_config_contexts()[1]["name"])  # type: ignore[no-untyped-call]


@contextmanager
def running_pod(namespace: str, name: str, spec: Item) -> Iterator[Pod]:
    """Run a pod in a namespace of its own that enforces Kubernetes' restricted standard, for the length of a block."""
    api: Any = client.CoreV1Api(config.new_client_from_config(context=context()))  # type: ignore[no-untyped-call]
    api.create_namespace({"metadata": {"name": namespace, "labels": RESTRICTED}})
    try:
        until(lambda: _has_default_account(api, namespace))
        api.create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": spec})
        yield Pod(api, namespace, name)
    finally:
        api.delete_namespace(namespace, grace_period_seconds=0)
        api.api_client.rest_client.pool_manager.clear()


def _has_default_account(api: Any, namespace: str) -> bool:
    """Return whether a new namespace has its ServiceAccount, without which no pod can be created."""
    found = api.list_namespaced_service_account(namespace).items
    return any(each.metadata.name == "default" for each in found)
