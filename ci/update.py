"""`monopod update`: brings a branch to a release of the platform.

Two releases work on it. The branch's own fetches the tag, verifies its signature and lays the release out in a folder. That
release's update.py then makes one commit, whose parents are the branch and the tag, and moves the branch to it. Until then, all
happens beside the checkout, so an update that is broken off has changed nothing. Standard library only, but for the message of
--check: the new release runs in an environment that was made for the old one.

    update.py TAG COMMIT DEFAULT FOLDER    is how a release is called; GIT_DIR and GIT_WORK_TREE name the branch's checkout.

DEFAULT is the last commit of the platform's default branch, whose regions hold for every release. FOLDER/new is the release.
The caller deletes FOLDER. Later releases keep to this call.
"""

import ast
import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from ci.migrations import migrated
from ci.releases import RELEASES, Release, ReleaseError, read
from ci.same_platform import PLATFORM, UNCOMPARED, Entry, entries, faults, git, is_services, lay_out, line_of, owners_in

SIGNERS = "allowed_signers"
UNCHANGED = "nothing has changed"
VERSION = re.compile(r'^VERSION = "([\d.]+)"', re.MULTILINE)
SHOWN = 20  # paths
NEWER = 3  # the exit status of --check where a newer release is there
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
# Git takes an SSH signature alone, and no configuration of this machine has a say.
ONLY_SSH = ("gpg.openpgp.program=false", "gpg.x509.program=false", "gpg.ssh.program=ssh-keygen", "gpg.minTrustLevel=undefined")
PLAIN_FILES = ("filter.lfs.smudge=cat", "filter.lfs.process=", "filter.lfs.required=false", "core.autocrlf=false")


class UpdateError(Exception):
    """A branch is not updated, and nothing has changed. The text says why, and the cure."""


def update_command(arguments: Namespace) -> int:
    """Update the branch of the current folder, or tell by --check whether a newer release is there; return the exit status."""
    try:
        root, folder = _asked("rev-parse", "--show-toplevel"), _asked("rev-parse", "--absolute-git-dir")
        if not Path(root, "conf", "PATHS").is_file():
            raise UpdateError(f"{root} is not a clone of the platform: run this in the checkout of a service")
        os.environ |= {"GIT_DIR": folder, "GIT_WORK_TREE": root}
        url = arguments.url or os.environ.get("PLATFORM_URL") or _remote()
        if arguments.check:
            return _check(url, arguments.json)
        _must_be_clean()
        default = _fetched(url, "HEAD")
        tag = arguments.to or _newest(_listed(default), _version("HEAD"))
        if not tag:
            print(f"this branch stands on the newest release, {_version('HEAD')}")
            return 0
        with tempfile.TemporaryDirectory(prefix="monopod-update-") as folder:
            commit = _verified(url, tag, Path(folder))
            _must_be_listed_so(tag, commit, _listed(default))
            _lay_out_release(commit, Path(folder))
            path = f"{folder}/new/src:{folder}/new"
            command = [sys.executable, "-P", "-B", f"{folder}/new/ci/update.py", tag, commit, default, folder]
            return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
    except (UpdateError, ReleaseError) as error:
        print(f"{error}\n{UNCHANGED}", file=sys.stderr)
        return 1


# --- What the branch's own release does.


def _asked(*words: str) -> str:
    """Return what git says, without the last newline. Raises UpdateError with git's own words."""
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UpdateError(done.stderr.strip() or f"git {words[0]} failed")
    return done.stdout.strip()


def _remote() -> str:
    """Return the platform's address: that of the remote `platform`, or of `origin`, where a branch lies in the same project."""
    named = _asked("remote").split()
    for name in ("platform", "origin"):
        if name in named:
            return _asked("remote", "get-url", name)
    raise UpdateError("this clone has no remote: name the platform's repository by --from URL, or by PLATFORM_URL")


def _must_be_clean() -> None:
    """Raises UpdateError where the checkout holds work that is not committed, or stands on no branch."""
    if subprocess.run(["git", "symbolic-ref", "-q", "HEAD"], stdout=subprocess.DEVNULL, check=False).returncode:
        raise UpdateError("this checkout stands on no branch: end a rebase or a bisect, or run git switch <branch>")
    if Path(os.environ["GIT_DIR"], "MERGE_HEAD").exists():
        raise UpdateError("a merge is under way: commit it, or run git merge --abort")
    if found := _asked("status", "--porcelain"):
        raise UpdateError(
            f"this checkout has work that is not committed; commit it or put it away first:\n{_shown(found.splitlines())}"
        )


def _shown(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(f"    {line if line.isprintable() else ascii(line)}" for line in [*lines[:SHOWN], *more])


def _version(commit: str) -> str:
    """Return the platform's version that a commit has, or "" where nothing tells it."""
    found = VERSION.search(git("show", f"{commit}:src/monopod.py").decode(errors="replace"))
    return found[1] if found else ""


def _number(version: str) -> tuple[int, ...]:
    """Return a version or a tag as a number that can be compared: v0.3 and 0.3.0 are the same."""
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", version.removeprefix("v")).split(".") if part.isdecimal())


def _fetched(url: str, ref: str) -> str:
    """Bring what a reference of the platform's repository names here, without a reference to it, and return its name."""
    rows = (row.split("\t") for row in _asked("ls-remote", "--", url, ref).splitlines())
    found = next((name for name, full in rows if full == ref), "")
    if not found:
        shown = re.sub("//[^/@]*@", "//", url)
        raise UpdateError(
            f"{shown} has no {ref.removeprefix('refs/tags/')}; git ls-remote --tags lists the releases that it has"
        )
    _asked("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url, ref)
    return found


def _listed(default: str) -> list[Release]:
    """Return the releases that a commit of the platform's default branch lists. Raises ReleaseError for a wrong list."""
    return read(git("show", f"{default}:{RELEASES}").decode(errors="replace"))


def _newest(listed: Sequence[Release], version: str) -> str:
    """Return the newest release that is not refused and is newer than a version, or ""."""
    found = max((each.tag for each in listed if not each.refused), key=_number, default="")
    return found if _number(found) > _number(version) else ""


def _verified(url: str, tag: str, folder: Path) -> str:
    """Fetch a tag, and return its commit once its signature and its own name are right. Raises UpdateError."""
    signers = folder / SIGNERS
    try:
        signers.write_bytes(git("show", f"HEAD:{SIGNERS}"))
    except subprocess.CalledProcessError:
        raise UpdateError(
            f"this branch has no {SIGNERS}, the keys that may sign a release: docs/updating.md says how to add it"
        ) from None
    found = _fetched(url, f"refs/tags/{tag}")
    if git("cat-file", "-t", found).strip() != b"tag":
        raise UpdateError(f"the tag {tag} is not signed: ask the platform's maintainers to sign it, and take another release")
    head = git("cat-file", "tag", found).decode(errors="replace").partition("\n\n")[0].splitlines()
    fields = dict(line.split(" ", 1) for line in head)
    if fields.get("tag") != tag or fields.get("type") != "commit":
        raise UpdateError(
            f"the tag {tag} was made as {fields.get('tag')}: it is another release under a false name; tell the maintainers"
        )
    settings = [word for each in (*ONLY_SSH, f"gpg.ssh.allowedSignersFile={signers}") for word in ("-c", each)]
    done = subprocess.run(["git", *settings, "verify-tag", found], capture_output=True, text=True, check=False)
    if done.returncode:
        words = f"the tag {tag} has no signature of a key in {SIGNERS}"
        raise UpdateError(f"{words} ({' '.join(done.stderr.split()) or 'unsigned'}); docs/updating.md says how keys change")
    old = _version("HEAD")
    if _number(tag) < _number(old):
        raise UpdateError(
            f"{tag} is older than this branch's release, {old}: an update goes forward alone; git revert takes one back"
        )
    return fields["object"]


def _must_be_listed_so(tag: str, commit: str, listed: Sequence[Release]) -> None:
    """Raises UpdateError where the platform's list refuses a release, or has another commit for it."""
    for release in listed:
        if release.tag == tag and release.refused:
            raise UpdateError(f"{tag} is refused from {release.refused} on: {release.why}; take another release")
        if release.tag == tag and release.commit != commit:
            raise UpdateError(f"the tag {tag} is {commit[:8]}, and {RELEASES} lists {release.commit[:8]}: tell the maintainers")


def _lay_out_release(commit: str, folder: Path) -> None:
    """Write a release's files into FOLDER/new, as git holds them."""
    env = {**os.environ, "GIT_INDEX_FILE": str(folder / "release")}
    plain = [word for each in PLAIN_FILES for word in ("-c", each)]
    for words in (("read-tree", commit), ("checkout-index", "--all", f"--prefix={folder}/new/")):
        subprocess.run(["git", *plain, *words], env=env, check=True)


def _check(url: str, as_json: bool) -> int:
    """Tell whether a newer release is there, and when the branch's own is refused."""
    from conf.remote import notices

    version, listed = _version("HEAD"), _listed(_fetched(url, "HEAD"))
    newest = _newest(listed, version)
    refused = next((each for each in listed if each.refused and _number(each.tag) == _number(version)), None)
    words = f"it stands on {version}, " + (
        f"and a newer release is {newest}: monopod update" if newest else "the newest release"
    )
    words += f"; {refused.tag} is refused from {refused.refused} on: {refused.why}" if refused else ""
    facts = {"event": "update", "version": version, "newest": newest, "refused": str(refused.refused) if refused else ""}
    branch = os.environ.get("CI_COMMIT_REF_NAME") or _asked("rev-parse", "--abbrev-ref", "HEAD")
    print(json.dumps({"branch": branch, **facts}) if as_json else f"{branch}: {words}")
    if newest or refused:
        notices.send(f"{branch}: {words}", {**facts, "branch": branch}, os.environ, partial(print, file=sys.stderr))
    return NEWER if newest else 0


# --- What the new release does.


def main(tag: str, commit: str, default: str, folder: str) -> int:
    """Make the commit and move the branch to it; return the exit status."""
    try:
        _update(tag, commit, default, Path(folder))
    except UpdateError as error:
        print(f"{error}\n{UNCHANGED}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd[:4]))} failed, as it says above\n{UNCHANGED}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _update(tag: str, commit: str, default: str, folder: Path) -> None:
    head = git("rev-parse", "HEAD").decode().strip()
    own, release, newest = entries(head), entries(commit), entries(default)
    release |= {path: newest[path] for path in UNCOMPARED if path in newest}
    known = owners_in(release)
    base = _base(own, head, commit)
    were = entries(base)
    owned = owners_in(were)
    _refuse_claimed(own, owned, known, tag)
    result = {path: entry for path, entry in release.items() if not is_services(path, known)}
    result |= {path: entry for path, entry in own.items() if is_services(path, known)}
    result, said = _migrated(result, known)
    changed = sorted(
        path
        for path in own.keys() | were.keys()
        if own.get(path) != were.get(path) and not (path in UNCOMPARED or is_services(path, owned) or is_services(path, known))
    )
    if changed:
        patch = git("--literal-pathspecs", "diff-tree", "-p", "--binary", "--full-index", base, head, "--", *changed)
        kept = f"docs/service/before-{tag}.patch"
        result[kept] = Entry("100644", _written(patch))
        said += [f"{path}: was changed here, and is the platform's; {kept} holds the change" for path in changed]
    if found := faults(result, release, known, known):
        lines = _shown([f"{path}: {note}" for path, note in sorted(found.items())])
        raise UpdateError(f"these files of the service may not be as they are; change them and commit that:\n{lines}")
    if result == own and _stands_on(head, commit):
        print(f"this branch stands on {tag} already")
        return
    print(*said, sep="\n", end="\n" if said else "")
    for side, files in (("before", own), ("after", result)):
        lay_out(
            {path: each for path, each in files.items() if each.mode in ("100644", "100755")},
            folder / side,
            Path(os.environ["GIT_WORK_TREE"]),
        )
    print(*_announced(_version(base)), *_rendered_changes(folder, tag), sep="\n")
    made = _commit(result, (head, commit), f"Update the platform to {tag}", folder)
    _move(made, tag)
    print(f"this branch stands on {tag} now, by the commit {made[:8]}; push it, or take it back: git reset --keep {head[:8]}")


def _stands_on(head: str, commit: str) -> bool:
    return not subprocess.run(["git", "merge-base", "--is-ancestor", commit, head], check=False).returncode


def _base(own: Mapping[str, Entry], head: str, commit: str) -> str:
    """Return the platform's commit whose files are nearest to the branch's: the last common one, or a listed release."""
    common = subprocess.run(["git", "merge-base", head, commit], capture_output=True, text=True, check=False).stdout.strip()
    listed = [each.commit for each in read((PLATFORM / RELEASES).read_text(encoding="utf-8"))]
    there = [each for each in (common, *listed, commit) if each and _is_here(each)]

    def distance(candidate: str) -> int:
        files = entries(candidate)
        known = owners_in(files)
        return sum(own.get(path) != files.get(path) for path in own.keys() | files.keys() if not is_services(path, known))

    return min(there, key=distance)


def _is_here(commit: str) -> bool:
    return not subprocess.run(
        ["git", "cat-file", "-e", f"{commit}^{{commit}}"], stderr=subprocess.DEVNULL, check=False
    ).returncode


def _refuse_claimed(own: Mapping[str, Entry], owned: Mapping[str, str], known: Mapping[str, str], tag: str) -> None:
    """Raises UpdateError where the release takes paths for the platform that were the service's."""
    claimed = sorted(path for path in own if is_services(path, owned) and not is_services(path, known))
    if claimed:
        lines = _shown(
            [f"{path}: {line_of(path, known) or 'no line of conf/PATHS'} is the platform's in {tag}" for path in claimed]
        )
        services = ", ".join(path for path, owner in known.items() if owner == "U")
        raise UpdateError(f"move these files of yours to a path of the service ({services}), and commit that:\n{lines}")


def _written(content: bytes) -> str:
    """Write a file's content into git, and return the object's name."""
    command = ["git", "hash-object", "-w", "--stdin"]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def _migrated(files: Mapping[str, Entry], known: Mapping[str, str]) -> tuple[dict[str, Entry], list[str]]:
    """Return the files with the service's own ones rewritten for this release, and a line for each change."""
    api, found, said = _names_of_api(), dict(files), []
    for path, entry in sorted(files.items()):
        if is_services(path, known) and path.endswith(".py") and entry.mode in ("100644", "100755"):
            content = git("cat-file", "blob", entry.name)
            try:
                text, changes = migrated(path, content.decode(), api)
            except UnicodeDecodeError:
                continue
            if changes:
                found[path] = Entry(entry.mode, _written(text.encode()))
                said += changes
    return found, said


def _names_of_api() -> list[str]:
    for node in ast.parse((PLATFORM / "src/serving/api.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _announced(version: str) -> Iterator[str]:
    """Yield what the releases after a version change in objects, by conf/RENDERED: RELEASE KIND PATH WHY."""
    for line in (PLATFORM / "conf/RENDERED").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") and _number(line.split(" ", 1)[0]) > _number(version):
            yield "{} changes {} {}: {}".format(*line.split(" ", 3))


def _rendered_changes(folder: Path, tag: str) -> Iterator[str]:
    """Check the service by the release, and yield what changes in the objects of each region. Raises UpdateError."""
    done = _run(folder, "after", "check")
    if done.returncode:
        raise UpdateError(
            f"`monopod check` of {tag} refuses the service:\n{done.stdout}{done.stderr}cure that and commit it first"
        )
    if _run(folder, "before", "render", "--output", str(folder / "objects-before")).returncode:
        yield "this branch's own release cannot render the service, so no change of its objects is shown"
        return
    done = _run(folder, "after", "render", "--output", str(folder / "objects-after"))
    if done.returncode:
        raise UpdateError(f"`monopod render` of {tag} fails: {done.stderr.strip()}")
    yield from folded(_texts(folder / "objects-before"), _texts(folder / "objects-after"))


def _texts(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml"))}


def folded(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Yield the differences of rendered files, each once with its object and with all files in which it is found."""
    shown: dict[tuple[str, ...], list[str]] = {}
    places: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = _objects(before.get(name, "")), _objects(after.get(name, ""))
        for each in dict.fromkeys([*old, *new]):
            hunk: list[str] = []
            lines = difflib.unified_diff(old.get(each, []), new.get(each, []), n=1, lineterm="")
            for line in [*lines, "@@"][2:]:
                if not line.startswith("@@"):
                    hunk.append(line)
                elif hunk:
                    key = (each, *(line for line in hunk if not line.startswith(" ")))
                    shown.setdefault(key, hunk)
                    places.setdefault(key, []).append(name)
                    hunk = []
    if not shown:
        yield "no object changes in any region"
    for key, hunk in shown.items():
        yield f"{key[0]}: {', '.join(dict.fromkeys(places[key]))}"
        yield from (f"    {line}" for line in hunk)


def _objects(text: str) -> dict[str, list[str]]:
    """Return the lines of each object of a rendered file, by its kind and name."""
    found = {}
    for part in re.split(r"^---$", text, flags=re.MULTILINE):
        kind, name = (re.search(rf"^{key}: \"?([\w.-]+)", part, re.MULTILINE) for key in ("kind", "  name"))
        if kind and name:
            found[f"{kind[1]} {name[1]}"] = part.strip("\n").splitlines()
    return found


def _run(folder: Path, side: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of one side's own code upon its own files, in an environment that has what that code depends on."""
    root = folder / side
    env = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        del env[name]
    command = [_python(root, folder), "-P", "-m", "monopod", *words]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def _python(root: Path, folder: Path) -> str:
    """Return a Python that has what a release's check and render need: this one, or else a new environment's."""
    needed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["check"]
    if all(_has(each) for each in needed):
        return sys.executable
    made = folder / f"environment-{root.name}"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", made], check=True)
        lock = str(root / "requirements.lock")
        pip = [f"{made}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", lock]
        subprocess.run([*pip, *needed], check=True)
    return str(made / "bin/python")


def _has(requirement: str) -> bool:
    name, _, version = requirement.partition("==")
    try:
        return metadata.version(name) == version
    except metadata.PackageNotFoundError:
        return False


def _commit(files: Mapping[str, Entry], parents: Sequence[str], message: str, folder: Path) -> str:
    """Make a commit of these files alone, which no branch has yet, and return it. Raises UpdateError."""
    env = {**os.environ, "GIT_INDEX_FILE": str(folder / "index")}
    rows = "".join(f"{entry.mode} {entry.name}\t{path}\0" for path, entry in files.items())
    subprocess.run(["git", "update-index", "-z", "--index-info"], input=os.fsencode(rows), env=env, check=True)
    tree = subprocess.run(["git", "write-tree"], env=env, check=True, stdout=subprocess.PIPE).stdout.decode().strip()
    return _asked("commit-tree", tree, *(word for parent in parents for word in ("-p", parent)), "-m", message)


def _move(commit: str, tag: str) -> None:
    """Move the branch and the checkout to a commit. Git refuses where either has changed since. Raises UpdateError.

    No Ctrl-C reaches git meanwhile. Should the machine fail just then, `git reset --hard` brings the branch back.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = ["git", *NO_HOOKS, "merge", "--quiet", "--ff-only", commit]
    done = subprocess.run(
        command, cwd=os.environ["GIT_WORK_TREE"], capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        raise UpdateError(f"the branch cannot move to {tag}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
