"""One cluster's API server. The only module that imports kubernetes.

Knows requests, answers, and what the API server's refusals mean in words. Does not know services or releases.
"""

import json
import os
import re
import shlex
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from kubernetes import config
from kubernetes.client import ApiException, Configuration
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from conf.base.object_references import MANAGER, Item, Ref, path
from conf.remote.gitlab import hidden

ASKED = (5, 30)  # seconds to connect, and to be answered
# A change may only be made while its lease holds, so it must be over in time, whatever becomes of the network: who asks for one
# has LONGEST left of the lease. After it the connection is closed, with which the API server gives up what it has not done yet.
# Nothing below repeats it (urllib3 would connect three times more, and send a PUT again); what meets another's change is asked
# again within the same time.
CHANGED = (3, 6)
LONGEST = 10
REPEATED = Retry(total=1, connect=0, status=0, other=0, allowed_methods=("GET",), respect_retry_after_header=False)
CONFLICT, GONE = 409, 404
IN_TROUBLE = (429, 500, 502, 503, 504)  # overloaded, restarting, or without its etcd: the same request may pass in a moment
# Said with status 200, as if the container had written it (kubernetes/kubernetes#142258), of one that was removed between the
# pod's status and the question: a moment later the status names the one after it.
REMOVED = "unable to retrieve container logs for "
NETWORK = "is the network up, and the VPN?"


class ClusterError(Exception):
    """The API server refused, or was not reached. The text says what to do.

    status: of HTTP; 0 when there was no answer.
    """

    def __init__(self, words: str, status: int = 0):
        super().__init__(words)
        self.status = status


class Unreachable(ClusterError):
    """No answer came, or only that the server is in trouble. What was asked may have been done."""


class BadCredentials(ClusterError):
    """The cluster does not know who asks: no kubeconfig, no such context, or credentials that have expired."""


class NoRights(ClusterError):
    """The cluster knows who asks, and does not allow it."""


class NoNamespace(ClusterError):
    """The namespace is missing, or on its way out."""


class Refused(ClusterError):
    """The object is not accepted: its schema, a policy, a quota."""


class Cluster:
    """One API server, by the context of a kubeconfig. Safe on any thread.

    warn: gets each of its warnings once, on the thread that asked.
    """

    def __init__(self, context: str, warn: Callable[[str], None] = lambda _: None):
        self.context = context
        self._warn = warn
        self._warned: set[str] = set()
        self._warning = threading.Lock()  # two threads may be told the same at once; held for a look into the set alone
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a kubeconfig's age and of its plugins
                how = Configuration()
                how.retries = REPEATED
                where = os.environ.get("KUBECONFIG")
                self._client: Any = config.new_client_from_config(where, context, client_configuration=how)  # type: ignore[no-untyped-call]
        except Exception as error:  # ConfigException, and whatever a file that is no kubeconfig makes the client raise
            cure = hidden(os.environ) or "set KUBECONFIG to a file that has it"
            raise BadCredentials(f"context {context!r} cannot be used: {error}; {cure}") from error

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
        end = time.monotonic() + LONGEST - sum(CHANGED)
        while True:
            try:
                return self._ask("PATCH", where, item, query, "application/apply-patch+yaml")
            except ClusterError as error:
                if error.status != CONFLICT or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def create(self, item: Item, *, dry_run: bool = False) -> Item:
        """Create an object; raises ClusterError of status 409 where there is one."""
        query = [("fieldManager", MANAGER), *([("dryRun", "All")] if dry_run else [])]
        return self._ask("POST", path(item["kind"], item["metadata"]["namespace"]), item, query)

    def replace(self, item: Item) -> Item:
        """Replace an object that nobody has changed since it was read; raises ClusterError of status 409 otherwise."""
        metadata = item["metadata"]
        where = path(item["kind"], metadata["namespace"], metadata["name"])
        return self._ask("PUT", where, item, [("fieldManager", MANAGER)])

    def delete(self, ref: Ref, version: str = "") -> Item | None:
        """Delete the very object of a uid; return None where it is another or none. Without a uid by its name.

        version: its resourceVersion, where it must not have changed either. Returns the API server's answer: the object where
        it is only marked, with a deletionTimestamp, since finalizers hold it.
        """
        policy = "Foreground" if ref.kind == "Deployment" else "Background"  # a Deployment is gone when its pods are
        body: Item = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy}
        same = {"uid": ref.uid, "resourceVersion": version}
        body["preconditions"] = {name: value for name, value in same.items() if value}
        try:
            return self._ask("DELETE", ref.path, body)
        except ClusterError as error:
            if error.status in (GONE, CONFLICT):
                return None
            raise

    def logs(self, pod: Ref, container: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines that a container wrote; "" where there are none."""
        query = [("container", container), ("tailLines", str(lines)), ("previous", str(previous).lower())]
        for pause in (0, 1, 1):
            time.sleep(pause)
            try:
                text = self._text("GET", f"{pod.path}/log", None, query, "").strip()
            except ClusterError:
                return ""
            if not text.startswith(REMOVED):
                return text
        return ""

    def raw(self, where: str) -> Item:
        """Return what a path of the API answers, such as /version."""
        return self._ask("GET", where)

    def may(self, verb: str, kind: str, namespace: str, part: str = "") -> bool:
        """Return whether whoever asks may do this to that kind in the namespace. part: as log, of pods."""
        prefix, plural = path(kind, namespace).split("/namespaces/")
        group = prefix.split("/")[2] if prefix.startswith("/apis/") else ""
        resource = {"namespace": namespace, "verb": verb, "group": group, "resource": plural.split("/")[1], "subresource": part}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": resource},
        }
        return bool(self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)["status"]["allowed"])

    def _ask(
        self, method: str, where: str, body: Item | None = None, query: list[tuple[str, str]] | None = None, kind: str = ""
    ) -> Item:
        text = self._text(method, where, body, query, kind)
        try:
            answer: Item = json.loads(text)
        except ValueError as error:
            raise Unreachable(
                f"cluster {self.context} answers something else than an API server: {text[:80]!r}; is its address right?"
            ) from error
        return answer

    def _text(self, method: str, where: str, body: Item | None, query: list[tuple[str, str]] | None, kind: str) -> str:
        headers = {"Accept": "application/json, */*", "Content-Type": kind or "application/json"}
        content: Any = json.dumps(body) if kind else body  # kubernetes' client writes JSON for its own content types alone
        request = self._client.param_serialize(
            method, where, query_params=query or [], header_params=headers, body=content, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=ASKED if method == "GET" else CHANGED)
            text: str = answer.response.data.decode(errors="replace")
        except ApiException as error:
            raise in_words(self.context, method, where, error.status or 0, str(error.body or error.reason)) from error
        except (HTTPError, OSError) as error:
            said = _innermost(error)
            cure = "is the kubeconfig's certificate-authority its own?" if "CERTIFICATE" in said else NETWORK
            raise Unreachable(f"cluster {self.context} does not answer: {said}; {cure}") from error
        if not 200 <= answer.status <= 299:
            raise in_words(self.context, method, where, answer.status, text)
        self._pass_on(said_in(answer.response.headers.getlist("Warning")))
        return text

    def _pass_on(self, told: Iterable[str]) -> None:
        for words in told:
            with self._warning:
                new = words not in self._warned
                self._warned.add(words)
            if new:
                self._warn(words)


def kubectl(context: str, words: str) -> str:
    """Return a command for a person to type, which goes to this cluster whatever their current context is."""
    return f"kubectl --context {shlex.quote(context)} {words}"


def said_in(headers: Iterable[str]) -> list[str]:
    """Return the texts of Warning headers, as `299 - "it is deprecated"`. Source: RFC 7234, section 5.5.

    One header may hold several, separated by commas; in a text, a quote and a backslash have a backslash before them.
    """
    found = [text for each in headers for text in re.findall(r'\b\d{3} \S+ "((?:[^"\\]|\\.)*)"', each)]
    return [re.sub(r"\\(.)", r"\1", text) for text in found]


def in_words(context: str, method: str, where: str, status: int, body: str) -> ClusterError:
    """Return the error that a refusal means. Source: the Status object of Kubernetes' API conventions."""
    try:
        told: Item = dict(json.loads(body))
    except (ValueError, TypeError):
        told = {}
    said, details = str(told.get("message") or body[:500]), told.get("details") or {}
    no_namespace = status == 404 and details.get("kind") == "namespaces"
    if status == 0:
        return Unreachable(f"cluster {context} does not answer: {said}; {NETWORK}")
    if status in IN_TROUBLE and "webhook" not in said:
        return Unreachable(f"cluster {context} is in trouble ({status}): {said.strip()}; run it again in a moment", status)
    if status == 401 or (status == 403 and "system:anonymous" in said):
        return BadCredentials(f"cluster {context} does not know these credentials: expired or withdrawn; get new ones", status)
    if no_namespace:
        name = details.get("name", "NAME")
        return NoNamespace(f"cluster {context} has no namespace {name}: {kubectl(context, f'create namespace {name}')}", status)
    if status == 403 and "being terminated" in said:
        return NoNamespace(f"cluster {context}: {said}; wait until it is gone, then create it again", status)
    if status == 403 and "User " in said and " cannot " in said:
        return NoRights(f"cluster {context} refuses: {said}; ask who runs it for this right", status)
    if status == 404 and method == "PATCH" and told.get("reason") != "NotFound":
        return Refused(f"cluster {context} does not know this type of object ({where}): {said.strip()}", status)
    return Refused(f"cluster {context} does not accept it: {said}", status)


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(error) or type(error).__name__
