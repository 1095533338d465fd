"""Builds real images: their context, `make image`, and their files."""

import contextlib
import json
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.locks import alone, shared
from tests.running import ROOT

# Builds hold this lock together, and a removal holds it alone. A build compares its steps with all images of the storage, and
# fails where one is removed meanwhile (https://github.com/containers/buildah/issues/5615).
STORAGE = "buildah-storage"
PARTS = (".dockerignore", "Dockerfile", "Makefile", "pyproject.toml", "requirements.lock", "value.py")
FOLDERS = ("conf", "image", "model", "src")
MARKER = "no-image-may-hold-this"
LITTER = {
    ".git/config": f"url = https://x:{MARKER}@example.com",
    ".env": f"TOKEN={MARKER}",
    "kubeconfig": f"token: {MARKER}",
    "src/.env": f"TOKEN={MARKER}",
    "src/deploy.key": MARKER,
    "model/.netrc": f"password {MARKER}",
    "tests/test_x.py": MARKER,
    "src/test_server.py": MARKER,
}


def context(folder: Path) -> Path:
    """Return a folder with the files of an image of the root's service, and others that must not get into the image."""
    folder.mkdir()
    for part in PARTS:
        shutil.copy(ROOT / part, folder)
    for part in FOLDERS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name, text in LITTER.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@dataclass(frozen=True)
class Built:
    """A build that has ended. seconds: from the command to its end. cores: processor seconds of the build."""

    status: int
    log: str
    seconds: float
    cores: float


def make_image(folder: Path, image: str, **variables: str) -> Built:
    """Run `make image` in a context, with these variables of make."""
    begin, busy = time.monotonic(), _busy()
    command = ["make", "image", f"IMAGE={image}", *(f"{name}={value}" for name, value in variables.items())]
    with shared(STORAGE):
        result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return Built(result.returncode, result.stdout, time.monotonic() - begin, _busy() - busy)


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def made(folder: Path, image: str, **variables: str) -> Built:
    """Build an image. Raises AssertionError with the log when that fails."""
    built = make_image(folder, image, **variables)
    assert built.status == 0, built.log
    return built


def failed(folder: Path, image: str, **variables: str) -> str:
    """Build an image, which must fail, and return the log."""
    with forgotten(image):
        built = make_image(folder, image, **variables, OPTIONS="--force-rm")  # without it the failed step leaves its container
    assert built.status != 0, built.log
    return built.log


def buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def about(image: str) -> dict[str, Any]:
    """Return an image's configuration, history and layers."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
    return found


def layers(image: str) -> list[str]:
    """Return the digests of an image's layers, the base's first."""
    return list(about(image)["OCIv1"]["rootfs"]["diff_ids"])


@contextlib.contextmanager
def mounted(image: str) -> Iterator[Path]:
    """Mount an image's files in a folder, for the length of a block."""
    container = buildah("from", "--pull-never", image)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


def run(image: str, *command: str) -> str:
    """Return what a command prints in a container of an image, as the image's user."""
    container = buildah("from", "--pull-never", image)
    try:
        return buildah("run", "--isolation", "chroot", container, "--", *command)
    finally:
        buildah("rm", container)


def refused(image: str, *command: str) -> tuple[int, str]:
    """Return the exit status of a command in a container of an image, and all that it prints."""
    container = buildah("from", "--pull-never", image)
    try:
        arguments = ["buildah", "run", "--isolation", "chroot", container, "--", *command]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout
    finally:
        buildah("rm", container)


@contextlib.contextmanager
def forgotten(image: str) -> Iterator[str]:
    """Remove an image after a block, if it was made."""
    try:
        yield image
    finally:
        remove(image)


def remove(*images: str) -> None:
    """Remove images that were made, once no build is at work. Names without an image are passed over."""
    with alone(STORAGE):
        for image in images:
            subprocess.run(["buildah", "rmi", "--force", image], capture_output=True)
