"""One cluster's API server, what its refusals mean, and kubeconfigs. The only module that imports kubernetes."""

import json
import os
import re
import shlex
import threading
import time
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import getproxies

from kubernetes import config
from kubernetes.client import ApiException, Configuration
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from conf.base.object_references import MANAGER, Item, Ref, path

READ_TIMEOUTS = (5, 30)  # seconds to connect, and to be answered
# A write is only allowed while its lease holds, so it must end in time even if the network fails. The caller has
# MAX_WRITE_SECONDS left of the lease. Then the connection is closed, and the API server gives up a request that it has not
# done. By default, urllib3 would connect three times more, and send a PUT again: RETRIES forbids that for writes. `apply`
# repeats a write that meets a conflict, within the same time.
WRITE_TIMEOUTS = (3, 6)
MAX_WRITE_SECONDS = 10
RETRIES = Retry(total=1, connect=0, status=0, other=0, allowed_methods=("GET",), respect_retry_after_header=False)
FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409
UNAVAILABLE = (429, 500, 502, 503, 504)  # overloaded, restarting, or without its etcd: the request may pass in a moment
# The answer with status 200 for the logs of a container that has just been removed (kubernetes/kubernetes#142258). A moment
# later the pod's status names the next container.
REMOVED_LOGS = "unable to retrieve container logs for "
NETWORK_CURE = "is the network up, and the VPN?"


class ClusterError(Exception):
    """The API server refused a request, or was not reached. The text says what to do.

    status: the HTTP status, 0 where there was no answer. body: the answer's text, "" where there was none.
    """

    body = ""

    def __init__(self, words: str, status: int = 0):
        super().__init__(words)
        self.status = status


class Unreachable(ClusterError):
    """No answer came, or only that the server is unavailable. It may have done what was asked."""


class BadCredentials(ClusterError):
    """The cluster does not accept the credentials, or there are none: no kubeconfig, no such context, or expired."""


class NoRights(ClusterError):
    """The cluster accepts the credentials, and does not allow the request."""


class NoNamespace(ClusterError):
    """The namespace is missing, or being deleted."""


class Refused(ClusterError):
    """The object is not accepted, because of its schema, a policy or a quota."""


class Cluster:
    """One API server, by a context of the kubeconfig. Safe on any thread.

    warn: gets each warning of the API server once, on the thread that made the request.
    Raises BadCredentials where the context cannot be used. Each method raises ClusterError.
    """

    def __init__(self, context: str, warn: Callable[[str], None] = lambda _: None):
        self.context = context
        self._warn = warn
        self._warned: set[str] = set()
        self._warning = threading.Lock()  # two threads may get the same warning at once
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the client's, about old kubeconfigs and plugins
                how = Configuration()
                how.retries = RETRIES
                where = os.environ.get("KUBECONFIG")
                self._client: Any = config.new_client_from_config(where, context, client_configuration=how)  # type: ignore[no-untyped-call]
        except Exception as error:  # ConfigException, and any other that the client raises for a file of another kind
            cure = missing_kubeconfig(os.environ) or "set KUBECONFIG to a file that has it"
            raise BadCredentials(f"context {context!r} cannot be used: {error}; {cure}") from error

    def get(self, ref: Ref) -> Item | None:
        """Return an object as it is now, None where it is missing."""
        return self.found(ref.path)

    def find(self, kind: str, namespace: str, labels: str = "", fields: str = "") -> list[Item]:
        """Return the objects of a kind in a namespace, "" for all, that the label and field selectors choose."""
        where = path(kind, namespace) if namespace else path(kind, "-").replace("/namespaces/-", "")
        query = [("labelSelector", labels)] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        items: list[Item] = self._ask("GET", where, query=query)["items"]
        for item in items:
            item["kind"] = kind  # the items of a list have none
        return items

    def apply(self, item: Item, *, dry_run: bool = False, manager: str = MANAGER) -> Item:
        """Apply an object server-side, also fields that others own, and return it as it is then. manager: the field owner."""
        metadata = item["metadata"]
        query = [("fieldManager", manager), ("force", "true"), ("fieldValidation", "Strict")]
        query += [("dryRun", "All")] if dry_run else []
        where = path(item["kind"], metadata["namespace"], metadata["name"])
        end = time.monotonic() + MAX_WRITE_SECONDS - sum(WRITE_TIMEOUTS)
        while True:
            try:
                return self._ask("PATCH", where, item, query, "application/apply-patch+yaml")
            except ClusterError as error:
                if error.status != CONFLICT or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def create(self, item: Item, *, dry_run: bool = False) -> Item:
        """Create an object, and return it. Raises ClusterError of status 409 where there is one."""
        query = [("fieldManager", MANAGER), *([("dryRun", "All")] if dry_run else [])]
        return self._ask("POST", path(item["kind"], item["metadata"]["namespace"]), item, query)

    def replace(self, item: Item) -> Item:
        """Replace an object, and return it. Raises ClusterError of status 409 where it has changed since it was read."""
        metadata = item["metadata"]
        where = path(item["kind"], metadata["namespace"], metadata["name"])
        return self._ask("PUT", where, item, [("fieldManager", MANAGER)])

    def delete(self, ref: Ref, version: str = "", *, alone: bool = False) -> Item | None:
        """Delete an object, and return the API server's answer; None where there is no such object.

        A ref with a uid deletes only the object of that uid. version: the resourceVersion that it must have, "" for any.
        alone: whether what it owns stays. The answer is the object, with a deletionTimestamp, where finalizers keep it for now.
        """
        after = "Foreground" if ref.kind == "Deployment" else "Background"  # a Deployment is deleted after its pods
        body: Item = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan" if alone else after}
        same = {"uid": ref.uid, "resourceVersion": version}
        body["preconditions"] = {name: value for name, value in same.items() if value}
        try:
            return self._ask("DELETE", ref.path, body)
        except ClusterError as error:
            if error.status in (NOT_FOUND, CONFLICT):
                return None
            raise

    def evict(self, pod: Ref) -> None:
        """End a pod as the drain of a node does. Raises ClusterError, of status 429 where its disruption budget forbids it."""
        metadata = {"name": pod.name, "namespace": pod.namespace}
        body: Item = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        self._ask("POST", f"{pod.path}/eviction", body)

    def logs(self, pod: Ref, container: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines that a container wrote; "" where there are none. previous: those before its restart."""
        query = [("container", container), ("tailLines", str(lines)), ("previous", str(previous).lower())]
        for pause in (0, 1, 1):
            time.sleep(pause)
            try:
                text = self._text("GET", f"{pod.path}/log", None, query, "").strip()
            except ClusterError:
                return ""
            if not text.startswith(REMOVED_LOGS):
                return text
        return ""

    def timed_lines(self, pod: Ref, container: str, since: str, most: int, *, previous: bool = False) -> str:
        """Return what a container wrote, with the kubelet's time before each line.

        since: a time in RFC 3339, empty for all. most: bytes.
        """
        query = [("container", container), ("timestamps", "true"), ("limitBytes", str(most))]
        query += [("previous", str(previous).lower()), *([("sinceTime", since)] if since else [])]
        return self._text("GET", f"{pod.path}/log", None, query, "")

    def raw(self, where: str) -> Item:
        """Return the answer of a path of the API, such as /version."""
        return self._ask("GET", where)

    def found(self, where: str) -> Item | None:
        """Return the answer of a path of the API, None where the path is missing."""
        try:
            return self.raw(where)
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise
            return None

    def token(self, account: Ref, seconds: int) -> Item:
        """Return a token of a ServiceAccount, and when it expires. seconds: asked for; the API server may grant fewer."""
        spec = {"expirationSeconds": seconds}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        status: Item = self._ask("POST", f"{account.path}/token", body)["status"]
        return status

    @property
    def configuration(self) -> Any:
        """The client's Configuration: the API server's address, and how it is verified."""
        return self._client.configuration

    def proxied(self, where: str, query: list[tuple[str, str]]) -> str:
        """Return what a pod or a Service answers to a GET. where: its path at the API server, /proxy, and its own path."""
        return self._text("GET", where, None, query, "")

    def may(self, verb: str, kind: str, namespace: str, part: str = "") -> bool:
        """Return whether the credentials allow a verb on a kind in a namespace. part: the subresource, such as log of pods."""
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
            answer = self._client.call_api(*request, _request_timeout=READ_TIMEOUTS if method == "GET" else WRITE_TIMEOUTS)
            text: str = answer.response.data.decode(errors="replace")
        except ApiException as error:
            raise refusal(self.context, method, where, error.status or 0, str(error.body or error.reason)) from error
        except (HTTPError, OSError) as error:
            said = _innermost(error)
            cure = "is the kubeconfig's certificate-authority its own?" if "CERTIFICATE" in said else NETWORK_CURE
            raise Unreachable(f"cluster {self.context} does not answer: {said}; {cure}") from error
        if not 200 <= answer.status <= 299:
            refused = refusal(self.context, method, where, answer.status, text)
            refused.body = text
            raise refused
        self._pass_on(warning_texts(answer.response.headers.getlist("Warning")))
        return text

    def _pass_on(self, told: Iterable[str]) -> None:
        for words in told:
            with self._warning:
                new = words not in self._warned
                self._warned.add(words)
            if new:
                self._warn(words)


def kubectl(context: str, words: str) -> str:
    """Return a command for a person to run. It names its context, so their current one does not matter."""
    return f"kubectl --context {shlex.quote(context)} {words}"


def warning_texts(headers: Iterable[str]) -> list[str]:
    """Return the texts of Warning headers such as `299 - "it is deprecated"`. Source: RFC 7234, section 5.5.

    One header may hold several, separated by commas. In a text, a quote and a backslash have a backslash before them.
    """
    found = [text for each in headers for text in re.findall(r'\b\d{3} \S+ "((?:[^"\\]|\\.)*)"', each)]
    return [re.sub(r"\\(.)", r"\1", text) for text in found]


def refusal(context: str, method: str, where: str, status: int, body: str) -> ClusterError:
    """Return the error that an answer's status and body mean. Source: the Status object of Kubernetes' API conventions."""
    try:
        told: Item = dict(json.loads(body))
    except (ValueError, TypeError):
        told = {}
    said, details = str(told.get("message") or body[:500]), told.get("details") or {}
    no_namespace = status == 404 and details.get("kind") == "namespaces"
    if status == 0:
        return Unreachable(f"cluster {context} does not answer: {said}; {NETWORK_CURE}")
    if status in UNAVAILABLE and "webhook" not in said:
        return Unreachable(f"cluster {context} cannot answer ({status}): {said.strip()}; run it again in a moment", status)
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


def missing_kubeconfig(environ: Mapping[str, str]) -> str:
    """Return why a GitLab job has no usable KUBECONFIG, and the cure; "" outside such a job or where a file is named.

    Sources: https://docs.gitlab.com/ci/variables/predefined_variables/ and
    https://docs.gitlab.com/ci/variables/#protect-a-cicd-variable.
    """
    environment, kubeconfig = environ.get("CI_ENVIRONMENT_NAME", ""), environ.get("KUBECONFIG", "")
    if not environment:
        return ""
    if "\n" in kubeconfig:
        return "the variable KUBECONFIG holds the text itself, and not a file's name: make its type File"
    if kubeconfig:
        return ""
    scope = environment.partition("/")[0] + "/*"
    words = f"this job sees no KUBECONFIG: make it a variable of type File, whose environment scope is {scope}"
    if environ.get("CI_COMMIT_REF_PROTECTED") == "false":
        branch = environ.get("CI_COMMIT_REF_NAME", "its branch")
        words += f"; a protected variable is kept from this job, since the branch {branch} is not protected: protect it"
    return words


@dataclass(frozen=True)
class Access:
    """A kubeconfig, and when its token expires."""

    kubeconfig: Item
    expires: datetime


def access(cluster: Cluster, account: Ref, seconds: int) -> Access:
    """Return a kubeconfig for an account. seconds: the lifetime to ask for. Raises ClusterError, which says what is missing."""
    try:
        token = cluster.token(account, seconds)
    except ClusterError as error:
        if error.status == NOT_FOUND:
            words = f"cluster {cluster.context} has no {account}: install charts/cluster there, as docs/cluster.md says"
            raise ClusterError(words, error.status) from error
        if error.status == FORBIDDEN:
            right = f"it takes the right to create serviceaccounts/token in the namespace {account.namespace}"
            raise type(error)(f"{error}; {right}", error.status) from error
        raise
    expires = datetime.fromisoformat(token["expirationTimestamp"])
    return Access(kubeconfig(cluster, account.name, token["token"]), expires)


def kubeconfig(cluster: Cluster, user: str, token: str) -> Item:
    """Return a kubeconfig of one context, which has the name of the cluster's own context.

    Raises ClusterError where the caller's kubeconfig does not verify the API server: anybody could then read the token.
    """
    how = cluster.configuration
    if not how.verify_ssl or not how.host.startswith("https://"):
        words = (
            f"context {cluster.context!r} does not verify the API server's certificate, so that anybody could read the token"
        )
        raise ClusterError(f"{words}: name its certificate-authority in the kubeconfig, without insecure-skip-tls-verify")
    server: Item = {"server": how.host}
    if how.ssl_ca_cert:
        server["certificate-authority-data"] = b64encode(Path(how.ssl_ca_cert).read_bytes()).decode()
    if how.tls_server_name:
        server["tls-server-name"] = how.tls_server_name
    if how.proxy and how.proxy not in getproxies().values():  # one of this machine's environment is not the cluster's
        server["proxy-url"] = how.proxy
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster.context,
        "contexts": [{"name": cluster.context, "context": {"cluster": cluster.context, "user": user}}],
        "clusters": [{"name": cluster.context, "cluster": server}],
        "users": [{"name": user, "user": {"token": token}}],
    }
