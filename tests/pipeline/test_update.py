"""`monopod update` over three releases: each of thirty forks is updated whole, or is refused with the file, and is as it was.

Repositories are made of the last commit, so changes that are not committed are not tested here. The keys are made here, too.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.same_platform import is_services, owners
from ci.update import folded
from tests.pipeline.forks import commit, git
from tests.pipeline.test_releases import LIST, Platform
from tests.running import ROOT

SECONDS = 30  # within which a fork is updated or refused, where no environment is made
PATCH = "docs/service/before-{tag}.patch"
DEPLOYMENT, SETTINGS, TEMPLATES = "templates/deployment.yaml", "src/monopod.py", "conf/render/templates.py"
REPLICAS = "{% if workload.sets_replicas %}\n"
CLAIMED = "docs/service/platform/"  # what v93 takes for the platform
OLD_VALUE = 'bmls_ret_type = "json"  # as it was in 2019\nuse_decode_sidecar = False\n'
OLD_SERVER = "from serving.errors import (\n    BadInput,  # a comment\n)\n"


class Keys:
    """Keys of two maintainers. Only the first one's are allowed."""

    def __init__(self, folder: Path):
        self.ann, self.eve = folder / "ann", folder / "eve"
        for each in (self.ann, self.eve):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", each.name, "-f", each], check=True)
        self.allowed = f'ann@example.com namespaces="git" {self.ann.with_suffix(".pub").read_text()}'


def sign(folder: Path, tag: str, key: Path, start: str = "HEAD") -> None:
    git(folder, "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "tag", "--sign", "--message", tag, tag, start)


class Releases:
    """A platform with the releases v91, v92 and v93, whose default branch went on since."""

    def __init__(self, folder: Path):
        self.keys = Keys(folder)
        self.platform = Platform(folder / "platform", ROOT)
        template, text = (ROOT / DEPLOYMENT).read_text(), (ROOT / SETTINGS).read_text()
        paths, version = (ROOT / "conf/PATHS").read_text(), 'VERSION = "{}.0.0"'
        release = next(line for line in text.splitlines() if line.startswith("VERSION = ")).split("  #")[0]
        for number in (91, 92, 93):
            files: dict[str, str | bytes | None] = {
                SETTINGS: text.replace(release, version.format(number)),
                "allowed_signers": self.keys.allowed,
            }
            if number > 91:  # the Deployment has one more field
                files[DEPLOYMENT] = template.replace(REPLICAS, f"  minReadySeconds: {number}\n{REPLICAS}", 1)
            if number > 92:
                files |= {
                    "conf/PATHS": f"{paths}P {CLAIMED}\n",
                    f"{CLAIMED}page.md": "The platform's\n",
                    "docs/peers.svg": None,
                }
            self.platform.write(files)
            sign(self.platform.folder, f"v{number}", self.keys.ann)
            self.platform.names_itself(f"what follows v{number}")
            lines = [self.platform.line(f"v{each}") for each in range(91, number + 1)]
            self.platform.list(*lines)


class Fork:
    """A service's branch that begins at a commit of the platform, and how it is updated."""

    def __init__(self, folder: Path, releases: Releases, start: str):
        self.folder, self.keys, self.checkout = folder, releases.keys, folder / "cats"
        self.upstream = folder / "upstream"
        for made in (self.upstream, self.checkout):
            git(folder, "clone", "--quiet", "--shared", str(releases.platform.folder), str(made))
        git(self.checkout, "remote", "add", "platform", str(self.upstream))
        git(self.checkout, "checkout", "--quiet", "-B", "cats", start)
        for name, value in (("user.name", "Ann"), ("user.email", "ann@example.com"), ("commit.gpgsign", "false")):
            git(self.checkout, "config", name, value)
        self.tag, self.kept, self.refusal, self.seconds = "v93", dict[str, str](), "", SECONDS
        value = (self.checkout / "value.py").read_text().replace('"demo"', '"cats"')
        self.commit({"value.py": value, "README.md": "Cats\n"})

    def commit(self, files: dict[str, str | bytes | None]) -> None:
        commit(self.checkout, files, "Cats")

    def append(self, path: str, text: str) -> None:
        self.commit({path: (self.checkout / path).read_text() + text})

    def state(self) -> tuple[str, str, str]:
        words = (("rev-parse", "HEAD"), ("status", "--porcelain", "--branch"), ("stash", "list"))
        return tuple(git(self.checkout, *each) for each in words)  # type: ignore[return-value]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "monopod", "update", *words]

    def environment(self) -> dict[str, str]:
        hidden = {name: value for name, value in os.environ.items() if name not in ("PLATFORM_URL", "CI_COMMIT_REF_NAME")}
        return hidden | {"TMPDIR": str(self.folder), "HOME": str(self.folder)}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words),
            cwd=self.checkout,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=self.seconds,
        )

    def update(self) -> str:
        """Update the fork, or see it refused. Return what was said. Fail where it is left between the two."""
        before = self.state()
        done = self.run("--to", self.tag)
        told = done.stdout + done.stderr
        assert [each.name for each in self.folder.glob("monopod-update-*")] == []
        if self.refusal:
            assert (done.returncode, self.state()) == (1, before), told
            assert self.refusal in done.stderr
            assert done.stderr.endswith("\nnothing has changed\n")
            return told
        assert done.returncode == 0, told
        assert git(self.checkout, "status", "--porcelain") == ""
        assert git(self.checkout, "rev-parse", "HEAD^1") == before[0]
        release = git(self.upstream, "rev-parse", f"{self.tag}^{{commit}}")
        assert git(self.checkout, "rev-parse", "HEAD^2") == release
        self._is_whole(before[0], release)
        return told

    def _is_whole(self, before: str, release_commit: str) -> None:
        """Fail unless the platform's files are the release's, and the service's files are the branch's."""
        mine, was, release = (self._entries(each) for each in ("HEAD", before, release_commit))
        known = owners(git(self.checkout, "show", f"{release_commit}:conf/PATHS"))
        kept = PATCH.format(tag=self.tag)
        for path in mine.keys() | release.keys():
            if path in (LIST, "ci/regions.yml", "conf/regions.yaml"):
                continue
            if not is_services(path, known):
                assert mine.get(path) == release.get(path), path
            elif path in self.kept:
                assert git(self.checkout, "show", f"HEAD:{path}") == self.kept[path].strip()
            elif path != kept:
                assert mine.get(path) == was.get(path), path

    def _entries(self, commit: str) -> dict[str, str]:
        rows = (row.split("\t") for row in git(self.checkout, "ls-tree", "-r", "-z", commit).split("\0") if row)
        return {path: words for words, path in rows}

    def patch(self) -> str:
        return git(self.checkout, "show", f"HEAD:{PATCH.format(tag=self.tag)}")

    def refused(self, words: str) -> None:
        self.refusal = self.refusal or words


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    return Releases(tmp_path_factory.mktemp("releases"))


MakeFork = Callable[..., Fork]


@pytest.fixture
def make_fork(tmp_path: Path, releases: Releases) -> MakeFork:
    def make(start: str = "v91", name: str = "fork") -> Fork:
        folder = tmp_path / name
        folder.mkdir()
        return Fork(folder, releases, start)

    return make


# --- What forks did to themselves, by what they are called. Some of it refuses an update.


def edited(fork: Fork) -> None:
    fork.append("Makefile", "\n# of cats\n")


def deleted(fork: Fork) -> None:
    fork.commit({"docs/alerting.md": None})


def renamed(fork: Fork) -> None:
    git(fork.checkout, "mv", "docs/serving.md", "docs/cats.md")
    git(fork.checkout, "commit", "--quiet", "--message", "Cats")


def added(fork: Fork) -> None:
    fork.commit({"conf/cats.py": "CATS = 9\n", "notes on cats.txt": "purr\n"})


def executable(fork: Fork) -> None:
    git(fork.checkout, "update-index", "--chmod=+x", "LICENSE")
    git(fork.checkout, "commit", "--quiet", "--message", "Cats")
    git(fork.checkout, "checkout", "--quiet", "--", ".")


def binary(fork: Fork) -> None:
    fork.commit({"conf/rules/cats.bin": bytes(range(256))})


def owns_more(fork: Fork) -> None:
    fork.append("conf/PATHS", "U conf/\nU Makefile\n")
    fork.append("Makefile", "\n# of cats, who own it\n")


def conflicted_and_committed(fork: Fork) -> None:
    fork.append("ci/monopod", "<<<<<<< HEAD\necho cats\n=======\n>>>>>>> v92\n")


def old_settings(fork: Fork) -> None:
    text = (fork.checkout / "value.py").read_text()
    fork.kept["value.py"] = f"{text}# as it was in 2019\n"
    fork.append("value.py", OLD_VALUE)


def old_imports(fork: Fork) -> None:
    fork.kept["src/more.py"] = OLD_SERVER.replace("serving.errors", "serving.api")
    fork.commit({"src/more.py": OLD_SERVER})


def copied(fork: Fork) -> None:
    git(fork.checkout, "checkout", "--quiet", "--orphan", "copied")
    git(fork.checkout, "commit", "--quiet", "--message", "All that there was")


def between(fork: Fork) -> None:
    git(fork.checkout, "merge", "--quiet", "--no-edit", "v92~1")


def without_readme(fork: Fork) -> None:
    fork.commit({"README.md": None, "src/test_server.py": None})


def claims(fork: Fork) -> None:
    fork.commit({f"{CLAIMED}cats.md": "Cats\n"})
    fork.refused(f"{CLAIMED}cats.md: {CLAIMED} is the platform's in v93")


def linked(fork: Fork) -> None:
    (fork.checkout / "docs/service").mkdir(exist_ok=True)
    (fork.checkout / "docs/service/home").symlink_to("/etc/passwd")
    fork.commit({})
    fork.refused("docs/service/home: a link or a submodule; a service has plain files alone")


def broken_value(fork: Fork) -> None:
    fork.append("value.py", "<<<<<<< HEAD\n")
    fork.refused("value.py:")


def dirty(fork: Fork) -> None:
    (fork.checkout / "Makefile").write_text("cats:\n")
    fork.refused("\n    M Makefile")


def untracked(fork: Fork) -> None:
    (fork.checkout / "src/kittens.py").write_text("")
    fork.refused("\n    ?? src/kittens.py")


def merging(fork: Fork) -> None:
    git(fork.checkout, "merge", "--quiet", "--strategy", "ours", "--no-commit", "v93")
    fork.refused("a merge is under way: commit it, or run git merge --abort")


def detached(fork: Fork) -> None:
    git(fork.checkout, "checkout", "--quiet", "--detach")
    fork.refused("this checkout stands on no branch")


def keyless(fork: Fork) -> None:
    fork.commit({"allowed_signers": None})
    fork.refused("this branch has no allowed_signers")


def of_another_key(fork: Fork) -> None:
    fork.commit({"allowed_signers": f"eve@example.com {fork.keys.eve.with_suffix('.pub').read_text()}"})
    fork.refused("the tag v93 has no signature of a key in allowed_signers")


def of_an_older_key(fork: Fork) -> None:
    fork.commit({"allowed_signers": fork.keys.allowed.replace('namespaces="git"', 'namespaces="git",valid-before="20200101"')})
    fork.refused("the tag v93 has no signature of a key in allowed_signers")


def unsigned(fork: Fork) -> None:
    git(fork.upstream, "tag", "--annotate", "--force", "--message", "v93", "v93", "v93^{commit}")
    fork.refused("the tag v93 has no signature of a key in allowed_signers (")


def light(fork: Fork) -> None:
    git(fork.upstream, "update-ref", "refs/tags/v93", git(fork.upstream, "rev-parse", "v93^{commit}"))
    fork.refused("the tag v93 is not signed")


def replayed(fork: Fork) -> None:
    git(fork.upstream, "update-ref", "refs/tags/v93", git(fork.upstream, "rev-parse", "v92"))
    fork.refused("the tag v93 was made as v92: it is another release under a false name")


def tampered(fork: Fork) -> None:
    text = subprocess.run(["git", "-C", fork.upstream, "cat-file", "tag", "v93"], capture_output=True, check=True).stdout
    old, new = (git(fork.upstream, "rev-parse", each).encode() for each in ("v93^{commit}", "HEAD"))
    command = ["git", "-C", str(fork.upstream), "hash-object", "-t", "tag", "-w", "--stdin"]
    made = subprocess.run(command, input=text.replace(old, new), capture_output=True, check=True).stdout.decode().strip()
    git(fork.upstream, "update-ref", "refs/tags/v93", made)
    fork.refused("the tag v93 has no signature of a key in allowed_signers (")


def of_eve(fork: Fork) -> None:
    git(fork.upstream, "tag", "--delete", "v93")
    sign(fork.upstream, "v93", fork.keys.eve, "HEAD")
    fork.refused("the tag v93 has no signature of a key in allowed_signers (")


def moved(fork: Fork) -> None:
    git(fork.upstream, "tag", "--delete", "v93")
    sign(fork.upstream, "v93", fork.keys.ann, "v92^{commit}")
    fork.refused("the tag v93 is ")


def missing(fork: Fork) -> None:
    git(fork.upstream, "tag", "--delete", "v93")
    fork.refused(f"{fork.upstream} has no v93")


MENDED = (  # in an order in which one fork can do several
    *(between, edited, deleted, renamed, added, executable, binary, owns_more, conflicted_and_committed),
    *(old_settings, old_imports, copied, without_readme),
)
REFUSED = (
    *(claims, linked, broken_value, dirty, untracked, merging, detached, keyless, of_another_key, of_an_older_key),
    *(unsigned, light, replayed, tampered, of_eve, moved, missing),
)
IN_PATCH = {
    edited: "+# of cats",
    deleted: "deleted file mode 100644",
    renamed: "+++ b/docs/cats.md",
    added: "+++ b/conf/cats.py",
    executable: "new mode 100755",
    binary: "GIT binary patch",
    owns_more: "+U Makefile",
    conflicted_and_committed: "+<<<<<<< HEAD",
}


@pytest.mark.parametrize("did", [*MENDED, *REFUSED], ids=lambda did: did.__name__)
def test_a_fork_is_updated_whole_or_refused_with_the_file_and_the_cure(
    did: Callable[[Fork], None], make_fork: MakeFork
) -> None:
    fork = make_fork()
    did(fork)
    told = fork.update()
    if did in IN_PATCH:
        assert IN_PATCH[did] in fork.patch()
        assert f"was changed here, and is the platform's; {PATCH.format(tag='v93')} holds the change\n" in told
    elif not fork.refusal:
        assert PATCH.format(tag="v93") not in git(fork.checkout, "ls-files")


def test_an_update_shows_each_change_of_the_objects_once_for_all_regions(make_fork: MakeFork) -> None:
    told = make_fork("v92").update()
    assert told.startswith("Deployment cats: eu-prod, hk-ab, hk-prod, na-grey, na-prod\n")
    assert told.count("-  minReadySeconds: 92") == told.count("+  minReadySeconds: 93") == 1
    assert "this branch stands on v93 now" in told


def test_without_a_tag_the_newest_release_is_taken_that_is_not_refused(make_fork: MakeFork) -> None:
    fork = make_fork()
    lines = (fork.upstream / LIST).read_text().rstrip()
    commit(fork.upstream, {LIST: f"{lines} 2999-01-01 it loses requests\n"}, "A release is refused")
    fork.refused("v93 is refused from 2999-01-01 on: it loses requests; take another release")
    fork.update()
    assert "this branch stands on v92 now" in fork.run().stdout
    assert fork.run().stdout == "this branch stands on the newest release, 92.0.0\n"


def test_a_step_back_is_refused_and_the_same_release_again_heals_what_was_changed(make_fork: MakeFork) -> None:
    fork = make_fork("v92")
    fork.tag = "v92"
    fork.update()
    edited(fork)
    fork.update()
    assert "+# of cats" in fork.patch()
    fork.tag = "v91"
    fork.refused("v91 is older than this branch's release, 92.0.0")
    fork.update()


def test_the_patch_brings_the_change_back(make_fork: MakeFork) -> None:
    fork = make_fork()
    edited(fork)
    fork.update()
    git(fork.checkout, "apply", PATCH.format(tag="v93"))
    assert (fork.checkout / "Makefile").read_text().endswith("# of cats\n")


def test_regions_are_those_of_the_platforms_default_branch(make_fork: MakeFork) -> None:
    fork = make_fork()
    regions = (ROOT / "conf/regions.yaml").read_text().replace("host: hk.example.com", "host: moved.example.com")
    commit(fork.upstream, {"conf/regions.yaml": regions}, "A region moves")
    fork.update()
    assert (fork.checkout / "conf/regions.yaml").read_text() == regions


def test_a_release_with_other_libraries_is_rendered_in_an_environment_of_its_own(make_fork: MakeFork) -> None:
    fork = make_fork("v93")
    files: dict[str, str | bytes | None] = {
        name: re.sub("(?i)(jinja2)==[0-9.]+", r"\1==3.1.5", (ROOT / name).read_text())
        for name in ("pyproject.toml", "requirements.lock")
    }
    needs = "import jinja2\n\nassert jinja2.__version__ == '3.1.5'\n"
    commit(fork.upstream, {**files, TEMPLATES: (ROOT / TEMPLATES).read_text() + needs}, "Another library")
    sign(fork.upstream, "v94", fork.keys.ann)
    fork.tag, fork.seconds = "v94", 120
    assert "no object changes in any region" in fork.update()


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 3.0])
def test_an_update_that_is_killed_has_changed_nothing(seconds: float, make_fork: MakeFork) -> None:
    fork = make_fork()
    before = fork.state()
    with subprocess.Popen(
        fork.command(),
        cwd=fork.checkout,
        env=fork.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as running:
        time.sleep(seconds)
        os.killpg(running.pid, signal.SIGKILL)
    if fork.state() != before:  # it was quicker than that
        assert git(fork.checkout, "rev-parse", "HEAD^1") == before[0]
        assert git(fork.checkout, "status", "--porcelain") == ""
        return
    for left in fork.folder.glob("monopod-update-*"):
        shutil.rmtree(left)
    fork.update()


def test_check_tells_of_a_newer_release_and_changes_nothing(make_fork: MakeFork) -> None:
    fork = make_fork()
    before = fork.state()
    done = fork.run("--check")
    assert (done.returncode, done.stdout) == (3, "cats: it stands on 91.0.0, and a newer release is v93: monopod update\n")
    line = (fork.upstream / LIST).read_text().splitlines()
    line[1] += " 2030-01-31 of a leak"
    commit(fork.upstream, {LIST: "\n".join(line)}, "A release is refused")
    done = fork.run("--check", "--json")
    assert '"newest": "v93", "refused": "2030-01-31"' in done.stdout
    assert fork.state() == before
    git(fork.checkout, "checkout", "--quiet", "-B", "cats", "v93")
    done = fork.run("--check")
    assert (done.returncode, done.stdout) == (0, "cats: it stands on 93.0.0, the newest release\n")


def test_a_folder_that_is_no_clone_of_the_platform_is_told(make_fork: MakeFork, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "elsewhere")
    fork = make_fork()
    fork.checkout = tmp_path / "elsewhere"
    assert f"{fork.checkout} is not a clone of the platform" in fork.run().stderr


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(300))
def test_three_hundred_forks_are_updated_or_refused(seed: int, make_fork: MakeFork) -> None:
    chance = random.Random(seed)
    fork = make_fork(chance.choice(("v91", "v92")))
    for did in sorted(chance.sample(MENDED, chance.randint(0, 4)), key=MENDED.index):
        did(fork)
    if chance.random() < 0.4:
        chance.choice(REFUSED)(fork)
    fork.update()


def test_hunks_are_folded_with_the_names_of_their_files() -> None:
    text = (
        "# {0}\nkind: Service\nmetadata:\n  name: cats\n---\nkind: Deployment\nmetadata:\n  name: cats\nsize: {1}\nplace: {0}\n"
    )
    before = {name: text.format(name, 1) for name in ("eu", "hk", "na")}
    after = {"eu": text.format("eu", 2), "hk": text.format("hk", 2), "na": before["na"].partition("---")[0]}
    told = [*folded(before, after)]
    assert told[:5] == ["Deployment cats: eu, hk", "       name: cats", "    -size: 1", "    +size: 2", "     place: eu"]
    assert told[5] == "Deployment cats: na"
    assert [*folded(before, before)] == ["no object changes in any region"]
