"""Checks of a project: the checkout, what GitLab's pipeline needs of it, and the registry of its images.

Changes nothing. Asks no API of GitLab, so GitLab's variables are checked only inside a job, where they are set. The secrets
with which nodes pull are not checked: the diagnosis of a failed pull tells them.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conf.base.image_names import image
from conf.clusters.regions import Regions
from conf.doctor.findings import Finding
from conf.remote import image_registry
from conf.remote.safe_http import NoAnswer, get, in_time
from conf.render.gitlab_jobs import pipeline

TIMEOUT = 20  # seconds for the answer of a git server
USERINFO = re.compile(r"//[^/@\s]*@")  # a URL's user and password
GIT_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # git asks nobody for a password, and answers in English


class GitError(Exception):
    """A git command failed. The text is git's first error line, without secrets."""


@dataclass(frozen=True)
class Checkout:
    """A service's folder in a git repository, and the environment that git and the job have."""

    folder: Path
    environ: Mapping[str, str]

    def git(self, *words: str) -> str:
        """Return what git prints. Raises GitError where git fails, is missing, or does not end within TIMEOUT."""
        command = ["git", "-C", str(self.folder), *words]
        environ = {**self.environ, **GIT_ENVIRONMENT}
        try:  # a session of its own has no terminal, so that ssh cannot ask for a password
            done = subprocess.run(
                command, env=environ, capture_output=True, text=True, timeout=TIMEOUT, start_new_session=True, check=False
            )
        except OSError as error:
            raise GitError(f"git cannot be run ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise GitError(f"no answer within {TIMEOUT} s") from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith(("fatal: ", "error: "))] or ["git gave up"]
            raise GitError(USERINFO.sub("//", said[0].partition(": ")[2] or said[0]))
        return done.stdout

    def succeeds(self, *words: str) -> bool:
        try:
            self.git(*words)
        except GitError:
            return False
        return True


def project_findings(folder: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Return the findings about a service's folder and what its pipeline needs. environ: this process's environment.

    The default branch is checked where the folder is in a repository with an origin.
    """
    checkout = Checkout(folder, environ)
    origin = _default_branch(checkout) if checkout.succeeds("remote", "get-url", "origin") else ()
    return [*origin, *_platform(checkout), *_registry(environ)]


def pipeline_findings(regions: Regions, file: Path) -> list[Finding]:
    """Return the finding where a pipeline file lacks the jobs of regions.yaml. file: ci/regions.yml of the platform."""
    if file.exists() and file.read_text(encoding="utf-8") != pipeline(regions):
        words = f"{file.parent.name}/{file.name} does not have the jobs of {regions.file}"
        return [Finding("", "pipeline", words, "make pipeline, and commit both files")]
    return []


def _default_branch(checkout: Checkout) -> Iterator[Finding]:
    try:
        answer = checkout.git("ls-remote", "--symref", "origin", "HEAD")
    except GitError as error:
        yield Finding("", "origin", f"cannot be read: {error}", "check `git remote get-url origin`, and your rights there")
        return
    named = re.match(r"ref: refs/heads/(\S+)\tHEAD", answer)
    if named is None:
        words = "origin lacks the branch that it names as its default: GitLab makes no pipeline (compare_to is not a valid ref)"
        yield Finding("", "default branch", words, "push that branch, or name another in GitLab: Settings > Repository")
        return
    default = named[1]
    if not checkout.succeeds("rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{default}"):
        cure = f"git fetch origin {default}:refs/remotes/origin/{default} && git remote set-head origin --auto"
        yield Finding("", "default branch", f"{default} of origin was never fetched", cure)
        return
    yield Finding("", "default branch", f"{default} of origin, with which GitLab compares value.py")
    if checkout.succeeds("diff", "--quiet", f"origin/{default}", "HEAD", "--", "value.py"):
        words = f"value.py is {default}'s: GitLab lints and tests this commit as the platform's, and offers no build or deploy"
        yield Finding("", "branch", words)


def _platform(checkout: Checkout) -> Iterator[Finding]:
    url, ref = checkout.environ.get("PLATFORM_URL", ""), checkout.environ.get("PLATFORM_REF") or "HEAD"
    if not url:
        return
    if not re.match(r"[\w+.-]+://|[^/]+:|/", url):
        yield Finding("", "platform", f"PLATFORM_URL is the relative path {url}", "write it from the root: jobs run elsewhere")
        return
    try:
        answer = checkout.git("ls-remote", url, ref)
    except GitError as error:
        cure = "correct PLATFORM_URL; a private project must list this one under Settings > CI/CD > Job token permissions"
        yield Finding("", "platform", f"PLATFORM_URL cannot be read: {error}", cure)
        return
    if answer:
        yield Finding("", "platform", f"PLATFORM_REF {ref} is {answer[:8]}")
    else:
        cure = "set PLATFORM_REF to HEAD, refs/heads/<branch> or refs/tags/<tag>"
        yield Finding("", "platform", f"the repository of PLATFORM_URL has no {ref}", cure)


def _registry(environ: Mapping[str, str]) -> Iterator[Finding]:
    if environ.get("REPOSITORY", "").startswith(("/", "$")):
        cure = "switch it on (Settings > General > Visibility > Container registry), or set REPOSITORY"
        yield Finding("", "images", "CI_REGISTRY_IMAGE is empty: the project's container registry is off", cure)


def registry_finding(regions: Regions, name: str, environ: Mapping[str, str]) -> Finding:
    """Return whether an image is in its registry, or, for the name "", whether the registry of regions.yaml answers."""
    return _has_image(regions, name, environ) if name else _answers(regions)


def _has_image(regions: Regions, name: str, environ: Mapping[str, str]) -> Finding:
    named = image(name)
    try:
        found = image_registry.digest(named, regions, environ, typed=True)
    except image_registry.RegistryError as error:
        return Finding("", "image", error.words, error.cure)
    return Finding("", "image", f"registry {image_registry.location(named)[0]} has {named.full}: {found}")


def _answers(regions: Regions) -> Finding:
    """Check that the registry answers. A registry that asks for a password does."""
    asked = image_registry.Registry(regions.registry.partition("/")[0], regions.http_registries)

    def ask() -> str:
        return str(get(f"{asked.url}/v2/", {}, "", asked.plain, image_registry.MAX_MANIFEST_BYTES).status)

    try:
        status = in_time(ask, image_registry.TIMEOUT, f"registry {asked.host}")
    except NoAnswer as error:
        return Finding("", "registry", error.words, f"check registry in regions.yaml; {error.cure}")
    if status in ("200", "401", "403"):
        return Finding("", "registry", f"{asked.host} answers; --image asks it for an image")
    cure = "check that registry in regions.yaml names a registry"
    return Finding("", "registry", f"{asked.host} answers with status {status}", cure)
