"""The user and password for a registry, from the environment or a file of docker, podman or buildah.

Knows where credentials are. Does not know the registries' protocol. Writes nothing, and runs none of the credential helpers
that a docker file may name. Source of the file's form: containers-auth.json(5) of the containers project.

    REGISTRY_PULL_USER, REGISTRY_PULL_PASSWORD   for the platform's own registry, as a deploy job has them
    REGISTRY_AUTH_FILE                           a file of logins (default: the files of `buildah login` and `docker login`)
"""

import base64
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.settings import UnreadableError, text_of

USER, PASSWORD, FILE = "REGISTRY_PULL_USER", "REGISTRY_PULL_PASSWORD", "REGISTRY_AUTH_FILE"
MAX_FILE_KIB = 1024


@dataclass(frozen=True)
class Login:
    """A user's name and password. origin: where they were found, for people. Its repr shows no password."""

    user: str
    password: str = field(repr=False)
    origin: str

    @property
    def basic(self) -> str:
        """The value of the Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def login(host: str, own: Collection[str], environment: Mapping[str, str]) -> Login | None:
    """Return the login for a registry, None for anonymous. own: the hosts to which the environment's password may go."""
    user, password = environment.get(USER, ""), environment.get(PASSWORD, "")
    if user and password and host in own:
        return Login(user, password, f"{USER} and {PASSWORD}")
    return next((found for path in files(environment) if (found := _of_file(path, host))), None)


def files(environment: Mapping[str, str]) -> list[Path]:
    """Return the files that may hold logins: the one that is named, else those of buildah and podman, then docker's."""
    if named := environment.get(FILE):
        return [Path(named)]
    folder = environment.get("XDG_RUNTIME_DIR")
    found = [Path(f"{folder}/containers" if folder else f"/run/containers/{os.getuid()}") / "auth.json"]
    if folder := environment.get("DOCKER_CONFIG"):
        found.append(Path(folder) / "config.json")
    elif folder := environment.get("HOME"):
        found.append(Path(folder) / ".docker" / "config.json")
    return found


def _of_file(path: Path, host: str) -> Login | None:
    """Return a file's login to a host. A file that cannot be read has none: the registry's refusal then says so."""
    try:
        auths: Mapping[str, Any] = json.loads(text_of(path, MAX_FILE_KIB))["auths"]
        for name, entry in auths.items():
            if _host(name) == host and entry.get("auth"):
                user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
                return Login(user, password.strip("\0"), str(path))
    except (UnreadableError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None


def _host(name: str) -> str:
    """Return the host that a login is for. Docker Hub's is written https://index.docker.io/v1/."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host == "index.docker.io" else host
