"""Accounts with chosen rights in a namespace, and the rights that docs/deploy.md says a deploy needs."""

from contextlib import ExitStack
from typing import Any

import yaml

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.running import ROOT

RBAC = "rbac.authorization.k8s.io"


def of_the_manual(name: str = "deployer") -> list[dict[str, Any]]:
    """Return the rules of a Role in docs/deploy.md."""
    blocks = (ROOT / "docs/deploy.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    roles = [role for block in blocks for role in yaml.safe_load_all(block.partition("```")[0])]
    (rules,) = [role["rules"] for role in roles if role.get("kind") == "Role" and role["metadata"]["name"] == name]
    return list(rules)


def allowed(cluster: Cluster, namespace: str, account: str, rules: list[dict[str, Any]], home: str = "") -> ExitStack:
    """Give an account rights in a namespace for the length of a block. home: the account's namespace, "" for the same."""
    where = f"/apis/{RBAC}/v1/namespaces/{namespace}"
    named = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": account}}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": home or namespace}
    bound = {"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": account}, "subjects": [subject]}
    stack = ExitStack()
    stack.enter_context(cluster.having(f"{where}/roles", {**named, "kind": "Role", "rules": rules}))
    stack.enter_context(cluster.having(f"{where}/rolebindings", {**named, "kind": "RoleBinding", **bound}))
    return stack


def token(cluster: Cluster, namespace: str, account: str) -> str:
    """Return a token of a ServiceAccount."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return str(cluster.ask("post", f"{path('ServiceAccount', namespace, account)}/token", body)["status"]["token"])
