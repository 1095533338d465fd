"""Kubeconfigs made from the one that KUBECONFIG names: with another account, or through a connection that a test cuts.

Also one of its own, for an API server of this machine.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

Item = dict[str, Any]


def written(file: Path, context: str, *, token: str = "", port: int = 0) -> str:
    """Write a kubeconfig of one context, and return its path. token: of another account. port: of this machine, in between."""
    cluster, user = _found(context)
    if port:
        cluster |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": address(context)[0]}
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "it", "user": "who"}}],
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "who", "user": {"token": token} if token else user}],
    }
    file.write_text(yaml.safe_dump(found))
    return str(file)


def use_kubeconfig(monkeypatch: pytest.MonkeyPatch, file: Path, context: str, url: str) -> None:
    """Write a kubeconfig that names an API server of this machine, and have it used."""
    config = {
        "clusters": [{"name": context, "cluster": {"server": url}}],
        "users": [{"name": "ann", "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": "ann"}}],
        "current-context": context,
    }
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("NO_PROXY", "*")


def address(context: str) -> tuple[str, int]:
    """Return the host and the port of a context's API server."""
    cluster, _ = _found(context)
    host, _, port = cluster["server"].partition("://")[2].partition("/")[0].partition(":")
    return host, int(port or 443)


def _found(context: str) -> tuple[Item, Item]:
    """Return the cluster and the user of a context."""
    files = [Path(each) for each in os.environ["KUBECONFIG"].split(os.pathsep) if each]
    read = [yaml.safe_load(file.read_text()) for file in files]

    def named(kind: str, name: str) -> Item:
        return next(dict(each[kind]) for part in read for each in part[f"{kind}s"] if each["name"] == name)

    chosen = named("context", context)
    return named("cluster", chosen["cluster"]), named("user", chosen["user"])
