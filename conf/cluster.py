"""One cluster's API server. The only module that imports kubernetes.

Knows requests, answers, and what the API server's refusals mean in words. Does not know services or releases.
"""

import json
import warnings
from typing import Any

from kubernetes import config
from kubernetes.client import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from conf.refs import Item, Ref, path

MANAGER = "monopod"
TIMEOUT = (5, 30)  # seconds to connect, and to be answered
CONFLICT, GONE, UNREADABLE = 409, 404, 0


class ClusterError(Exception):
    """The API server refused, or was not reached. The text says what to do.

    status: of HTTP; 0 when there was no answer.
    """

    def __init__(self, words: str, status: int = 0):
        super().__init__(words)
        self.status = status


class Unreachable(ClusterError):
    """No answer came: the network, or a server that is down. What was asked may have been done."""


class BadCredentials(ClusterError):
    """The cluster does not know who asks: no kubeconfig, no such context, or credentials that have expired."""


class NoRights(ClusterError):
    """The cluster knows who asks, and does not allow it."""


class NoNamespace(ClusterError):
    """The namespace is missing, or on its way out."""


class Refused(ClusterError):
    """The object is not accepted: its schema, a policy, a quota."""


class Cluster:
    """One API server, by the context of a kubeconfig. Safe on any thread."""

    def __init__(self, context: str):
        self.context = context
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a kubeconfig's age and of its plugins
                self._client: Any = config.new_client_from_config(context=context)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise BadCredentials(
                f"context {context!r} cannot be used: {error}; set KUBECONFIG to a file that has it"
            ) from error

    def get(self, ref: Ref) -> Item | None:
        """Return an object as it is now, or None."""
        try:
            return self._ask("GET", ref.path)
        except ClusterError as error:
            if error.status == GONE:
                return None
            raise

    def find(self, kind: str, namespace: str, labels: str = "", fields: str = "") -> list[Item]:
        """Return the objects of a kind in a namespace ("" for every one), by label and field selectors."""
        where = path(kind, namespace) if namespace else path(kind, "-").replace("/namespaces/-", "")
        query = [("labelSelector", labels)] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        items: list[Item] = self._ask("GET", where, query=query)["items"]
        for item in items:
            item["kind"] = kind  # a list leaves it out
        return items

    def apply(self, item: Item, *, dry_run: bool = False, manager: str = MANAGER) -> Item:
        """Apply an object server-side, as its only manager, and return it as it is then."""
        metadata = item["metadata"]
        query = [("fieldManager", manager), ("force", "true"), ("fieldValidation", "Strict")]
        query += [("dryRun", "All")] if dry_run else []
        where = path(item["kind"], metadata["namespace"], metadata["name"])
        return self._ask("PATCH", where, item, query, "application/apply-patch+yaml")

    def create(self, item: Item) -> Item:
        """Create an object; raises ClusterError of status 409 where there is one."""
        return self._ask("POST", path(item["kind"], item["metadata"]["namespace"]), item, [("fieldManager", MANAGER)])

    def replace(self, item: Item) -> Item:
        """Replace an object that nobody has changed since it was read; raises ClusterError of status 409 otherwise."""
        metadata = item["metadata"]
        where = path(item["kind"], metadata["namespace"], metadata["name"])
        return self._ask("PUT", where, item, [("fieldManager", MANAGER)])

    def delete(self, ref: Ref) -> bool:
        """Delete the very object of a uid; return False where it is another or none. Without a uid by its name."""
        body: Item = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        if ref.uid:
            body["preconditions"] = {"uid": ref.uid}
        try:
            self._ask("DELETE", ref.path, body)
        except ClusterError as error:
            if error.status in (GONE, CONFLICT):
                return False
            raise
        return True

    def logs(self, pod: Ref, container: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines that a container wrote; "" where there are none."""
        query = [("container", container), ("tailLines", str(lines)), ("previous", str(previous).lower())]
        try:
            return self._text("GET", f"{pod.path}/log", None, query, "").strip()
        except ClusterError:
            return ""

    def raw(self, where: str) -> Item:
        """Return what a path of the API answers, such as /version."""
        return self._ask("GET", where)

    def may(self, verb: str, kind: str, namespace: str) -> bool:
        """Return whether whoever asks may do this to that kind in the namespace."""
        prefix, plural = path(kind, namespace).split("/namespaces/")
        group = prefix.split("/")[2] if prefix.startswith("/apis/") else ""
        resource = {"namespace": namespace, "verb": verb, "group": group, "resource": plural.split("/")[1]}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": resource},
        }
        return bool(self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)["status"]["allowed"])

    def _ask(
        self, method: str, where: str, body: Item | None = None, query: list[tuple[str, str]] | None = None, kind: str = ""
    ) -> Item:
        answer: Item = json.loads(self._text(method, where, body, query, kind))
        return answer

    def _text(self, method: str, where: str, body: Item | None, query: list[tuple[str, str]] | None, kind: str) -> str:
        headers = {"Accept": "application/json, */*", "Content-Type": kind or "application/json"}
        content: Any = json.dumps(body) if kind else body  # kubernetes' client writes JSON for its own content types alone
        request = self._client.param_serialize(
            method, where, query_params=query or [], header_params=headers, body=content, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=TIMEOUT)
            text: str = answer.response.data.decode()
        except ApiException as error:
            raise _in_words(self.context, method, where, error.status or 0, str(error.body or error.reason)) from error
        except (HTTPError, OSError) as error:
            raise Unreachable(
                f"cluster {self.context} does not answer: {_innermost(error)}; is the network up, and the VPN?"
            ) from error
        if not 200 <= answer.status <= 299:
            raise _in_words(self.context, method, where, answer.status, text)
        return text


def _in_words(context: str, method: str, where: str, status: int, body: str) -> ClusterError:
    """Return the error that an answer means. Source: the Status object of Kubernetes' API conventions."""
    try:
        told = json.loads(body)
    except ValueError:
        told = {"message": body[:500]}
    said, reason = str(told.get("message") or body[:500]), told.get("reason", "")
    missing = (told.get("details") or {}).get("kind") == "namespaces"
    if status == 0:
        return Unreachable(f"cluster {context} does not answer: {said}")
    if status == 401:
        return BadCredentials(
            f"cluster {context} does not know these credentials: expired or withdrawn; get new ones",
            status,
        )
    if (status == 404 and missing) or (status == 403 and "being terminated" in said):
        return NoNamespace(
            f"cluster {context}: {said}; create it, or wait until it is gone: kubectl create namespace NAME", status
        )
    if status == 403 and "exceeded quota" not in said and "violates PodSecurity" not in said:
        return NoRights(f"cluster {context} refuses: {said}; ask who runs it for this right", status)
    if status == 404 and method == "PATCH" and reason != "NotFound":
        return Refused(f"cluster {context} does not know this type of object ({where}): {said}", status)
    return Refused(f"cluster {context} does not accept it: {said}", status)


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(error) or type(error).__name__
