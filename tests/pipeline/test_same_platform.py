"""Branches that would get into a job with secrets, against the pipeline's own lines and scripts, with real repositories.

The lines of .gitlab-ci.yml run in bash, in the place of a runner. The builder is a stand-in that notes what it would build.
Repositories are made of the last commit, so changes that are not committed are not tested here.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.forks import commit, git
from tests.pipeline.test_file import JOBS
from tests.running import ROOT

SECRET = "the password"
IMAGE = "registry.example.com/like/cats:1"
BUILDER = """#!/bin/sh
echo "$*" >>"$NOTED/builder"
[ "$1" != bud ] || cp -R . "$NOTED/context"
"""
TRAP = "open({caught!r}, 'w')\n"


class Branch:
    """A service's branch, and how its jobs run. checkout: as a runner has it. start: where it begins."""

    def __init__(self, folder: Path, upstream: Path, start: str = "HEAD"):
        self.folder, self.upstream, self.checkout = folder, upstream, folder / "models"
        git(folder, "clone", "--quiet", "--shared", str(upstream), str(self.checkout))
        git(self.checkout, "checkout", "--quiet", "-b", "cats", start)
        self.caught, self.noted, builder = folder / "caught", folder / "noted", folder / "bin/buildah"
        for each in (builder.parent, self.noted):
            each.mkdir()
        builder.write_text(BUILDER)
        builder.chmod(0o755)
        value = (self.checkout / "value.py").read_text().replace('"demo"', '"cats"')
        self.commit({"value.py": value})

    def commit(self, files: dict[str, str | bytes | None]) -> None:
        commit(self.checkout, files, "Cats")

    def run(self, job: str = "build", sha: str = "", **more: str) -> tuple[int, str]:
        """Return the exit status and the output of a job, at the branch's last commit or another one of its repository.

        more: further variables of the job.
        """
        lines = [*JOBS[job]["before_script"], *JOBS[job]["script"]]
        said = {
            "CI_COMMIT_REF_NAME": "cats",
            "CI_COMMIT_SHA": sha or git(self.checkout, "rev-parse", "HEAD"),
            "CI_REPOSITORY_URL": str(self.checkout),
            "PLATFORM_URL": str(self.upstream),
            "PLATFORM_REF": "HEAD",
            "IMAGE": IMAGE if job == "build" else f"registry.example.com/like/cats@sha256:{64 * '0'}",  # no registry is asked
            "REGISTRY_USER": "builder",
            "REGISTRY_PASSWORD": SECRET,
            "TRACK": "prod",
            "REGION": "hk",
            "NOTED": str(self.noted),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            **more,
        }
        command = ["bash", "-eo", "pipefail", "-c", "\n".join(lines)]
        done = subprocess.run(command, cwd=self.checkout, env=said, capture_output=True, text=True)
        assert not self.caught.exists(), done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    def refused(self, *words: str, job: str = "build", sha: str = "") -> None:
        """Fail unless a job refuses the branch in these words, before anything is built."""
        code, told = self.run(job, sha)
        assert code == 1, told
        assert [each for each in ("this branch differs from the platform", *words) if each not in told] == [], told
        assert list(self.noted.iterdir()) == []

    def built(self) -> Path:
        """Return what the builder got, and fail unless there is nothing of the branch in it but the service's own paths."""
        code, told = self.run()
        assert code == 0, told
        assert f"pushed {IMAGE}" in told
        return self.noted / "context"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream") / "platform"
    git(ROOT, "clone", "--quiet", "--no-tags", str(ROOT), str(folder))
    return folder


@pytest.fixture
def branch(tmp_path: Path, upstream: Path) -> Branch:
    return Branch(tmp_path, upstream)


@pytest.mark.parametrize(
    ("job", "paths"),
    [
        (
            "build",
            [
                *("GNUmakefile", "makefile", "Containerfile", ".containerignore", "Dockerfile.dockerignore", "rendered"),
                *("src/serving/GNUmakefile", "docs/service", "docs/Service/a.md", "readme.md", "Value.py", "SRC/server.py"),
            ],
        ),
        (
            "deploy-hk",
            [
                *("conftest.py", "pytest.ini", "sitecustomize.py", "yaml.py", "tests/conftest.py.d", "tests/service.py"),
                *("ci/own.yml", ".gitlab/ci.yml", ".githooks/post-checkout", ".lfsconfig", ".gitmodules", "service/value.py"),
            ],
        ),
    ],
)
def test_a_path_outside_the_list_is_refused(branch: Branch, job: str, paths: list[str]) -> None:
    branch.commit(dict.fromkeys(paths, f"all image:\n\ttouch {branch.caught}\n"))
    branch.refused(f"in {len(paths)} of the files", *(f"\n    {path}" for path in paths), job=job)


def test_a_changed_file_of_the_platform_is_refused_whatever_the_branchs_own_list_says(branch: Branch) -> None:
    paths = ["Makefile", "Dockerfile", ".dockerignore", ".gitattributes", ".gitlab-ci.yml", "ci/build", "ci/same_platform.py"]
    listed = {"conf/PATHS": "U Makefile\nU ci/\nU\n"}
    branch.commit({**dict.fromkeys(paths, f"image:\n\ttouch {branch.caught}\n"), **listed})
    branch.refused("in 8 of the files", *(f"\n    {path}" for path in (*paths, "conf/PATHS")))


def test_links_submodules_and_names_that_differ_in_case_alone_are_refused_at_a_services_paths(branch: Branch) -> None:
    links = ["README.md", "docs/service/secret.md", "src/secret"]
    for path in links:
        (branch.checkout / path).parent.mkdir(exist_ok=True)
        (branch.checkout / path).unlink(missing_ok=True)
        (branch.checkout / path).symlink_to("/proc/self/environ")
    twins = {
        "src/Serving/a.py": "src/serving",
        "src/ſerving/b.py": "src/serving",
        "src/MONOPOD.py": "src/monopod.py",
        "src/server.PY": "src/server.py",
    }
    branch.commit(dict.fromkeys(twins, ""))
    head = git(branch.checkout, "rev-parse", "HEAD")
    git(branch.checkout, "add", "--all")
    git(branch.checkout, "update-index", "--add", "--cacheinfo", f"160000,{head},src/more")
    git(branch.checkout, "commit", "--quiet", "--message", "Links and a submodule")
    branch.refused(
        "in 8 of the files",
        *(f"\n    {path}: a link or a submodule; a service has plain files alone" for path in [*links, "src/more"]),
        *(f"\n    {path}: differs from {twin} in upper and lower case" for path, twin in twins.items()),
    )


def test_a_link_in_place_of_a_services_folder_is_refused(branch: Branch) -> None:
    (branch.checkout / "docs/service").symlink_to("..")
    git(branch.checkout, "rm", "-rq", "src/serving/base")
    branch.commit({})
    branch.refused("\n    docs/service\n", "\n    src/serving/base/errors.py\n")


def test_a_tree_that_git_itself_would_not_write_is_refused(branch: Branch) -> None:
    def tree(rows: list[tuple[str, str, str]]) -> str:
        content = b"".join(f"{mode} {each}\0".encode() + bytes.fromhex(of) for mode, each, of in rows)
        command = ["git", "-C", str(branch.checkout), "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
        return subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode().strip()

    def rows(of: str) -> list[tuple[str, str, str]]:
        listed = [line.partition("\t") for line in git(branch.checkout, "ls-tree", of).splitlines()]
        return [(words.split()[0].lstrip("0"), each, words.split()[2]) for words, _, each in listed]

    inner = tree([("100644", "x", git(branch.checkout, "rev-parse", "HEAD:value.py"))])
    source = tree([*(("40000", name, inner) for name in ("..", ".git", ".GIT", "a\n    b")), *rows("HEAD:src")])
    whole = tree([(mode, each, source if each == "src" else of) for mode, each, of in rows("HEAD")])
    sha = git(branch.checkout, "commit-tree", "-m", "A tree", whole)
    git(branch.checkout, "update-ref", "refs/heads/cats", sha)
    shown = ("src/../x", "src/.git/x", "src/.GIT/x", r"'src/a\n    b/x'")
    branch.refused("in 4 of the files", *(f"\n    {path}: a name that a checkout could take" for path in shown), sha=sha)


def test_code_at_a_services_paths_is_built_and_never_run_by_a_job_with_secrets(branch: Branch) -> None:
    trap, shell = TRAP.format(caught=str(branch.caught)), f"all image:\n\ttouch {branch.caught}\n"
    modules = ("sitecustomize", "usercustomize", "ast", "json", "yaml", "dataclasses", "conftest", "encodings/__init__")
    traps: dict[str, str | bytes | None] = {f"src/{name}.py": trap for name in modules}
    traps |= {f"{folder}/{name}": shell for folder in ("src", "model") for name in ("GNUmakefile", "Makefile", "makefile.d")}
    traps |= {"tests/service/conftest.py": trap, "tests/service/pytest.ini": "[pytest]\n", "src/.containerignore": "*\n"}
    traps |= {f"{folder}/.env": f"PYTHONPATH=src\nLD_PRELOAD=src/a.so\nBASH_ENV={folder}/a.sh\n" for folder in ("src", "model")}
    traps |= {f"src/{name}": "[install]\nno-index = yes\n" for name in ("pip.conf", "setup.cfg", "pyproject.toml")}
    touch = f"touch ${{HOME}}/{branch.caught.name}"
    names = (f"$({touch})", f"`{touch}`", f";{touch};", f"$(shell {touch})", "-rf", "--eval=x", "*", "a b", "-c")
    traps |= {f"{folder}/{name.replace('/', '${IFS}')}": "" for folder in ("src", "model") for name in names}
    branch.commit(traps)
    context = branch.built()
    for path, text in traps.items():
        assert (context / path).read_text() == text
    code, told = branch.run("deploy-hk")
    assert "the platform's files are those of" in told
    assert (code, "KUBECONFIG" in told) == (11, True), told
    assert "cats" in (branch.checkout / "rendered/hk-prod.yaml").read_text()


def test_a_file_that_an_earlier_job_left_in_the_checkout_reaches_no_job_with_secrets(branch: Branch) -> None:
    shell = f"all image:\n\ttouch {branch.caught}\n"
    left = ("GNUmakefile", ".containerignore", "src/extra.py", "src/serving/extra.py")
    for path in left:
        (branch.checkout / path).write_text(shell)
    (branch.checkout / "src/server.py").write_text("changed after the commit")
    context = branch.built()
    assert not [
        path
        for path in ("GNUmakefile", ".containerignore", "src/extra.py", "src/serving/extra.py")
        if (context / path).exists()
    ]
    assert (context / "src/server.py").read_text() == git(branch.checkout, "show", "HEAD:src/server.py") + "\n"


def test_attributes_filters_and_hooks_of_a_branch_change_no_file(branch: Branch) -> None:
    attributes = "* filter=trap export-ignore export-subst ident eol=crlf\n"
    text = "$Format:%H$ $Id$\nsecond\n"
    branch.commit({"src/.gitattributes": f"{attributes}serving/** working-tree-encoding=UTF-16\n", "src/note.txt": text})
    git(branch.checkout, "config", "filter.trap.clean", f"touch {branch.caught}; cat")
    git(branch.checkout, "config", "filter.trap.smudge", f"touch {branch.caught}; cat")
    hook = branch.checkout / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {branch.caught}\n")
    hook.chmod(0o755)
    context = branch.built()
    assert (context / "src/note.txt").read_bytes() == text.encode()
    assert (context / "src/serving/core/stages.py").read_bytes() == (
        branch.upstream / "src/serving/core/stages.py"
    ).read_bytes()


def test_a_model_of_git_lfs_is_taken_from_the_checkout_where_its_checksum_is_right(branch: Branch) -> None:
    pointers = {}
    for name in ("right", "wrong", "missing"):
        oid = hashlib.sha256(name.encode()).hexdigest()
        pointers[name] = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(name)}\n"
    branch.commit({f"model/{name}.onnx": text for name, text in pointers.items()})
    (branch.checkout / "model/right.onnx").write_text("right")
    (branch.checkout / "model/wrong.onnx").unlink()
    (branch.checkout / "model/wrong.onnx").symlink_to("/proc/self/environ")
    (branch.checkout / "model/missing.onnx").unlink()
    context = branch.built()
    assert [(context / f"model/{name}.onnx").read_text() for name in pointers] == [
        "right",
        pointers["wrong"],
        pointers["missing"],
    ]


def test_the_image_has_the_branchs_commit_in_its_labels_and_the_service_in_place_of_the_demo(branch: Branch) -> None:
    branch.commit({"model/imagenet_labels.txt": None, "README.md": "# Cats\n", "docs/service/how.md": "How.\n"})
    context = branch.built()
    assert not (context / "model/imagenet_labels.txt").exists()
    assert (context / "README.md").read_text() == "# Cats\n"
    line = (branch.noted / "builder").read_text()
    assert f"revision={git(branch.checkout, 'rev-parse', 'HEAD')} " in line
    assert f"created={git(branch.checkout, 'show', '--no-patch', '--format=%cI', 'HEAD')}" in line
    assert (context / "ci/build").stat().st_mode & 0o111


def test_an_update_that_takes_a_path_from_a_service_names_where_to_move_it(
    tmp_path: Path, upstream: Path, release: Callable[[Path], None]
) -> None:
    newer = tmp_path / "newer"
    git(upstream, "clone", "--quiet", str(upstream), str(newer))
    branch = Branch(tmp_path, newer)
    branch.commit({"src/jobs/cats.py": "", "src/plan.py": "mine\n"})
    release(newer)
    moved = ("src/jobs/cats.py: src/jobs/ is the platform's; move it, for instance to src/own_jobs/cats.py",)
    branch.refused(*moved, "src/plan.py: src/plan.py is the platform's; move it, for instance to src/own_plan.py")
    git(branch.checkout, "mv", "src/plan.py", "src/own_plan.py")
    git(branch.checkout, "commit", "--quiet", "--message", "Our plan is moved")
    git(branch.checkout, "pull", "--quiet", "--no-rebase", "--no-edit", "origin", "HEAD")
    branch.refused("in 1 of the files", *moved)
    (branch.checkout / "src/own_jobs").mkdir()
    git(branch.checkout, "mv", "src/jobs/cats.py", "src/own_jobs/cats.py")
    git(branch.checkout, "commit", "--quiet", "--message", "Our jobs are moved")
    branch.built()


@pytest.fixture
def release() -> Callable[[Path], None]:
    """Return a function that makes a release of a platform which takes src/jobs/ and src/plan.py for itself."""

    def make(platform: Path) -> None:
        listed = (platform / "conf/PATHS").read_text() + "P src/jobs/\nP src/plan.py\n"
        commit(platform, {"conf/PATHS": listed, "src/jobs/ours.py": "", "src/plan.py": "ours\n"}, "Jobs")

    return make
