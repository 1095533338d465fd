"""Checks of a project: its checkout, its pipeline, and the registry of its images."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conf.clusters.regions import load
from conf.doctor.project_check import pipeline_findings, project_findings, registry_finding
from conf.render.gitlab_jobs import pipeline
from tests.conf.golden import GOLDEN, regions
from tests.conf.image_registry import running_registry
from tests.pipeline.forks import commit, git
from tests.running import PYTHONPATH

VALUE = 'service_name = "{name}"\nusername = "like"\n'
HOME = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout, on a service's branch, of a server whose default branch is trunk."""
    made, server = tmp_path / "models", tmp_path / "models.git"
    made.mkdir()
    git(made, "init", "--quiet", "--initial-branch", "trunk")
    commit(made, {"value.py": VALUE.format(name="demo")}, "The platform")
    git(made, "clone", "--quiet", "--bare", str(made), str(server))
    git(made, "clone", "--quiet", str(server), str(tmp_path / "cats"))
    git(tmp_path / "cats", "checkout", "--quiet", "-b", "cats")
    commit(tmp_path / "cats", {"value.py": VALUE.format(name="cats")}, "Cats")
    return tmp_path / "cats"


def found(checkout: Path, **environ: str) -> dict[str, tuple[str, str]]:
    return {each.subject: (each.words, each.cure) for each in project_findings(checkout, {**HOME, **environ})}


def test_the_default_branch_is_named_by_the_server_whatever_it_is_called(checkout: Path) -> None:
    ((subject, (words, cure)),) = found(checkout).items()
    assert (subject, words.partition(",")[0], cure) == ("default branch", "trunk of origin", "")


def test_a_branch_without_a_value_py_of_its_own_is_told_that_it_gets_no_build(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "-b", "more", "trunk")
    words, cure = found(checkout)["branch"]
    assert ("offers no build or deploy" in words, cure) == (True, "")


def test_a_default_branch_that_is_not_there_is_the_refused_compare_to(checkout: Path) -> None:
    git(checkout, "push", "--quiet", "origin", "cats")
    git(checkout.parent / "models.git", "symbolic-ref", "HEAD", "refs/heads/main")
    words, cure = found(checkout)["default branch"]
    assert "compare_to is not a valid ref" in words
    assert "Settings > Repository" in cure


def test_a_default_branch_that_was_never_fetched_comes_with_the_command_that_does(checkout: Path) -> None:
    git(checkout, "update-ref", "-d", "refs/remotes/origin/trunk")
    words, cure = found(checkout)["default branch"]
    assert words == "trunk of origin was never fetched"
    done = subprocess.run(cure, shell=True, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert found(checkout)["default branch"][1] == ""


def test_an_origin_that_cannot_be_read_is_told_in_gits_words_without_its_password(checkout: Path) -> None:
    git(checkout, "remote", "set-url", "origin", "http://ann:secret@127.0.0.1:9/models.git")
    words, cure = found(checkout)["origin"]
    assert "127.0.0.1" in words
    assert "secret" not in words
    assert cure


def test_a_folder_outside_any_repository_is_no_part_of_a_pipeline(tmp_path: Path) -> None:
    assert project_findings(tmp_path, {**HOME, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}) == []


@pytest.mark.parametrize(
    ("said", "words", "cure"),
    [
        ({"PLATFORM_URL": "{server}"}, "PLATFORM_REF HEAD is ", ""),
        ({"PLATFORM_URL": "{server}", "PLATFORM_REF": "refs/tags/v1"}, "has no refs/tags/v1", "HEAD, refs/heads/<branch>"),
        ({"PLATFORM_URL": "{server}/none"}, "PLATFORM_URL cannot be read: ", "Job token permissions"),
        ({"PLATFORM_URL": "../models.git"}, "is the relative path ../models.git", "write it from the root"),
    ],
)
def test_a_platform_that_cannot_be_fetched_is_told_with_its_cure(
    said: dict[str, str], words: str, cure: str, checkout: Path
) -> None:
    server = str(checkout.parent / "models.git")
    seen, do = found(checkout, **{name: text.format(server=server) for name, text in said.items()})["platform"]
    assert words in seen
    assert cure in do
    assert bool(cure) == bool(do)


@pytest.mark.parametrize(("repository", "off"), [("/cats", True), ("$CI_REGISTRY_IMAGE/cats", True), ("registry/cats", False)])
def test_a_project_without_a_registry_is_told_in_its_job(repository: str, off: bool, checkout: Path) -> None:
    assert ("images" in found(checkout, REPOSITORY=repository)) is off


def test_a_region_without_jobs_is_told_with_the_command_that_makes_them(tmp_path: Path) -> None:
    regions, file = load(GOLDEN / "regions.yaml"), tmp_path / "regions.yml"
    file.write_text(pipeline(regions))
    assert pipeline_findings(regions, file) == []
    file.write_text(pipeline(regions).replace("-na:", "-jp:"))
    assert [each.cure for each in pipeline_findings(regions, file)] == ["make pipeline, and commit both files"]


def test_the_doctor_tells_of_the_project_before_the_clusters(checkout: Path) -> None:
    command = [sys.executable, "-m", "monopod", "doctor", "--service", str(checkout), "--json"]
    environ = {**HOME, "PYTHONPATH": PYTHONPATH, "KUBECONFIG": "/nonexistent"}
    done = subprocess.run(
        [*command, "--regions", str(GOLDEN / "regions.yaml"), "--region", "hk"], env=environ, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert json.loads(done.stdout)[0]["subject"] == "default branch"


def test_a_registry_that_answers_passes_whether_or_not_it_asks_for_a_password() -> None:
    with running_registry() as hub:
        ours = replace(regions(), registry=f"{hub.host}/models")
        for hub.status in (200, 401, 403):
            found = registry_finding(ours, "", {})
            assert (found.words, found.cure) == (f"{hub.host} answers; --image asks it for an image", "")
        hub.status = 404
        assert registry_finding(ours, "", {}).cure.endswith("names a registry")
    found = registry_finding(ours, "", {})
    assert "Connection refused" in found.words
    assert found.cure.startswith("check registry in regions.yaml")


def test_an_image_is_asked_for_as_a_deploy_does_and_told_with_its_digest_or_the_cure() -> None:
    account = {"REGISTRY_PULL_USER": "ann", "REGISTRY_PULL_PASSWORD": "hidden"}
    with running_registry() as hub:
        digest = hub.push("like/demo", "1", "first")
        name = f"{hub.host}/like/demo:1"
        found = registry_finding(regions(), name, {})
        assert (found.words, found.cure) == (f"registry {hub.host} has {name}: {digest}", "")
        assert "was it pushed" in registry_finding(regions(), f"{name}2", {}).cure
        assert "it was deleted there" in registry_finding(regions(), f"{name}@sha256:{'0' * 64}", {}).cure
        hub.user, hub.password = "ann", "hidden"
        assert "set REGISTRY_PULL_USER" in registry_finding(regions(), name, {}).cure
        assert registry_finding(regions(), name, account).cure == ""
