"""A change of rendered objects since the last release is announced, or named."""

import subprocess
import sys
from pathlib import Path

import pytest

from ci.compatible import Announced, announced, changes, refusals, unannounced
from ci.releases import Release
from tests.pipeline.test_releases import LIST, Platform
from tests.running import PYTHONPATH, ROOT

OLD = "kind: Service\nmetadata: {name: cats}\nspec: {ports: [{port: 80, name: http}]}\n"
NEW = "kind: Service\nmetadata: {name: cats}\nspec: {ports: [{port: 81, name: http}, {port: 90}], type: ClusterIP}\n"
RENDERED, GOLDEN = "conf/RENDERED", "tests/golden/demo/hk-prod-istio.yaml"


def test_each_changed_field_is_found_once_by_its_kind_and_path() -> None:
    found = changes({"hk": OLD, "eu": OLD, "gone": OLD}, {"hk": NEW, "eu": NEW, "new": NEW})
    assert found == {("Service", "spec.ports[].port"), ("Service", "spec.type")}
    assert changes({"hk": OLD}, {"hk": OLD}) == set()


@pytest.mark.parametrize(
    ("line", "covered"),
    [
        ("v0.4 Service spec.ports a port", ["spec.ports[].port"]),
        ("v0.4 Service spec a port", ["spec.ports[].port", "spec.type"]),
        ("v0.4 Service spec.port a port", []),
        ("v0.4 Deployment spec a port", []),
        ("v0.3 Service spec a port", []),  # that release is there, and did not change it
    ],
)
def test_a_line_of_a_later_release_announces_its_path_and_all_below(line: str, covered: list[str]) -> None:
    both = [("Service", "spec.ports[].port"), ("Service", "spec.type")]
    left = unannounced(both, announced(f"# The list\n\n{line}\n"), ["v0.3"])
    assert left == [each for each in both if each[1] not in covered]


def test_a_line_that_announces_nothing_is_named() -> None:
    assert announced("v0.4 Service spec.type why it is\n") == [Announced("v0.4", "Service", "spec.type", "why it is")]
    with pytest.raises(ValueError, match=r"conf/RENDERED:2: 'v0\.4 Service spec' is not RELEASE KIND PATH WHY"):
        announced("# The list\nv0.4 Service spec\n")


def test_a_checkout_is_compared_with_the_last_release_in_the_list(tmp_path: Path) -> None:
    made = Platform(tmp_path / "platform", ROOT)

    def run() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "ci/compatible.py"]
        return subprocess.run(
            command, cwd=made.folder, env={"PYTHONPATH": PYTHONPATH, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )

    made.names_itself("a release")
    made.list(f"v91 {made.write({'more': ''})} {64 * '0'}")
    assert (run().returncode, run().stderr) == (0, "")
    made.write({GOLDEN: (ROOT / GOLDEN).read_text().replace("replicas: 2", "replicas: 3")})
    assert run().stderr == "Deployment spec.replicas changed since v91: announce it in conf/RENDERED, or undo it\n"
    made.write({RENDERED: (ROOT / RENDERED).read_text() + "v92 Deployment spec.replicas one more\n"})
    assert run().returncode == 0
    made.write({LIST: f"v91 {40 * '0'} {64 * '0'}\n"})
    assert run().stderr.endswith("this clone lacks a release of conf/RELEASES: git fetch --unshallow\n")


def test_a_new_field_of_regions_yaml_is_refused_by_name_unless_it_is_optional(tmp_path: Path) -> None:
    release = Release("v91", "HEAD", "")
    regions = tmp_path / "regions.yaml"
    text = (ROOT / "conf/regions.yaml").read_text()
    regions.write_text(text.replace("    host: hk.example.com", "    moon: full\n    host: hk.example.com"))
    (words,) = refusals(release, regions)
    assert "conf/regions.yaml:14: no setting 'moon' here" in words
    regions.write_text(f"optional: [moon]\n{regions.read_text()}")
    assert refusals(release, regions) == []
