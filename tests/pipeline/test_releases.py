"""Branches that stand on releases of the platform, by the pipeline's own lines, with real repositories and tags.

Repositories are made of the last commit, so changes that are not committed are not tested here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from ci.releases import ReleaseError, platform_hash, read, standing
from ci.same_platform import Entry
from ci.update import NEWER
from tests.conf.webhook import running_webhook
from tests.pipeline.forks import commit, git
from tests.pipeline.test_file import TRUSTED
from tests.pipeline.test_same_platform import Branch
from tests.running import ROOT

LIST, MONOPOD = "conf/RELEASES", "ci/monopod"
DIFFERS = "this branch differs from the platform"
LISTED = {release.tag: release for release in read((ROOT / LIST).read_text())}
NEXT = "v999"  # the last commit, as if it were a release
COMMIT, FILES, TODAY = "c" * 40, "f" * 64, date(2027, 1, 15)


class Platform:
    """A platform's repository. Each release and each commit between them names itself in ci/monopod."""

    def __init__(self, folder: Path, source: Path):
        self.folder = folder
        git(source, "clone", "--quiet", str(source), str(folder))

    def write(self, files: Mapping[str, str | bytes | None]) -> str:
        return commit(self.folder, files, "A change")

    def names_itself(self, name: str) -> None:
        lines = (ROOT / MONOPOD).read_text().splitlines(keepends=True)
        self.write({MONOPOD: "".join([*lines[:-1], f"echo this is {name}\n", lines[-1]])})

    def list(self, *lines: str) -> None:
        self.write({LIST: "".join(f"{line}\n" for line in ("# The list", *lines))})

    def line(self, tag: str) -> str:
        """Return the line that CONTRIBUTING.md has written into the list."""
        command, said = [sys.executable, "ci/releases.py", tag], {**os.environ, "PYTHONPATH": "src:."}
        return subprocess.run(command, cwd=self.folder, env=said, capture_output=True, text=True, check=True).stdout.strip()

    def branch(self, start: str) -> Branch:
        """Return a service's branch that begins at a commit of the platform."""
        return Branch(self.folder.parent, self.folder, start)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a platform with the releases v91 and v92, whose default branch went on since."""
    made = Platform(tmp_path_factory.mktemp("released") / "platform", ROOT)
    for tag, options in (("v91", []), ("v92", ["--annotate", "--message", "The newest"])):
        made.names_itself(tag)
        git(made.folder, "tag", *options, tag)
        made.names_itself(f"what follows {tag}")
    made.list(made.line("v91"), made.line("v92"))
    made.names_itself("the default branch")
    return made.folder


@pytest.fixture
def platform(tmp_path: Path, released: Path) -> Platform:
    return Platform(tmp_path / "platform", released)


def test_a_branch_on_an_older_release_is_deployed_by_that_releases_commit(platform: Platform) -> None:
    branch = platform.branch("v91")
    code, told = branch.run("deploy-hk")
    assert (code, "KUBECONFIG" in told) == (11, True), told
    assert f"the platform's files are those of {git(platform.folder, 'rev-parse', 'v91')[:8]}\nthis is v91\n" in told
    assert (branch.checkout / "rendered/hk-prod.yaml").exists()


def test_a_newer_release_is_one_line_with_the_command_that_brings_it(platform: Platform) -> None:
    branch = platform.branch("v91")
    (line,) = [line for line in branch.run()[1].splitlines() if "v91" in line]
    assert line == "this branch stands on the platform's release v91; a newer one is v92: monopod update --to v92"


def test_the_job_of_a_schedule_writes_what_the_newest_release_is_and_tells_the_webhook(platform: Platform) -> None:
    branch = platform.branch("v91")
    with running_webhook() as webhook:
        code, told = branch.run("update_check", MONOPOD_WEBHOOK=webhook.url)
    assert code == NEWER, told
    written = json.loads((branch.checkout / "update.json").read_text().splitlines()[-1])  # ci/monopod names itself before
    assert (written["branch"], written["newest"]) == ("cats", "v92")
    (body,) = webhook.received
    assert (body["event"], body["newest"]) == ("update", "v92")
    assert body["text"].startswith("cats: it stands on ")


def test_an_image_is_built_with_the_files_of_the_release_alone(platform: Platform) -> None:
    context = platform.branch("v91").built()
    assert (context / MONOPOD).read_text() == git(platform.folder, "show", f"v91:{MONOPOD}") + "\n"


@pytest.mark.parametrize("job", ["rollback-hk", "restart-hk", "continue-hk"])
def test_a_job_without_a_checkout_runs_the_release_too(platform: Platform, job: str) -> None:
    assert "this is v91\n" in platform.branch("v91").run(job)[1]


def test_a_branch_on_the_default_branch_passes_as_it_did(platform: Platform) -> None:
    code, told = platform.branch("HEAD").run("deploy-hk")
    assert (code, "this is the default branch\n" in told) == (11, True), told
    assert "release" not in told


def test_a_branch_on_the_commit_that_lists_a_release_stands_on_that_release(platform: Platform) -> None:
    git(platform.folder, "checkout", "--quiet", "-B", git(platform.folder, "branch", "--show-current"), "v92")
    platform.list(platform.line("v92"))
    start = git(platform.folder, "rev-parse", "HEAD")
    platform.names_itself("the default branch")
    assert "this is v92\n" in platform.branch(start).run("deploy-hk")[1]


def test_a_branch_between_two_releases_is_refused_with_the_files_and_the_cure(platform: Platform) -> None:
    branch = platform.branch("v92~")
    branch.refused(f"in 1 of the files, where a service may not:\n    {MONOPOD}\n", "into this branch and push it")
    assert "this is the default branch\n" in branch.run("rollback-hk")[1]


def test_a_changed_file_of_a_release_is_refused_whatever_the_branchs_own_list_says(platform: Platform) -> None:
    branch = platform.branch("v91")
    paths = (ROOT / "conf/PATHS").read_text()
    branch.commit({"Makefile": f"image:\n\ttouch {branch.caught}\n", "conf/PATHS": f"{paths}U Makefile\nU conf/PATHS\n"})
    branch.refused("\n    Makefile\n", "\n    conf/PATHS\n", f"\n    {MONOPOD}\n")


def test_a_branch_cannot_list_itself(platform: Platform) -> None:
    branch = platform.branch("v91")
    branch.commit({MONOPOD: f"#!/bin/sh\ntouch {branch.caught}\n"})
    git(branch.checkout, "tag", "v93")
    mine = Platform(branch.folder / "mine", branch.checkout)
    branch.commit({LIST: f"{mine.line('v93')}\n"})
    branch.refused(f"\n    {MONOPOD}\n")


def test_a_refused_release_is_told_with_the_reason_and_the_cure(platform: Platform) -> None:
    platform.list(f"{platform.line('v91')} 2026-01-31 its rollback forgets the autoscaler", platform.line("v92"))
    branch = platform.branch("v91")
    reason = "which is refused since 2026-01-31: its rollback forgets the autoscaler; the cure: monopod update --to v92\n"
    branch.refused(reason, job="deploy-hk")
    assert "this is the default branch\n" in branch.run("rollback-hk")[1]


def test_a_release_that_will_be_refused_is_a_warning_with_the_date(platform: Platform) -> None:
    platform.list(f"{platform.line('v91')} 2999-01-31 of a leak", platform.line("v92"))
    code, told = platform.branch("v91").run("deploy-hk")
    assert (code, "this is v91\n" in told) == (11, True), told
    assert "warning: this branch stands on the platform's release v91, which is refused from 2999-01-31 on: of a leak; " in told


def test_a_tag_that_was_moved_is_an_error_and_nothing_of_it_runs(platform: Platform) -> None:
    branch, before = platform.branch("v91"), git(platform.folder, "rev-parse", "v91")
    platform.names_itself("a trap")
    git(platform.folder, "tag", "--force", "v91")
    moved = git(platform.folder, "rev-parse", "v91")
    git(platform.folder, "revert", "--no-edit", "HEAD")
    branch.refused(f"the tag v91 of PLATFORM_URL is {moved}, and conf/RELEASES lists {before}")
    assert "this is the default branch\n" in branch.run("rollback-hk")[1]


def test_a_tag_that_is_missing_is_an_error(platform: Platform) -> None:
    git(platform.folder, "tag", "--delete", "v91")
    platform.branch(git(platform.folder, "rev-parse", "v92~2")).refused("conf/RELEASES lists v91, which cannot be fetched")


def test_a_hash_that_is_not_the_tags_is_an_error(platform: Platform) -> None:
    wrong = platform.line("v91").split()[2]
    platform.list(f"{platform.line('v92').rsplit(' ', 1)[0]} {wrong}")
    platform.branch("v91").refused("conf/RELEASES lists a wrong hash of v92")


def test_a_fork_from_before_the_tags_with_a_history_of_its_own_is_known_by_its_files(platform: Platform) -> None:
    branch = platform.branch("v92~")
    git(branch.checkout, "checkout", "--quiet", "--orphan", "copied")
    branch.commit({})
    branch.refused(f"\n    {MONOPOD}\n")
    git(platform.folder, "tag", "v90", "v92~")
    platform.list(platform.line("v90"), platform.line("v91"), platform.line("v92"))
    code, told = branch.run("deploy-hk")
    assert (code, "this is what follows v91\n" in told) == (11, True), told


def test_regions_yaml_is_the_default_branchs_for_every_release(platform: Platform) -> None:
    branch = platform.branch("v91")
    regions = (ROOT / "conf/regions.yaml").read_text()
    branch.commit({"conf/regions.yaml": "regions: {}\n", "ci/regions.yml": "{}\n"})
    platform.write({"conf/regions.yaml": regions.replace("host: hk.example.com", "host: moved.example.com")})
    code, told = branch.run("deploy-hk")
    assert (code, "this is v91\n" in told) == (11, True), told
    assert "moved.example.com" in (branch.checkout / "rendered/hk-prod.yaml").read_text()
    assert "conf/regions.yaml of this branch differs from the platform's, which this job uses\n" in told


def test_no_compiled_file_of_the_default_branch_stays_for_a_release(platform: Platform) -> None:
    branch = platform.branch("v91")
    git(platform.folder, "fetch", "--quiet", str(branch.checkout), "cats")
    sha = git(branch.checkout, "rev-parse", "HEAD")
    command = [str(platform.folder / "ci/take-release"), sha, str(platform.folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    assert git(platform.folder, "rev-parse", "HEAD") == git(platform.folder, "rev-parse", "v91")
    assert [*platform.folder.rglob("*.pyc")] == []


def test_the_hash_is_of_every_file_but_a_services_and_those_of_the_default_branch() -> None:
    known = {"conf/": "P", "value.py": "U", "src/": "U", "src/serving/": "P"}
    files = {path: Entry("100644", "1") for path in ("Makefile", "conf/PATHS", "src/serving/a.py")}
    whole = platform_hash(files, known)
    passed_over = {path: Entry("100644", "2") for path in ("value.py", "src/a.py", "conf/regions.yaml", LIST, "ci/regions.yml")}
    assert platform_hash(files | passed_over, known) == whole
    changed = [{**files, path: entry} for path in files for entry in (Entry("100755", "1"), Entry("100644", "2"))]
    fewer = [{path: entry for path, entry in files.items() if path != left} for left in files]
    assert whole not in {platform_hash(each, known) for each in (*changed, *fewer, files | {"more": Entry("100644", "1")})}
    assert platform_hash(files, {**known, "conf/PATHS": "U"}) == whole


@pytest.mark.parametrize(
    ("rest", "runs", "words"),
    [
        ("", True, "release v9; a newer one is v10: monopod update --to v10"),
        (" 2027-01-15 of a leak", False, "is refused since 2027-01-15: of a leak; the cure: monopod update --to v10"),
        (" 2027-01-16 of a leak", True, "is refused from 2027-01-16 on: of a leak; the cure: monopod update --to v10"),
    ],
)
def test_the_day_decides_on_a_release(rest: str, runs: bool, words: str) -> None:
    listed = read(f"v9 {COMMIT} {FILES}{rest}\n\n# newer\nv10 {COMMIT} {COMMIT + 24 * 'c'}\n")
    release, told = standing(FILES, listed, TODAY, "https://ci:secret@gitlab.example.com/platform.git")
    assert release == (listed[0] if runs else None)
    assert words in told
    assert "secret" not in told


def test_the_cure_of_the_newest_release_is_the_default_branch_where_that_release_is_refused() -> None:
    listed = read(f"v8 {COMMIT} {FILES[1:]}0\nv9 {COMMIT} {FILES} 2027-01-01 of a leak\n")
    assert standing(FILES, listed, TODAY, "/platform")[1].endswith("the cure: git pull --no-rebase /platform HEAD")


@pytest.mark.parametrize(
    "line",
    [
        *(
            "v9",
            f"v9 {COMMIT}",
            f"9 {COMMIT} {FILES}",
            f"v9 {COMMIT[1:]} {FILES}",
            f"v9  {COMMIT} {FILES}",
            f"v9 {FILES} {COMMIT}",
        ),
        *(f"v9 {COMMIT} {FILES} 2027-02-30 why", f"v9 {COMMIT} {FILES} 2027-01-30", f"../v9 {COMMIT} {FILES}"),
    ],
)
def test_a_line_that_is_no_release_is_named(line: str) -> None:
    with pytest.raises(ReleaseError, match=r"conf/RELEASES:2: .* is not a release; a line is TAG COMMIT HASH"):
        read(f"# The list\n{line}\n")


def test_a_list_that_cannot_be_read_lets_no_older_branch_pass(platform: Platform) -> None:
    platform.list("v91")
    platform.branch("v91").refused("conf/RELEASES:2: 'v91' is not a release")


@pytest.mark.parametrize("tag", [*LISTED, NEXT])
def test_every_job_of_the_pipeline_works_by_every_listed_release_and_by_the_next(tag: str, tmp_path: Path) -> None:
    made = Platform(tmp_path / "platform", ROOT)
    if tag not in git(made.folder, "tag", "--list").split():
        git(made.folder, "tag", tag, "HEAD" if tag == NEXT else LISTED[tag].commit)
    assert tag == NEXT or made.line(tag) == " ".join(LISTED[tag][:3])
    branch = made.branch(tag)
    branch.built()
    scripts = re.findall(r"\$platform/(ci/\S+)", "\n".join(line for each in TRUSTED.values() for line in each["script"]))
    assert [path for path in scripts if not git(made.folder, "ls-tree", tag, path).startswith("100755 ")] == []
    for name in (name for name, each in TRUSTED.items() if each["variables"].get("REGION") == "hk"):
        code, told = branch.run(name)
        assert (code, "KUBECONFIG" in told) == (11, True), f"{name} by {tag}: {told}"
        assert DIFFERS not in told
