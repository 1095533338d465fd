"""An image registry: which digest a tag has now, and whether a digest is still there.

Reads manifests alone: pulls and changes nothing. A password goes to the registry, and to the token service that it names. It is
read from the environment, or a file of docker, podman or buildah. None of the credential helpers that a docker file may name
is run. Sources: the OCI distribution specification, Docker's token specification
(https://distribution.github.io/distribution/spec/auth/token/), and containers-auth.json(5) of the containers project.

    REGISTRY_PULL_USER, REGISTRY_PULL_PASSWORD   for the platform's own registry, as a deploy job has them
    REGISTRY_AUTH_FILE                           a file of logins (default: the files of `buildah login` and `docker login`)
"""

import base64
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conf.base.image_names import Image, image
from conf.clusters.regions import Regions
from conf.remote.safe_http import Answer, NoAnswer, get, in_time, must_be_safe, origin, speaks_http
from serving.settings import UnreadableError, text_of

TIMEOUT = 20.0  # seconds for one digest, redirects and token included
MAX_MANIFEST_BYTES = 4 * 2**20  # registries need not take larger ones, by the specification
TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
HUB, HUB_ASKED_AT = "docker.io", "registry-1.docker.io"  # Docker Hub's images are named without a host
PARAMETER = re.compile(r'(\w+)="([^"]*)"')
TOKEN = re.compile(r"[\x21-\x7e]+")
USER, PASSWORD, FILE = "REGISTRY_PULL_USER", "REGISTRY_PULL_PASSWORD", "REGISTRY_AUTH_FILE"
MAX_FILE_KIB = 1024


class RegistryError(NoAnswer):
    """A registry does not answer, or refuses.

    words: what was seen. cure: what to do.
    """


class NotThere(RegistryError):
    """The registry has no such image."""


def resolved(text: str, regions: Regions, environment: Mapping[str, str] = os.environ) -> str:
    """Return an image's name with the digest that its tag has now. One with a digest stays as it is. Raises RegistryError."""
    named = image(text)
    return named.full if named.digest else f"{named.full}@{digest(named, regions, environment, typed=True)}"


def digest(named: Image, regions: Regions, environment: Mapping[str, str] = os.environ, *, typed: bool = False) -> str:
    """Return the digest of an image as its registry has it now. Raises NotThere, RegistryError.

    typed: whether a person or the pipeline named this image. Then the environment's password may go to its host; else it goes
    only to the registry of regions.yaml and to GitLab's own.
    """
    host, _ = location(named)
    own = {regions.registry.partition("/")[0], environment.get("CI_REGISTRY", ""), *((host,) if typed else ())}
    registry = Registry(host, regions.http_registries, login(host, own, environment))
    try:
        return in_time(lambda: registry.digest(named), TIMEOUT, f"registry {host}")
    except RegistryError:
        raise
    except NoAnswer as error:
        raise RegistryError(f"registry {host} cannot be asked: {error.words}", error.cure) from error


def location(named: Image) -> tuple[str, str]:
    """Return an image's registry and its repository there. The rule is that of container runtimes."""
    first, slash, rest = named.name.partition("/")
    is_host = slash and (first == "localhost" or first != first.lower() or "." in first or ":" in first)
    host, repository = (first, rest) if is_host else (HUB, named.name)
    return host, f"library/{repository}" if host == HUB and "/" not in repository else repository


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


@dataclass(frozen=True)
class Registry:
    """One registry. plain: the hosts that are asked over plain HTTP. login: None for anonymous."""

    host: str
    plain: Collection[str] = ()
    login: Login | None = None

    @property
    def url(self) -> str:
        scheme = "http" if speaks_http(self.host, self.plain) else "https"
        return f"{scheme}://{HUB_ASKED_AT if self.host == HUB else self.host}"

    def digest(self, named: Image) -> str:
        """Return the digest of an image's manifest, or of its index of manifests. Raises NoAnswer."""
        _, repository = location(named)
        url = f"{self.url}/v2/{repository}/manifests/{named.digest or named.tag or 'latest'}"
        answer = self._get(url)
        if answer.status == 401:
            self._must_be_its_own(answer)
            answer = self._get(url, self._authorization(answer, repository))
        if answer.status != 200:
            raise self._refusal(answer, named)
        kind = answer.headers.get_content_type()
        if kind not in TYPES:
            raise RegistryError(
                f"{self.host} answers with {kind} for {named.full}, which is not the manifest of an image",
                "is it a registry, and was the image pushed by a recent builder (docker 1.10 or newer)?",
            )
        found = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        told = answer.headers.get("Docker-Content-Digest", "")
        told = told if told.startswith("sha256:") else found
        if {told, named.digest or told} != {found}:
            raise RegistryError(
                f"{self.host} sends a manifest of {named.full} with the digest {found}, not {named.digest or told}",
                "a proxy on the way, or a broken mirror, changes it",
            )
        return found

    def _must_be_its_own(self, answer: Answer) -> None:
        """Raise RegistryError where a redirect led to another host, which could have the password sent anywhere."""
        if origin(answer.url) != origin(self.url):
            raise RegistryError(
                f"registry {self.host} redirects to {origin(answer.url)}, which asks for a login",
                "a password follows no redirect: name that registry in the image's name",
            )

    def _authorization(self, asked: Answer, repository: str) -> str:
        challenges = [each.strip().partition(" ") for each in asked.headers.get_all("WWW-Authenticate", [])]
        # One header may hold several challenges. The parameters of the first win, since they stand before the others'.
        wants = {scheme.lower(): dict(reversed(PARAMETER.findall(rest))) for scheme, _, rest in challenges}
        if "bearer" in wants:
            return f"Bearer {self._token(wants['bearer'], repository)}"
        if self.login is None:
            raise self._unknown(repository)
        if "basic" in wants:
            return self.login.basic
        raise RegistryError(
            f"registry {self.host} asks for a login by {', '.join(wants) or 'an unnamed scheme'}",
            "monopod knows Basic and Bearer: use an account for one of these",
        )

    def _token(self, wants: Mapping[str, str], repository: str) -> str:
        realm = wants.get("realm", "")
        must_be_safe(realm, self.plain)
        query = {"service": wants.get("service", ""), "scope": f"repository:{repository}:pull"}
        joined = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode({k: v for k, v in query.items() if v})}"
        answer = self._get(joined, self.login.basic if self.login else "")
        if answer.status in (401, 403):
            raise self._unknown(repository)
        try:
            told = json.loads(answer.body) if answer.status == 200 else {}
            token = told.get("token") or told["access_token"]
            if not TOKEN.fullmatch(token):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            where = urllib.parse.urlsplit(realm).netloc
            raise RegistryError(
                f"registry {self.host} refers to {where} for a token, which sends none (status {answer.status})",
                "run it again in a moment; if it stays so, ask who runs the registry",
            ) from error
        return str(token)

    def _refusal(self, answer: Answer, named: Image) -> RegistryError:
        if answer.status == 404:
            deleted = "it was deleted there, or never pushed: push it again, or name another version"
            cure = deleted if named.digest else "is its name right, and was it pushed (make image, make push)?"
            return NotThere(f"registry {self.host} has no image {named.full}", cure)
        if answer.status in (401, 403):
            return self._unknown(location(named)[1])
        if answer.status == 429:
            return RegistryError(f"registry {self.host} refuses further requests for now (429)", "wait a while, or log in")
        words = f"registry {self.host} answers with status {answer.status}{_said(answer.body)}"
        if answer.status == 400 and self.url.startswith("http:"):
            return RegistryError(f"{words} over HTTP", "if it speaks HTTPS, take it out of http_registries in regions.yaml")
        cure = "run it again in a moment" if answer.status >= 500 else "is it a registry? see registry in regions.yaml"
        return RegistryError(words, cure)

    def _unknown(self, repository: str) -> RegistryError:
        if self.login is None:
            cure = f"set {USER} and {PASSWORD} to an account that may pull, or run `docker login {self.host}` (or buildah's)"
            return RegistryError(f"registry {self.host} asks for a login for {repository}", cure)
        return RegistryError(
            f"registry {self.host} does not let {self.login.user} (from {self.login.origin}) read {repository}",
            "is the password right, may it pull, and is the repository's name right?",
        )

    def _get(self, url: str, authorization: str = "") -> Answer:
        return get(url, {"Accept": ", ".join(TYPES)}, authorization, self.plain, MAX_MANIFEST_BYTES)


def _said(body: bytes) -> str:
    try:
        told = str(json.loads(body)["errors"][0]["message"])[:200]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
    return f" ({told})" if told.isprintable() else ""


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
