"""Makes a platform's repository and a fork of it with one service, and runs the fork's pipeline here by gitlab-ci-local.

The default branch is neither master nor main here, since the pipeline must use its variable. Repositories are made of the last
commit, so changes that are not committed are not tested here.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.locks import alone
from tests.prerequisites import program
from tests.running import ROOT

HERE = Path(__file__).parent
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
FAILED = re.compile(r"finished in .*(?:WARN|FAIL) +(\d+)")
DEFAULT = "trunk"
SECRETS = ("KUBECONFIG", "REGISTRY_PASSWORD", "REGISTRY_PULL_PASSWORD")
FILES = ("KUBECONFIG", "PIP_CONFIG_FILE")
# Every bash that a job starts sources this file, which notes the secrets that the job sees.
SPY = "".join(f'[ -z "${{{name}:-}}" ] || echo "${{CI_JOB_NAME:-}} {name}" >>"SEEN"\n' for name in SECRETS)


def git(folder: Path, *words: str) -> str:
    """Run git and return its output."""
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, files: Mapping[str, str | bytes | None], message: str) -> str:
    """Write files, commit them, and return the commit. files: contents by path; None deletes a file."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
    git(folder, "add", "--all", "--", *(files or ["."]))
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def platform(folder: Path, regions: str) -> Path:
    """Make a platform's repository of this one's last commit, on its default branch. regions: the content of regions.yaml."""
    git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "-B", DEFAULT)
    (folder / "conf/regions.yaml").write_text(regions)
    command = [sys.executable, "-m", "conf.render.gitlab_jobs"]  # what `make pipeline` runs
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": "src:."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commit(folder, {}, "Our regions")
    return folder


def fork(upstream: Path, folder: Path) -> Path:
    """Fork a platform. Return a checkout of the fork's repository, on its default branch."""
    server = folder.with_name(f"{folder.name}.git")
    git(upstream, "clone", "--quiet", "--bare", "--single-branch", "--branch", DEFAULT, str(upstream), str(server))
    git(upstream, "clone", "--quiet", str(server), str(folder))
    return _named(folder)


def without_checkout(checkout: Path) -> Path:
    """Return a folder beside a checkout that holds only the pipeline's files, at the same pushed commit and branch."""
    folder = checkout.with_name(f"{checkout.name}-without")
    server, branch = git(checkout, "remote", "get-url", "origin"), git(checkout, "branch", "--show-current")
    git(checkout, "clone", "--quiet", "--no-checkout", "--branch", branch, server, str(folder))
    git(folder, "checkout", "--quiet", "HEAD", "--", ".gitlab-ci.yml", "ci/regions.yml")
    return _named(folder)


def _named(folder: Path) -> Path:
    git(folder, "remote", "add", "gcl-origin", "https://gitlab.example.com/pipeline/models.git")  # only names the project
    return folder


@dataclass(frozen=True)
class Ran:
    """One run of gitlab-ci-local. code: exit status of the first failed job. output: of all jobs, without colours."""

    code: int
    output: str


class Pipelines:
    """Runs jobs of a checkout. secrets: by name and environment, as GitLab scopes variables. variables: for every job."""

    def __init__(self, folder: Path, secrets: Mapping[str, Mapping[str, str]], variables: Mapping[str, str]):
        self._program, self._home, self._variables = _program(), folder / "home", variables
        self._at_home = ["--home", str(self._home)]
        self._seen = folder / "seen"
        kept = self._home / ".gitlab-ci-local" / "variables.yml"
        kept.parent.mkdir(parents=True)
        said = {
            name: {"type": "file" if name in FILES else "variable", "values": dict(values)} for name, values in secrets.items()
        }
        kept.write_text(json.dumps({"project": {"gitlab.example.com/pipeline/models": said}}))
        (folder / "spy").write_text(SPY.replace("SEEN", str(self._seen)))
        hidden = {*SECRETS, "CI", "PYTHONPATH"}
        self._env = {name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("PYTEST")}
        self._env |= {"BASH_ENV": str(folder / "spy"), "HOME": str(self._home)}
        self._env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # in place of MONOPOD_IMAGE

    def run(self, checkout: Path, *jobs: str, timeout: float = 600) -> Ran:
        """Run jobs by name, or the jobs of a push where none is named. Manual jobs run too. Push first."""
        said = {"CI_REPOSITORY_URL": git(checkout, "remote", "get-url", "origin"), **self._variables}
        variables = [word for name, value in said.items() for word in ("--variable", f"{name}={value}")]
        how = ["--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source", *self._at_home]
        command = [*self._program, *jobs, *how, *variables]
        with subprocess.Popen(
            command, cwd=checkout, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
        ) as running:
            try:
                output, _ = running.communicate(timeout=timeout)
            except BaseException:
                os.killpg(running.pid, signal.SIGKILL)  # its jobs end, too
                raise
        output = COLOURS.sub("", output)
        failed = FAILED.search(output)  # a manual job's failure fails neither the pipeline nor gitlab-ci-local
        return Ran(int(failed[1]) if failed else running.returncode, output)

    def jobs(self, checkout: Path) -> dict[str, str]:
        """Return the jobs of a push, each with GitLab's word for when it runs."""
        listed = subprocess.run(
            [*self._program, "--list-json", *self._at_home], cwd=checkout, env=self._env, capture_output=True, text=True
        )
        assert listed.returncode == 0, listed.stderr
        return {job["name"]: job["when"] for job in json.loads(listed.stdout) if job["when"] != "never"}

    def seen(self) -> set[tuple[str, str]]:
        """Return the pairs of job and secret seen so far."""
        lines = self._seen.read_text().splitlines() if self._seen.exists() else []
        return {(job, secret) for job, secret in (line.split() for line in lines)}


def artifact(checkout: Path, job: str, name: str) -> str:
    """Return a file that a job left."""
    return (checkout / ".gitlab-ci-local" / "artifacts" / job / name).read_text(encoding="utf-8")


def _program() -> Sequence[str]:
    """Install gitlab-ci-local once, by its lock file, and return how it is run."""
    for name, package in (("node", "nodejs"), ("npm", "npm"), ("rsync", "rsync")):
        program(name, package)
    lock = (HERE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "monopod-tests" / f"gitlab-ci-local-{hashlib.sha256(lock).hexdigest()[:12]}"
    entry = folder / "node_modules" / "gitlab-ci-local" / "src" / "index.js"
    with alone("gitlab-ci-local"):  # of several processes that run at once, one installs
        if not entry.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    return ["node", str(entry)]
