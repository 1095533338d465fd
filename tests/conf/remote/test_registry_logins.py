"""Logins are found where docker and buildah write them, and a file that cannot be read holds none."""

import base64
import json
import os
from pathlib import Path

import pytest

from conf.remote.registry_logins import Login, files, login

AUTH = base64.b64encode(b"ann:hidden").decode()


def of_file(file: Path) -> Login | None:
    return login("registry.lan:5000", (), {"REGISTRY_AUTH_FILE": str(file)})


@pytest.mark.parametrize("name", ["registry.lan:5000", "http://registry.lan:5000/v2/", "registry.lan:5000/like"])
def test_a_file_of_docker_or_buildah_holds_a_login(tmp_path: Path, name: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({"auths": {"other.example.com": {"auth": "bm9ib2R5Og=="}, "kept.lan": {}, name: {"auth": AUTH}}})
    )
    assert (
        of_file(file) == login("registry.lan:5000", (), {"DOCKER_CONFIG": str(tmp_path)}) == Login("ann", "hidden", str(file))
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", '{"auths": []}', '{"auths": {"registry.lan:5000": {"auth": "?"}}}'])
def test_a_broken_file_holds_no_login(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert of_file(tmp_path / "config.json") is None


def test_a_file_without_an_end_or_a_writer_holds_no_login(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert of_file(tmp_path / "pipe") is None
    assert of_file(Path("/dev/zero")) is None


def test_logins_are_where_docker_and_buildah_write_them() -> None:
    assert files({"REGISTRY_AUTH_FILE": "/a"}) == [Path("/a")]
    assert files({"XDG_RUNTIME_DIR": "/r", "HOME": "/h"}) == [Path("/r/containers/auth.json"), Path("/h/.docker/config.json")]
    own = Path(f"/run/containers/{os.getuid()}/auth.json")  # of buildah and podman, in a container of a job for instance
    assert files({"DOCKER_CONFIG": "/d", "HOME": "/h"}) == [own, Path("/d/config.json")]


def test_the_environments_password_goes_to_the_named_hosts_alone() -> None:
    environment = {"REGISTRY_PULL_USER": "ann", "REGISTRY_PULL_PASSWORD": "hidden", "REGISTRY_AUTH_FILE": "/none"}
    found = login("registry.lan", ("registry.lan",), environment)
    assert found
    assert (found.user, found.password) == ("ann", "hidden")
    assert "hidden" not in repr(found)
    assert login("registry.lan", ("other.lan", ""), environment) is None
