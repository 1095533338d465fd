"""The rules that .gitlab-ci.yml and ci/regions.yml must keep, and the check of a branch's platform files."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.same_platform import Entry, faults, is_services, owners, refusal
from ci.update import NEWER
from conf.clusters.regions import load
from conf.render.gitlab_jobs import pipeline
from tests.running import ROOT

REGIONS = list(yaml.safe_load((ROOT / "conf/regions.yaml").read_text())["regions"])
PATHS = owners((ROOT / "conf/PATHS").read_text())
WORDS = ("include", "stages", "workflow", "variables", "default")


def joined(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Merge two mappings as GitLab does for include and extends: mappings are joined, lists are replaced."""
    both = {key: joined(lower[key], upper[key]) for key in lower.keys() & upper.keys() if isinstance(lower[key], dict)}
    return {**lower, **upper, **both}


SAID = joined(*(yaml.safe_load((ROOT / name).read_text()) for name in ("ci/regions.yml", ".gitlab-ci.yml")))


def job(name: str) -> dict[str, Any]:
    """Return a job with what it extends."""
    own = SAID[name]
    above = own.get("extends", [])
    made: dict[str, Any] = {}
    for each in [above] if isinstance(above, str) else above:
        made = joined(made, job(each))
    return joined(made, own)


JOBS = {name: job(name) for name in SAID if name not in WORDS and not name.startswith(".")}
IMAGES = ("build", "build_own", "push_own")
UPDATE = "update_check"
ON_CLUSTERS = {name: each for name, each in JOBS.items() if name not in ("lint", "test", UPDATE, *IMAGES)}
DEPLOYS = {name: each for name, each in ON_CLUSTERS.items() if "on_stop" in each["environment"]}
WITHOUT_CHECKOUT = sorted(ON_CLUSTERS.keys() - DEPLOYS.keys())  # every worker of a test run must collect the same order
TRUSTED = {**{name: JOBS[name] for name in (*IMAGES, UPDATE)}, **ON_CLUSTERS}
TIERS = {"grey": "testing", "ab": "staging"}
FETCHES = [
    'git -C $platform fetch --quiet --depth 1 "$CI_REPOSITORY_URL" "$CI_COMMIT_SHA"',
    'git -C $platform fetch --quiet --depth 1 "$PLATFORM_URL" "$PLATFORM_REF"',
]


def test_the_stages_are_in_the_order_of_a_release() -> None:
    regions = [f"deploy-{region}" for region in REGIONS]
    assert SAID["stages"] == ["lint", "test", "build", "grey", "stop_grey", "ab_test", "stop_ab", *regions]


def test_the_regions_jobs_are_those_of_regions_yaml() -> None:
    made = (ROOT / "ci/regions.yml").read_text()
    assert made == pipeline(load(ROOT / "conf/regions.yaml")), "conf/regions.yaml was changed since; run: make pipeline"


def test_a_region_that_yaml_would_read_as_a_flag_is_a_text_in_its_jobs() -> None:
    regions = load(ROOT / "conf/regions.yaml")
    norway = replace(regions, regions={"no": replace(regions.regions[REGIONS[0]], name="no")})
    assert yaml.safe_load(pipeline(norway))[".region-no"]["variables"] == {"TRACK": "prod", "REGION": "no"}


def test_the_regions_jobs_come_by_an_include_of_the_platforms_own_file() -> None:
    assert yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["include"] == {"local": "ci/regions.yml"}


def test_every_region_can_be_deployed_to_rolled_back_restarted_and_stopped() -> None:
    for region in REGIONS:
        for name in (f"deploy-{region}", f"rollback-{region}", f"restart-{region}", f"stop-{region}"):
            assert JOBS[name]["variables"].items() >= {"TRACK": "prod", "REGION": region}.items()
            assert JOBS[name]["environment"]["name"] == f"{region}/$CI_COMMIT_REF_SLUG"


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_a_job_on_a_cluster_is_pressed_by_a_person_and_never_on_the_default_branch_or_by_a_schedule(name: str) -> None:
    never, by_hand = ON_CLUSTERS[name]["rules"]
    default = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
    assert never == {"if": f'{default} || $CI_PIPELINE_SOURCE == "schedule"', "when": "never"}
    assert by_hand["when"] == "manual"


@pytest.mark.parametrize("name", IMAGES)
def test_a_schedule_builds_nothing(name: str) -> None:
    assert '$CI_PIPELINE_SOURCE == "schedule"' in JOBS[name]["rules"][0]["if"]


def test_a_schedule_of_a_services_branch_asks_for_a_newer_release_and_is_orange_where_there_is_one() -> None:
    never, by_schedule = JOBS[UPDATE]["rules"]
    assert never == {"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", "when": "never"}
    assert by_schedule["if"] == '$CI_PIPELINE_SOURCE == "schedule"'
    assert by_schedule["changes"]["paths"] == ["value.py"]
    assert JOBS[UPDATE]["allow_failure"] == {"exit_codes": [NEWER]}


def test_gitlab_stops_a_forgotten_grey_after_the_time_that_a_project_sets_once() -> None:
    assert JOBS["grey"]["environment"]["auto_stop_in"] == "$GREY_AUTO_STOP_IN"
    assert SAID["variables"]["GREY_AUTO_STOP_IN"] == "never"
    assert [name for name, each in JOBS.items() if "auto_stop_in" in each.get("environment", {})] == ["grey"]


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_a_job_on_a_cluster_runs_alone_in_its_environment(name: str) -> None:
    assert ON_CLUSTERS[name]["resource_group"] == ON_CLUSTERS[name]["environment"]["name"]
    assert ON_CLUSTERS[name]["interruptible"] is False


@pytest.mark.parametrize("name", TRUSTED)
def test_a_job_with_secrets_runs_the_platforms_scripts_alone(name: str) -> None:
    assert TRUSTED[name]["cache"] == []
    fetches = [line.partition(" || ")[0] for line in TRUSTED[name]["before_script"] if " fetch " in line]
    assert fetches == FETCHES
    takes_value = (
        'mkdir $platform/service && cd $platform/service && git -C $platform archive "$CI_COMMIT_SHA" value.py | tar -x'
    )
    others = [takes_value] if name in WITHOUT_CHECKOUT else [] if name in ("push_own", UPDATE) else ["cd $platform/service"]
    assert [line for line in TRUSTED[name]["script"] if not line.startswith("$platform/ci/")] == others


@pytest.mark.parametrize("name", TRUSTED)
def test_a_job_with_secrets_reads_no_git_config_that_another_job_may_have_written(name: str) -> None:
    hidden = next(i for i, line in enumerate(TRUSTED[name]["before_script"]) if "GIT_CONFIG_GLOBAL=/dev/null" in line)
    first = next(i for i, line in enumerate(TRUSTED[name]["before_script"]) if line.startswith("git "))
    assert "GIT_CONFIG_NOSYSTEM=1" in TRUSTED[name]["before_script"][hidden]
    assert hidden < first
    assert TRUSTED[name]["variables"]["GIT_STRATEGY"] == ("none" if name in WITHOUT_CHECKOUT else "clone")


@pytest.mark.parametrize("name", ["build", "build_own", *DEPLOYS])
def test_the_platforms_files_are_compared_before_anything_is_built_or_deployed(name: str) -> None:
    assert TRUSTED[name]["script"][:2] == [
        '$platform/ci/same-platform "$CI_COMMIT_SHA" $platform/service',
        "cd $platform/service",
    ]


@pytest.mark.parametrize("name", DEPLOYS)
def test_no_file_that_a_branchs_code_made_reaches_a_deploy(name: str) -> None:
    build, push_own = DEPLOYS[name]["needs"]
    assert build == {"job": "build", "artifacts": False}
    assert push_own == {"job": "push_own", "artifacts": False, "optional": True}


def test_no_file_that_a_branchs_code_made_reaches_the_build_or_runs_in_the_job_that_pushes() -> None:
    assert JOBS["build"]["dependencies"] == []
    assert JOBS["build_own"]["needs"] == [{"job": "build", "artifacts": False}]
    assert JOBS["push_own"]["needs"] == [{"job": "build_own", "artifacts": True}]
    assert JOBS["push_own"]["script"] == ['$platform/ci/push-own "$IMAGE" built']


def test_stages_of_a_services_own_have_jobs_where_the_branch_holds_its_file() -> None:
    for name in ("build_own", "push_own"):
        assert JOBS[name]["rules"] == [
            JOBS["build"]["rules"][0],
            JOBS["build"]["rules"][1] | {"exists": ["service.Dockerfile"]},
        ]


@pytest.mark.parametrize("name", WITHOUT_CHECKOUT)
def test_a_stop_and_a_rollback_wait_for_no_build(name: str) -> None:
    assert ON_CLUSTERS[name]["needs"] == []


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_an_environment_has_the_tier_by_which_a_group_protects_it(name: str) -> None:
    environment = ON_CLUSTERS[name]["environment"]
    assert environment["deployment_tier"] == TIERS.get(environment["name"].split("/")[0], "production")


@pytest.mark.parametrize("verb", ["rollback", "restart"])
def test_a_rollback_and_a_restart_are_no_deployments_of_their_pipelines_commit(verb: str) -> None:
    assert [JOBS[f"{verb}-{region}"]["environment"]["action"] for region in REGIONS] == ["prepare"] * len(REGIONS)


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({}, 1, "value.py: cannot be read"),
        ({"MONOPOD_OVERRIDE": ""}, 1, "value.py: cannot be read"),
        ({"MONOPOD_OVERRIDE": "the orders of today fail; $(touch caught) 'x' --yes"}, 1, "value.py: cannot be read"),
        ({"MONOPOD_OVERRIDE": " "}, 2, "argument --override: ' ' is not a reason"),
    ],
)
def test_a_reason_to_deploy_at_any_hour_reaches_the_command_as_one_word_or_not_at_all(
    said: dict[str, str], status: int, told: str, tmp_path: Path
) -> None:
    line = JOBS[f"deploy-{REGIONS[0]}"]["script"][-1]
    own = {"platform": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment = {**own, "TRACK": "prod", "REGION": REGIONS[0], "IMAGE": "registry.example.com/like/cats:1", **said}
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", DEPLOYS)
def test_each_environment_has_a_job_that_stops_it(name: str) -> None:
    stop = JOBS[DEPLOYS[name]["environment"]["on_stop"]]
    assert stop["environment"]["name"] == DEPLOYS[name]["environment"]["name"]
    assert stop["environment"]["action"] == "stop"
    assert stop["rules"] == DEPLOYS[name]["rules"]


@pytest.mark.parametrize("name", ["lint", *DEPLOYS])
def test_rendered_objects_are_kept_for_a_month(name: str) -> None:
    kept = JOBS[name]["artifacts"]
    assert "rendered" in kept["paths"]
    assert kept["expire_in"] == "1 month"


@pytest.mark.parametrize("region", REGIONS)
def test_a_canary_can_be_begun_and_continued_and_its_verdicts_are_kept_however_it_ends(region: str) -> None:
    canary, goes_on = JOBS[f"canary-{region}"], JOBS[f"continue-{region}"]
    assert "deploy --canary --track prod" in canary["script"][-1]
    assert "deploy --continue --region" in goes_on["script"][-1]
    for job in (canary, goes_on):
        assert job["artifacts"]["when"] == "always"
        assert "verdict.html" in job["artifacts"]["paths"]
        assert job["environment"]["name"] == f"{region}/$CI_COMMIT_REF_SLUG"


def test_jobs_of_a_branchs_own_code_have_no_environment_whose_secrets_they_would_see() -> None:
    assert "environment" not in JOBS["lint"] | JOBS["test"]
    for name, scope in (("build", "registry"), ("build_own", "pull"), ("push_own", "registry")):
        assert JOBS[name]["environment"] == {"name": scope, "action": "access"}


@pytest.mark.parametrize(
    ("name", "variable", "service", "whole"),
    [("lint", "LINT", "ci/lint", "make check"), ("test", "TEST", "ci/test", "make test")],
)
def test_a_branch_with_its_own_value_py_is_judged_as_a_service_and_every_other_as_the_platform(
    name: str, variable: str, service: str, whole: str
) -> None:
    on_default, of_service, other = JOBS[name]["rules"]
    assert on_default["if"] == "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
    assert of_service["changes"] == {"compare_to": "refs/heads/$CI_DEFAULT_BRANCH", "paths": ["value.py"]}
    assert [rule["variables"][variable] for rule in (on_default, of_service, other)] == [whole, service, whole]
    assert (set(other), other["when"]) == ({"variables", "when"}, "on_success")


def test_the_platform_is_what_its_repository_has_on_the_default_branch() -> None:
    assert SAID["variables"]["PLATFORM_REF"] == "HEAD"


def test_a_merge_request_makes_no_second_pipeline() -> None:
    assert SAID["workflow"]["rules"][0] == {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"}


FILE, CHANGED = Entry("100644", "1"), Entry("100644", "2")


def words(branch: dict[str, Entry], platform: dict[str, Entry], before: dict[str, str] = PATHS) -> str:
    return refusal(faults(branch, platform, PATHS, before), PATHS, "1a2b3c4d", "main")


@pytest.mark.parametrize(
    "path",
    [
        *("value.py", "alerts.yaml", "panels.yaml", "model/cats.onnx", "src/server.py", "src/cats/eyes.py"),
        *("README.md", "CHANGELOG.md", "docs/service/how.md", "docs/service/图/a.png", "tests/service/test_more.py"),
    ],
)
def test_a_service_may_add_change_and_delete_what_is_its_own(path: str) -> None:
    assert is_services(path, PATHS)
    for branch, platform in (({path: FILE}, {}), ({path: FILE}, {path: CHANGED}), ({}, {path: FILE})):
        assert words(branch, platform) == ""


@pytest.mark.parametrize(
    "path",
    [
        *("src/serving/core/stages.py", "conf/plan/plan.py", "Makefile", "ci/monopod", "docs/service.md", "tests/running.py"),
        *("docs/service", "tests/service", "src", "model", ".gitlab-ci.yml", ".gitattributes"),
    ],
)
def test_any_other_file_that_is_changed_deleted_or_made_executable_is_a_refusal_that_names_it(path: str) -> None:
    for branch in ({path: CHANGED}, {}, {path: FILE._replace(mode="100755")}):
        told = words({"value.py": FILE, **branch}, {path: FILE})
        assert "(1a2b3c4d) in 1 of the files" in told
        assert f"\n    {path}\n" in told
        assert (
            "value.py, alerts.yaml, pod.yaml, panels.yaml, model/, src/, README.md, CHANGELOG.md, docs/service/, "
            "tests/service/, service.Dockerfile, allowed_signers (conf/PATHS)" in told
        )


def test_a_long_list_of_changed_files_is_cut_after_those_with_a_cure_of_their_own() -> None:
    added = {f"docs/{i}.md": FILE for i in range(50)} | {"src/serving/own.py": FILE}
    told = words(added, {})
    assert "in 51 of the files" in told
    assert "    and 31 more\n" in told
    assert told.splitlines()[1].startswith("    src/serving/own.py: src/serving/ is the platform's; move it, for instance to ")


def test_the_refusal_says_the_cure_in_its_order() -> None:
    told = words({"Makefile": CHANGED}, {"Makefile": FILE})
    steps = ["bring main of the project to", "merge main into this branch", "and push it"]
    assert sorted(steps, key=told.index) == steps


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("", "cpu"),
        ("gpu_memory = 4\n", "gpu"),
        ("hk_gpu_memory = 4\n", "gpu"),
        ("gpu_memory = 0\neu_gpu_memory = 0\n", "cpu"),
        ("gpu_num = 1\n", "gpu"),
    ],
)
def test_the_image_is_for_gpus_where_any_region_asks_for_one(lines: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(f'service_name = "cats"\nusername = "like"\n{lines}')
    done = _target(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{wanted}\n"), done.stderr


def test_a_value_py_that_cannot_be_read_ends_the_build_in_words(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text('service_name = "cats"\nusername = print("caught")\n')
    done = _target(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "value.py:2: " in done.stderr


def _target(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-P", str(ROOT / "ci/target.py"), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_scripts_of_the_pipeline_can_be_run() -> None:
    scripts = [path for path in (ROOT / "ci").iterdir() if path.is_file() and path.suffix == "" and path.name != "Dockerfile"]
    assert len(scripts) == 12
    for path in scripts:
        assert path.stat().st_mode & 0o100, path
        assert path.read_text().startswith("#!"), path
