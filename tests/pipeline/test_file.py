"""What .gitlab-ci.yml promises, read off the file; and the check that a branch has the platform's files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.same_platform import is_services, owners, refusal
from tests.running import ROOT

REGIONS = list(yaml.safe_load((ROOT / "conf/regions.yaml").read_text())["regions"])
PATHS = owners((ROOT / "conf/PATHS").read_text())
SAID: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
WORDS = ("stages", "workflow", "variables", "default")


def job(name: str) -> dict[str, Any]:
    """Return a job with what it extends."""
    own = SAID[name]
    return {**(job(own["extends"]) if "extends" in own else {}), **own}


JOBS = {name: job(name) for name in SAID if name not in WORDS and not name.startswith(".")}
ON_CLUSTERS = {name: each for name, each in JOBS.items() if name not in ("lint", "test", "build")}
DEPLOYS = {name: each for name, each in ON_CLUSTERS.items() if "on_stop" in each["environment"] and "rollback" not in name}


def test_the_stages_are_in_the_order_of_a_release() -> None:
    regions = [f"deploy-{region}" for region in REGIONS]
    assert SAID["stages"] == ["lint", "test", "build", "grey", "stop_grey", "ab_test", "stop_ab", *regions]


def test_every_region_can_be_deployed_to_rolled_back_and_stopped() -> None:
    for region in REGIONS:
        for name in (f"deploy-{region}", f"rollback-{region}", f"stop-{region}"):
            assert JOBS[name]["variables"] == {"TRACK": "prod", "REGION": region}
            assert JOBS[name]["environment"]["name"] == f"{region}/$CI_COMMIT_REF_SLUG"


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_a_job_on_a_cluster_is_pressed_by_a_person_and_never_on_master(name: str) -> None:
    never, by_hand = ON_CLUSTERS[name]["rules"]
    assert never == {"if": SAID[".when"]["is_master"], "when": "never"}
    assert by_hand["when"] == "manual"
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in never["if"]


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_a_job_on_a_cluster_runs_alone_in_its_environment(name: str) -> None:
    assert ON_CLUSTERS[name]["resource_group"] == ON_CLUSTERS[name]["environment"]["name"]
    assert ON_CLUSTERS[name]["interruptible"] is False


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_nothing_that_a_branchs_code_made_reaches_a_job_on_a_cluster(name: str) -> None:
    assert ON_CLUSTERS[name]["needs"] == [{"job": "build", "artifacts": False}]
    assert ON_CLUSTERS[name]["cache"] == []
    own = [line for line in ON_CLUSTERS[name]["script"] if not line.startswith("$platform/ci/")]
    assert own == []


@pytest.mark.parametrize("name", DEPLOYS)
def test_a_deploy_asks_first_whether_the_platforms_files_are_unchanged(name: str) -> None:
    assert DEPLOYS[name]["script"][0] == "$platform/ci/same-platform FETCH_HEAD"


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({}, 1, "value.py: cannot be read"),
        ({"MONOPOD_OVERRIDE": ""}, 1, "value.py: cannot be read"),
        ({"MONOPOD_OVERRIDE": "the orders of today fail; $(touch caught) 'x' --yes"}, 1, "value.py: cannot be read"),
        ({"MONOPOD_OVERRIDE": " "}, 2, "argument --override: ' ' is no reason"),
    ],
)
def test_a_reason_to_deploy_at_any_hour_reaches_the_command_as_one_word_or_not_at_all(
    said: dict[str, str], status: int, told: str, tmp_path: Path
) -> None:
    line = JOBS["deploy-hk"]["script"][-1]
    own = {"platform": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment = {**own, "TRACK": "prod", "REGION": "hk", "IMAGE": "registry.example.com/like/cats:1", **said}
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", DEPLOYS)
def test_each_environment_has_a_job_that_stops_it(name: str) -> None:
    stop = JOBS[DEPLOYS[name]["environment"]["on_stop"]]
    assert stop["environment"] == {"name": DEPLOYS[name]["environment"]["name"], "action": "stop"}
    assert stop["rules"] == DEPLOYS[name]["rules"]


@pytest.mark.parametrize("name", ["lint", *DEPLOYS])
def test_rendered_objects_are_kept_for_a_month(name: str) -> None:
    assert JOBS[name]["artifacts"] == {"paths": ["rendered"], "expire_in": "1 month"}


def test_jobs_of_a_branchs_own_code_have_no_environment_whose_secrets_they_would_see() -> None:
    assert "environment" not in JOBS["lint"] | JOBS["test"]
    assert JOBS["build"]["environment"] == {"name": "registry", "action": "access"}


def test_the_file_and_conf_paths_name_the_same_files_of_the_platform() -> None:
    platform = {f"{path}**/*" if path.endswith("/") else path for path, owner in PATHS.items() if owner == "P"}
    assert set(SAID[".when"]["platform"]["paths"]) == platform


def test_a_merge_request_makes_no_second_pipeline() -> None:
    assert SAID["workflow"]["rules"][0] == {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"}


@pytest.mark.parametrize("path", ["value.py", "alerts.yaml", "model/cats.onnx", "src/server.py", "src/cats/eyes.py"])
def test_a_service_may_change_what_is_its_own(path: str) -> None:
    assert is_services(path, PATHS)
    assert refusal([path], PATHS, "1a2b3c4d") == ""


@pytest.mark.parametrize(
    "path", ["src/serving/core.py", "conf/plan.py", "Makefile", "ci/monopod", "sitecustomize.py", "src2/a.py"]
)
def test_any_other_file_is_a_refusal_that_names_it(path: str) -> None:
    words = refusal(["value.py", path], PATHS, "1a2b3c4d")
    assert "differs from the platform (1a2b3c4d) in 1 of the files" in words
    assert f"\n    {path}\n" in words
    assert "value.py, alerts.yaml, model/, src/ (conf/PATHS)" in words


def test_a_long_list_of_changed_files_is_cut() -> None:
    words = refusal([f"docs/{i}.md" for i in range(50)], PATHS, "1a2b3c4d")
    assert "in 50 of the files" in words
    assert "    and 30 more\n" in words


def test_the_scripts_of_the_pipeline_can_be_run() -> None:
    scripts = [path for path in (ROOT / "ci").iterdir() if path.suffix == "" and path.name != "Dockerfile"]
    assert len(scripts) == 7
    for path in scripts:
        assert path.stat().st_mode & 0o100, path
        assert path.read_text().startswith("#!"), path
