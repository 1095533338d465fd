"""The commands of `make image` and `make push`, in a repository of one file, without a builder or a registry."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.forks import commit, git
from tests.running import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    for name in ("Makefile", "value.py", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    commit(tmp_path, {}, "A service")
    return tmp_path


def make(folder: Path, *words: str, status: int = 0) -> str:
    done = subprocess.run(["make", "--no-print-directory", "--dry-run", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def revision(checkout: Path) -> str:
    return make(checkout, "image").partition("org.opencontainers.image.revision=")[2].split()[0]


def test_an_image_is_labelled_with_its_commit_and_says_when_the_tree_held_more(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert revision(checkout) == head
    (checkout / "new.py").write_text("x = 1\n")
    assert revision(checkout) == f"{head}-dirty"
    commit(checkout, {"new.py": "x = 2\n"}, "More")
    assert revision(checkout) == git(checkout, "rev-parse", "HEAD")
    (checkout / "new.py").write_text("x = 3\n")
    assert revision(checkout).endswith("-dirty")


def test_a_folder_that_is_no_service_is_named(checkout: Path) -> None:
    assert "nowhere holds no value.py" in make(checkout, "image", "SERVICE=nowhere", status=2)


def test_a_target_is_cpu_or_gpu(checkout: Path) -> None:
    assert "--build-arg TARGET=cpu " in make(checkout, "image")
    assert "--build-arg TARGET=gpu " in make(checkout, "image", "TARGET=gpu")
    assert "TARGET is tpu: name cpu or gpu" in make(checkout, "image", "TARGET=tpu", status=2)


def test_a_service_without_tests_is_told_how_to_write_one(checkout: Path) -> None:
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, checkout)
    told = make(checkout, "test-service", status=2)
    assert "./src holds no test_*.py" in told


def test_a_push_needs_a_name_that_names_a_registry(checkout: Path) -> None:
    told = make(checkout, "push", status=2)
    assert "localhost/like/demo:dev names no registry" in told
    line = make(checkout, "push", "IMAGE=registry.example.com/like/demo:1").splitlines()[-1]
    assert line.startswith(("buildah push", "docker push"))
    assert line.endswith("registry.example.com/like/demo:1")
    assert "--tls-verify" not in line


@pytest.mark.parametrize("service", ["tests/services/search", "examples/moderation", "."])
def test_a_service_in_any_folder_is_in_the_builders_context_without_its_tests_and_keys(service: str, checkout: Path) -> None:
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, checkout)
    (checkout / service).mkdir(parents=True, exist_ok=True)
    (checkout / service / "value.py").touch()
    builder = checkout / "builder"
    builder.write_text('#!/bin/sh\n[ "$1" = --file ] && cmp "$2" Dockerfile >&2 && cat "$2.dockerignore"\n')
    builder.chmod(0o755)
    told = subprocess.run(
        ["make", "--silent", "image", f"SERVICE={service}", "BUILD=./builder"], cwd=checkout, capture_output=True, text=True
    )
    assert (told.returncode, told.stderr) == (0, "")
    patterns = told.stdout.splitlines()
    assert patterns.index("!examples" if service == "." else f"!{service}") < patterns.index("**/test_*.py")
    assert set((ROOT / ".dockerignore").read_text().splitlines()) <= set(patterns)


def test_a_services_own_dockerfile_is_built_upon_the_platforms_image(checkout: Path) -> None:
    assert "-platform" not in make(checkout, "image")
    (checkout / "service.Dockerfile").write_text("ARG PLATFORM_IMAGE\nFROM ${PLATFORM_IMAGE}\n")
    told = make(checkout, "image", "OPTIONS=--secret=id=pip,src=pip.conf")
    platform, own = told.split("cp ./service.Dockerfile")
    assert "--tag localhost/like/demo:dev-platform" in platform
    assert "--secret" in platform
    assert "--build-arg PLATFORM_IMAGE=localhost/like/demo:dev-platform --tag localhost/like/demo:dev ." in own
    assert "--secret" not in own
