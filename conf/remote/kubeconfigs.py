"""Kubeconfigs of a cluster's ServiceAccounts, each with a token of a limited lifetime.

Knows the format of a kubeconfig, and asks the cluster for the token. Writes no file. Does not know who has which account.
"""

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.request import getproxies

from conf.base.object_references import Item, Ref
from conf.remote.cluster import Cluster, ClusterError

NOT_FOUND, FORBIDDEN = 404, 403


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
