"""The pipeline refuses to deploy the default branch, or a branch without the platform's version. No cluster is used."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from string import Template

import pytest
import yaml

from tests.conf.commands.test_deploy_command import LATER
from tests.conf.golden import GOLDEN
from tests.pipeline.forks import DEFAULT, Pipelines, commit, fork, git, platform, without_checkout
from tests.running import ROOT

pytestmark = pytest.mark.cluster

REGIONS = (GOLDEN / "regions.yaml").read_text()
SECRETS = {"KUBECONFIG": {"*/*": "apiVersion: v1\nkind: Config\n"}}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return platform(tmp_path_factory.mktemp("upstream") / "platform", REGIONS)


@pytest.fixture
def checkout(upstream: Path, tmp_path: Path) -> Path:
    made = fork(upstream, tmp_path / "models")
    git(made, "checkout", "--quiet", "-b", "cats")
    push(made, {"value.py": (made / "value.py").read_text().replace('"demo"', '"cats"')}, "Cats")
    return made


def push(checkout: Path, files: Mapping[str, str | bytes | None], message: str) -> None:
    commit(checkout, files, message)
    git(checkout, "push", "--quiet", "origin", "HEAD")


@pytest.fixture
def pipelines(tmp_path: Path) -> Pipelines:
    return Pipelines(tmp_path, SECRETS, {})


def test_the_default_branch_is_linted_and_tested_and_nothing_else(checkout: Path, pipelines: Pipelines) -> None:
    git(checkout, "checkout", "--quiet", DEFAULT)
    assert set(pipelines.jobs(checkout)) == {"lint", "test"}


def test_a_branch_of_a_service_has_every_job_and_only_three_run_by_themselves(checkout: Path, pipelines: Pipelines) -> None:
    jobs = pipelines.jobs(checkout)
    assert {name for name, when in jobs.items() if when != "manual"} == {"lint", "test", "build"}
    assert {"grey", "stop_grey", "ab_test", "stop_ab", "deploy-hk", "deploy-eu", "deploy-na", "rollback-hk"} < set(jobs)


def test_a_fourth_region_is_an_entry_in_regions_yaml_and_make_pipeline(tmp_path: Path, pipelines: Pipelines) -> None:
    fourth = REGIONS + REGIONS[REGIONS.index("  na:\n") :].replace("  na:\n", "\n  jp:\n").replace("context: na", "context: jp")
    checkout = fork(platform(tmp_path / "platform", fourth), tmp_path / "models")
    git(checkout, "checkout", "--quiet", "-b", "cats")
    push(checkout, {"value.py": (checkout / "value.py").read_text().replace('"demo"', '"cats"')}, "Cats")
    jobs = pipelines.jobs(checkout)
    assert {name: when for name, when in jobs.items() if name.endswith("-jp")} == dict.fromkeys(
        ("deploy-jp", "canary-jp", "continue-jp", "rollback-jp", "restart-jp", "stop-jp"), "manual"
    )
    ran = pipelines.run(without_checkout(checkout), "rollback-jp")
    assert "context 'jp' cannot be used" in ran.output


def test_a_branch_of_the_platform_alone_is_neither_built_nor_deployed(checkout: Path, pipelines: Pipelines) -> None:
    git(checkout, "checkout", "--quiet", "-b", "better", DEFAULT)
    commit(checkout, {"docs/more.md": "More.\n"}, "More")
    assert set(pipelines.jobs(checkout)) == {"lint", "test"}


@pytest.mark.parametrize("job", ["build", "grey", "ab_test", "deploy-hk"])
def test_a_changed_file_of_the_platform_is_refused_in_words(checkout: Path, pipelines: Pipelines, job: str) -> None:
    push(checkout, {"conf/plan/plan.py": "import os\n"}, "Our own plan")
    ran = pipelines.run(checkout, job)
    assert ran.code != 0
    assert "this branch differs from the platform" in ran.output
    assert "conf/plan/plan.py" in ran.output
    assert f"merge {DEFAULT} into this branch" in ran.output
    assert "monopod deploy" not in ran.output
    assert "ci/build" not in ran.output


@pytest.mark.parametrize("job", ["build", "deploy-eu"])
def test_the_refusal_itself_is_the_platforms_and_not_the_branchs(checkout: Path, pipelines: Pipelines, job: str) -> None:
    push(checkout, {"ci/same-platform": "#!/bin/sh\n", "conf/PATHS": "U /\n"}, "A check that never refuses")
    ran = pipelines.run(checkout, job)
    assert ran.code != 0
    assert "ci/same-platform" in ran.output
    assert "in 2 of the files" in ran.output


def test_a_git_config_that_another_job_left_does_not_lead_to_another_platform(
    checkout: Path, upstream: Path, tmp_path: Path
) -> None:
    ours = fork(upstream, tmp_path / "ours")
    push(ours, {"ci/plain-files": "#!/bin/sh\necho caught\n"}, "Our own platform")
    runner = Pipelines(tmp_path / "runner", SECRETS, {})
    servers = [git(each, "remote", "get-url", "origin") for each in (checkout, ours)]
    (tmp_path / "runner/home/.gitconfig").write_text(f'[url "{servers[1]}"]\n    insteadOf = {servers[0]}\n')
    ran = runner.run(checkout, "deploy-hk")
    assert "the platform's files are those of" in ran.output
    assert "caught" not in ran.output


def test_a_rollback_takes_value_py_without_a_checkout_and_leaves_nothing_behind(checkout: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ran = Pipelines(tmp_path / "runner", SECRETS, {"TMPDIR": str(scratch)}).run(without_checkout(checkout), "rollback-hk")
    assert "context 'hk' cannot be used" in ran.output
    assert ran.code == 11
    assert list(scratch.iterdir()) == []


def test_a_job_that_sees_no_kubeconfig_says_which_scope_the_variable_needs(checkout: Path, tmp_path: Path) -> None:
    ran = Pipelines(tmp_path / "runner", {"KUBECONFIG": {"eu/*": "{}"}}, {}).run(without_checkout(checkout), "rollback-hk")
    assert ran.code == 11, ran.output
    assert "whose environment scope is hk/*" in ran.output
    assert "cats is not protected" in ran.output


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"PLATFORM_REF": "refs/heads/none"}, "PLATFORM_REF (refs/heads/none) cannot be"),
        ({"PLATFORM_URL": "../platform"}, "a local path must be absolute"),
        ({"CI_REPOSITORY_URL": "../models.git"}, "cannot be fetched from CI_REPOSITORY_URL"),
    ],
)
def test_a_repository_that_cannot_be_fetched_is_told_by_the_variable_that_names_it(
    said: dict[str, str], words: str, checkout: Path, tmp_path: Path
) -> None:
    ran = Pipelines(tmp_path / "runner", SECRETS, said).run(checkout, "deploy-hk")
    assert ran.code == 1, ran.output
    assert words in ran.output


@pytest.mark.parametrize("job", ["lint", "build"])
def test_a_project_without_a_registry_is_told_so_before_anything_is_installed_or_built(
    job: str, checkout: Path, tmp_path: Path
) -> None:
    ran = Pipelines(tmp_path / "runner", SECRETS, {"CI_REGISTRY_IMAGE": ""}).run(checkout, job)
    assert ran.code == 1, ran.output
    assert "the project's container registry is off" in ran.output
    assert "or set REPOSITORY" in ran.output


def test_the_ref_that_a_branch_is_compared_to_is_there_whatever_the_default_branch_is_called(checkout: Path) -> None:
    rules = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["build"]["rules"]
    expanded = Template(rules[1]["changes"]["compare_to"]).substitute(CI_DEFAULT_BRANCH=DEFAULT)
    assert git(checkout, "ls-remote", "origin", expanded).endswith(f"refs/heads/{DEFAULT}")


def test_a_branch_behind_the_platform_is_refused_until_it_merges(checkout: Path, upstream: Path, pipelines: Pipelines) -> None:
    newer = fork(upstream, checkout.parent / "newer")
    push(newer, {"docs/new.md": "New.\n"}, "The platform goes on")
    git(checkout, "fetch", "--quiet", str(newer), DEFAULT)
    git(checkout, "push", "--quiet", "origin", f"FETCH_HEAD:refs/heads/{DEFAULT}")
    assert "docs/new.md" in pipelines.run(checkout, "deploy-na").output
    git(checkout, "merge", "--quiet", "--no-edit", "FETCH_HEAD")
    git(checkout, "push", "--quiet", "origin", "HEAD")
    assert "the platform's files are those of" in pipelines.run(checkout, "deploy-na").output


def test_files_of_a_service_that_are_links_to_a_secret_are_refused(checkout: Path, pipelines: Pipelines) -> None:
    files = ("alerts.yaml", "panels.yaml", "pod.yaml")
    for file in files:
        (checkout / file).unlink(missing_ok=True)
        (checkout / file).symlink_to("/proc/self/environ")
    push(checkout, {}, "Links")
    for job in ("build", "grey", "rollback-hk", "stop_ab"):
        ran = pipelines.run(checkout, job)
        assert ran.code != 0
        assert "a link, where a deploy reads" in ran.output
        assert [file for file in files if file not in ran.output] == []
        assert "PATH=" not in ran.output


def test_code_of_the_branch_beside_value_py_is_not_run_by_a_deploy(checkout: Path, pipelines: Pipelines) -> None:
    trap = f'open("{checkout.parent}/caught", "w")\n'
    push(checkout, {"src/yaml.py": trap, "src/jinja2.py": trap, "value.py": f"{trap}service_name = 'cats'\n"}, "Traps")
    ran = pipelines.run(checkout, "deploy-hk")
    assert ran.code != 0
    assert "value.py:1: " in ran.output
    assert not (checkout.parent / "caught").exists()


def test_a_region_outside_its_windows_is_refused_until_a_variable_says_why(tmp_path: Path) -> None:
    closed = REGIONS.replace("    context: hk\n", f'    windows: ["{LATER}"]\n    context: hk\n')
    checkout = fork(platform(tmp_path / "platform", closed), tmp_path / "models")
    git(checkout, "checkout", "--quiet", "-b", "cats")
    push(checkout, {"value.py": (checkout / "value.py").read_text().replace('"demo"', '"cats"')}, "Cats")
    ran = Pipelines(tmp_path / "without", SECRETS, {}).run(checkout, "deploy-hk")
    assert (ran.code, "hk, prod: not begun: outside its release" in ran.output) == (31, True), ran.output
    why = "the orders of today fail"
    said = {
        "MONOPOD_OVERRIDE": why,
        "IMAGE": f"registry.example.com/like/cats@sha256:{64 * '0'}",
    }  # an image by digest, so that no registry is asked
    ran = Pipelines(tmp_path / "with", SECRETS, said).run(checkout, "deploy-hk")
    assert f"release windows, let through: {why}" in ran.output
    assert "context 'hk' cannot be used" in ran.output
    assert ran.code == 11


def build_line(path: str, **said: str) -> list[str]:
    """Return the words of the builder's command line for the root's service. Nothing is built."""
    hidden = ("REGISTRY_USER", "CACHE", "REGISTRY_INSECURE", "BASE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {**said, "MAKEFLAGS": "--dry-run", "PATH": f"{Path(sys.executable).parent}:{path}"}
    command = ["ci/build", "localhost/none/never-built:1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return shlex.split(done.stdout.replace("\\\n", " ").splitlines()[0].rpartition("&& ")[2])


def test_a_secret_of_pip_packages_to_build_with_and_the_base_reach_the_builder(
    tmp_path: Path, needs: Callable[[str, str], str]
) -> None:
    needs("buildah", "buildah")
    (tmp_path / "pip.conf").write_text("[global]\n")
    said = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "BUILD_PACKAGES": "g++ python3-dev"}
    line = build_line(os.environ["PATH"], **said, BASE="registry.example.com/debian:1", http_proxy="http://proxy:3128")
    assert line[:2] == ["buildah", "bud"]
    assert "TARGET=cpu" in line
    assert line[line.index("--secret") + 1] == f"id=pip,src={tmp_path}/pip.conf"
    assert "BUILD_PACKAGES=g++ python3-dev" in line
    assert "BASE=registry.example.com/debian:1" in line
    assert "http_proxy" not in line  # buildah hands it on without an option


def test_docker_is_told_to_hand_on_the_proxies_that_buildah_hands_on_unasked(tmp_path: Path) -> None:
    for name in ("bash", "cat", "dirname", "git", "make", "mktemp", "rm", "sed", "sh", "true"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "docker").symlink_to(str(shutil.which("true")))  # a builder of that name, which builds nothing
    line = build_line(str(tmp_path), http_proxy="http://proxy:3128", no_proxy="registry.example.com")
    assert line[:2] == ["docker", "build"]
    handed = [word for before, word in pairwise(line) if before == "--build-arg"]
    assert {"http_proxy", "no_proxy"} < set(handed)
    assert "https_proxy" not in handed


def test_the_job_that_may_push_builds_the_platforms_image_alone_and_leaves_a_services_own_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text('service_name = "cats"\nusername = "like"\n')
    (tmp_path / "service.Dockerfile").write_text("ARG PLATFORM_IMAGE\nFROM ${PLATFORM_IMAGE}\nRUN env\n")
    (tmp_path / "buildah").write_text('#!/bin/sh\necho "buildah $*"\n')
    (tmp_path / "buildah").chmod(0o755)
    for name in (".dockerignore", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "REGISTRY_USER": "", "CACHE": ""}
    command = [str(ROOT / "ci" / "build"), "registry.example.com/like/cats:1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    ran = [line.split() for line in done.stdout.splitlines() if line.startswith("buildah ")]
    assert [words[1] for words in ran] == ["bud", "push"]
    assert ran[0][ran[0].index("--tag") + 1] == ran[1][-1] == "registry.example.com/like/cats:1-platform"
