"""A real API server, which tests leave as they found it. KUBECONFIG alone names it.

A region uses the context of its name, and the current context where no context has that name.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from kubernetes import config, dynamic
from kubernetes.client import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError

from tests.locks import shared
from tests.prerequisites import kubeconfig
from tests.waiting import until

Item = dict[str, Any]
MADE = {"monopod-test": "made"}  # the label of namespaces that tests made and share
KEPT = "example.com/kept"  # the finalizer by which tests hold an object


class Cluster:
    """One API server, by its context."""

    def __init__(self, context: str):
        self.context = context
        self._client: Any = dynamic.DynamicClient(config.new_client_from_config(context=context))  # type: ignore[no-untyped-call]

    def refusal(self, item: Item) -> str:
        """Apply an object server-side as a dry run with strict field validation; return why it is refused, or ""."""
        metadata = item["metadata"]
        try:
            resource = self._client.resources.get(api_version=item["apiVersion"], kind=item["kind"])
            self._client.request(
                "patch",
                resource.path(name=metadata["name"], namespace=metadata["namespace"]),
                body=item,
                content_type="application/apply-patch+yaml",
                query_params=[("dryRun", "All"), ("fieldManager", "monopod"), ("force", True), ("fieldValidation", "Strict")],
            )
        except (ApiException, DynamicApiError) as error:
            return f"{item['kind']} {metadata['namespace']}/{metadata['name']}: {error.body!r}"
        return ""

    def ask(
        self, method: str, path: str, body: Item | list[Item] | None = None, content: str = "application/json", **query: str
    ) -> Item:
        """Return what a path of the API answers. Raises ApiException, DynamicApiError."""
        answer = self._client.request(
            method, path, body=body, content_type=content, query_params=list(query.items()), serialize=False
        )
        found: Item = json.loads(answer.data or b"{}")
        return found

    def text(self, path: str) -> str:
        """Return the answer of a path that is not an object's: a log, or a pod's answer through the API server."""
        return bytes(self._client.request("get", path, serialize=False).data).decode()

    def find(self, path: str) -> Item | None:
        """Return an object by its path, or None."""
        try:
            return self.ask("get", path)
        except (ApiException, DynamicApiError) as error:
            if error.status != 404:
                raise
            return None

    def by_hand(self, path: str, item: Item, manager: str = "kubectl-edit") -> Item:
        """Change an object as a person does with kubectl, or create it where the path is a kind's."""
        if "apiVersion" in item:
            return self.ask("post", path, item, fieldManager="kubectl-create")
        return self.ask("patch", path, item, "application/merge-patch+json", fieldManager=manager)

    @contextmanager
    def having(self, path: str, item: Item) -> Iterator[Item]:
        """Create an object for the length of a block. path: of its kind."""
        made = self.by_hand(path, item)
        try:
            yield made
        finally:
            with suppress(ApiException, DynamicApiError):
                self.ask("delete", f"{path}/{item['metadata']['name']}")

    @contextmanager
    def own_namespaces(self, *names: str) -> Iterator[None]:
        """Create empty namespaces for the length of a block, and delete them with all that is in them."""
        for name in names:
            if self._has_namespace(name):
                self.ask("delete", f"/api/v1/namespaces/{name}")
        for name in names:
            self._has_namespace(name)
            self.by_hand("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in names:
            # No pod can be created before this.
            until(lambda name=name: self.find(f"/api/v1/namespaces/{name}/serviceaccounts/default") is not None)  # type: ignore[misc]
        try:
            yield
        finally:
            for name in names:
                self.ask("delete", f"/api/v1/namespaces/{name}")

    @contextmanager
    def namespaces(self, names: Sequence[str], labels: dict[str, str] | None = None) -> Iterator[None]:
        """Create namespaces for the length of a block, shared with other tests. The last test deletes those that tests made."""
        with ExitStack() as held:
            for name in names:
                held.enter_context(self._namespace(name, labels or {}))
            yield

    @contextmanager
    def _namespace(self, name: str, labels: dict[str, str]) -> Iterator[None]:
        with shared(f"namespace-{self.context}-{name}") as last:
            if not self._has_namespace(name):
                metadata = {"name": name, "labels": {**labels, **MADE}}
                with suppress(ApiException, DynamicApiError):  # another test was faster
                    self.by_hand("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            try:
                yield
            finally:
                found = self.find(f"/api/v1/namespaces/{name}")
                if found and MADE.items() <= found["metadata"].get("labels", {}).items() and last():
                    self.ask("delete", f"/api/v1/namespaces/{name}")

    def _has_namespace(self, name: str) -> bool:
        """Return whether a namespace is there. The end of one that an earlier run deleted is waited for.

        A run that was killed may have left objects in it that a test holds: they are freed.
        """
        found: Item | None = None

        def is_settled() -> bool:
            nonlocal found
            found = self.find(f"/api/v1/namespaces/{name}")
            if found is None or found["status"]["phase"] == "Active":
                return True
            for kind in (f"/api/v1/namespaces/{name}/services", f"/apis/policy/v1/namespaces/{name}/poddisruptionbudgets"):
                for item in self.ask("get", kind)["items"]:
                    if item["metadata"].get("finalizers") == [KEPT]:
                        self.by_hand(f"{kind}/{item['metadata']['name']}", {"metadata": {"finalizers": None}})
            return False

        until(is_settled, 300, pause=0.5)
        return found is not None


def clusters(regions: Sequence[str]) -> dict[str, Cluster]:
    """Return each region's API server. Without KUBECONFIG the test is skipped, in CI it fails."""
    kubeconfig()
    contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    known = {context["name"] for context in contexts}
    chosen = {region: region if region in known else current["name"] for region in regions}
    made = {context: Cluster(context) for context in sorted(set(chosen.values()))}
    return {region: made[context] for region, context in chosen.items()}
