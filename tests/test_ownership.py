"""Every tracked path has exactly one owner: the service or the platform. conf/PATHS says which."""

import subprocess
from functools import cache

import pytest

from tests.running import ROOT

SERVICES_OWN = [
    "value.py",
    "alerts.yaml",
    "pod.yaml",
    "panels.yaml",
    "model/m.onnx",
    "src/server.py",
    "src/test_server.py",
    "src/requirements.txt",
    "src/packages.txt",
    "README.md",
    "CHANGELOG.md",
    "docs/service/how.md",
    "tests/service/test_more.py",
    "service.Dockerfile",
]


@cache
def owners() -> list[tuple[str, str]]:
    """Return every line of conf/PATHS, as owner and path."""
    lines = (ROOT / "conf" / "PATHS").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(owner, path) for owner, path in pairs]


def owner(path: str) -> str:
    """Return the owner of a path. The longest line that matches decides."""
    fitting = [(len(line), who) for who, line in owners() if path == line or (line.endswith("/") and path.startswith(line))]
    return max(fitting)[1] if fitting else ""


def tracked() -> list[str]:
    try:
        found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git repository, so there are no tracked paths")
    return [path for path in found.decode().split("\0") if path]


def test_every_tracked_path_has_an_owner() -> None:
    assert [path for path in tracked() if not owner(path)] == []


def test_no_path_has_two_owners() -> None:
    paths = [path for _, path in owners()]
    assert len(paths) == len(set(paths))
    assert {who for who, _ in owners()} == {"U", "P"}


@pytest.mark.parametrize("path", SERVICES_OWN)
def test_what_a_service_edits_is_its_own(path: str) -> None:
    assert owner(path) == "U"


@pytest.mark.parametrize(
    "path", ["src/serving/core/stages.py", "src/monopod.py", "conf/regions.yaml", "templates/service.yaml", "docs/README.md"]
)
def test_what_the_platform_brings_is_the_platforms(path: str) -> None:
    assert owner(path) == "P"
