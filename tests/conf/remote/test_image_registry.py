"""An image registry on a socket: digests, logins, redirects and refusals."""

import base64
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conf.base.image_names import image
from conf.remote import image_registry, safe_http
from conf.remote.image_registry import Login, NotThere, RegistryError, digest, files, location, login, resolved
from tests.conf.golden import regions
from tests.conf.image_registry import DOCKER, OCI_INDEX, Registry, own_address, running_registry

OF_ANN = {"REGISTRY_PULL_USER": "ann", "REGISTRY_PULL_PASSWORD": "hidden"}
AS_ANN = "Basic " + base64.b64encode(b"ann:hidden").decode()
NOBODY: Mapping[str, str] = {}
SOME = "sha256:" + "0" * 64


@pytest.fixture
def hub() -> Iterator[Registry]:
    with running_registry() as server:
        yield server


@pytest.fixture
def guarded(hub: Registry) -> Registry:
    hub.user, hub.password = "ann", "hidden"
    hub.push("like/demo", "1", "first")
    return hub


def found(hub: Registry, name: str = "like/demo:1", environment: Mapping[str, str] = NOBODY) -> str:
    return resolved(f"{hub.host}/{name}", regions(), environment)


def refusal(hub: Registry, name: str = "like/demo:1", environment: Mapping[str, str] = NOBODY) -> str:
    with pytest.raises(RegistryError) as raised:
        found(hub, name, environment)
    assert "hidden" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kind", [*image_registry.TYPES, f"{OCI_INDEX}; charset=utf-8"])
def test_a_tag_becomes_the_digest_of_its_manifest_or_index_and_stays_beside_it(hub: Registry, kind: str) -> None:
    first = hub.push("like/demo", "1", "first", kind)
    assert found(hub) == f"{hub.host}/like/demo:1@{first}"
    second = hub.push("like/demo", "1", "second", kind)
    assert second != first
    assert found(hub) == f"{hub.host}/like/demo:1@{second}"
    assert [path for path, _ in hub.received] == ["/v2/like/demo/manifests/1"] * 2


def test_a_name_without_a_tag_is_the_latest_and_a_digest_is_not_asked_for(hub: Registry) -> None:
    latest = hub.push("like/demo", "latest", "the last")
    assert found(hub, "like/demo") == f"{hub.host}/like/demo@{latest}"
    assert found(hub, f"like/demo:1@{SOME}") == f"{hub.host}/like/demo:1@{SOME}"
    assert len(hub.received) == 1


def test_without_a_digest_header_the_digest_is_computed(hub: Registry) -> None:
    first = hub.push("like/demo", "1", "first")
    for said in ("", "sha512:" + "0" * 128):
        hub.headers = {"Docker-Content-Digest": said}
        assert found(hub) == f"{hub.host}/like/demo:1@{first}"


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(hub: Registry) -> None:
    first = hub.push("like/demo", "1", "first")
    hub.headers = {"Docker-Content-Digest": SOME}
    assert f"with the digest {first}, not {SOME}" in refusal(hub)
    hub.headers = {}
    hub.held["like/demo", SOME] = hub.held["like/demo", "1"]
    with pytest.raises(RegistryError, match="not sha256:0000"):
        digest(image(f"{hub.host}/like/demo@{SOME}"), regions(), NOBODY)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("demo:1", ("docker.io", "library/demo")),
        ("like/demo:1", ("docker.io", "like/demo")),
        ("docker.io/demo:1", ("docker.io", "library/demo")),
        ("docker.io/like/demo:1", ("docker.io", "like/demo")),
        ("localhost/like/demo", ("localhost", "like/demo")),
        ("registry.lan/demo", ("registry.lan", "demo")),
        ("registry:5000/a/b/demo:1", ("registry:5000", "a/b/demo")),
    ],
)
def test_a_name_names_its_registry_as_container_runtimes_read_it(name: str, at: tuple[str, str]) -> None:
    assert location(image(name)) == at


@pytest.mark.parametrize("by", ["Basic", "Bearer"])
def test_a_registry_that_asks_for_a_login_gets_it(guarded: Registry, by: str) -> None:
    guarded.by = by
    assert found(guarded, environment=OF_ANN).partition("@")[2].startswith("sha256:")
    who = [who for _, who in guarded.received]
    assert who[:2] == ["", AS_ANN]
    if by == "Bearer":
        assert guarded.received[1][0] == "/token?service=the+registry&scope=repository%3Alike%2Fdemo%3Apull"
        assert who[2].startswith("Bearer token-")


def test_a_missing_login_is_told_how_to_set_one_and_a_wrong_password_where_it_is_from(guarded: Registry) -> None:
    for by in ("Basic", "Bearer"):
        guarded.by = by
        told = refusal(guarded)
        assert "for like/demo; set REGISTRY_PULL_USER" in told
        told = refusal(guarded, environment={**OF_ANN, "REGISTRY_PULL_PASSWORD": "wrong-hidden"})
        assert "not let ann (from REGISTRY_PULL_USER" in told
    guarded.by = "Negotiate"
    assert "asks for a login by negotiate" in refusal(guarded, environment=OF_ANN)


def test_a_file_of_logins_is_used_where_the_environment_has_no_login(guarded: Registry, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {guarded.host: {"auth": base64.b64encode(b"ann:hidden").decode()}}}))
    assert found(guarded, environment={"REGISTRY_AUTH_FILE": str(file)})


def test_the_environments_password_goes_to_no_registry_that_nobody_named(guarded: Registry) -> None:
    named = image(f"{guarded.host}/like/demo:1")
    with pytest.raises(RegistryError, match="asks for a login"):
        digest(named, regions(), OF_ANN)  # as a history names it
    assert {who for _, who in guarded.received} == {""}
    assert digest(named, regions(), {**OF_ANN, "CI_REGISTRY": guarded.host})
    assert digest(named, replace(regions(), registry=f"{guarded.host}/like"), OF_ANN)


def test_a_redirect_is_followed_and_takes_the_password_to_no_other_host(guarded: Registry) -> None:
    guarded.by = "Basic"
    with running_registry() as other:
        first = other.push("like/demo", "1", "first")
        other.user, other.password, other.by = "ann", "hidden", "Basic"
        guarded.user, guarded.redirect = "", f"http://{other.host}/v2/like/demo/manifests/1"
        assert "asks for a login" in refusal(guarded)
        guarded.received.clear()
        other.received.clear()
        refusal(guarded, environment=OF_ANN)
        assert {who for _, who in other.received} == {""}
        other.user = ""
        assert found(guarded).endswith(first)


def test_a_password_goes_to_no_token_service_that_another_host_names(guarded: Registry) -> None:
    with running_registry() as other:
        other.push("like/demo", "1", "first")
        other.user, other.password = "ann", "hidden"
        guarded.user, guarded.redirect = "", f"http://{other.host}/v2/like/demo/manifests/1"
        told = refusal(guarded, environment=OF_ANN)
        assert f"redirects to http://{other.host}, which asks for a login" in told
        assert "name that registry in the image's name" in told
        assert {who for _, who in other.received} == {""}


def test_a_redirect_or_a_token_service_over_http_elsewhere_is_refused(guarded: Registry) -> None:
    guarded.realm = "http://tokens.example.com/token"
    told = refusal(guarded, environment=OF_ANN)
    assert "tokens.example.com', which is not HTTPS" in told
    assert "tokens.example.com is meant to speak" in told
    guarded.redirect = "http://mirror.example.com/like/demo"
    assert "mirror.example.com', which is not HTTPS" in refusal(guarded)
    guarded.redirect = "file:///etc/passwd"
    assert "answers with status 307" in refusal(guarded)


def test_a_token_service_at_no_address_is_told(guarded: Registry) -> None:
    guarded.realm = "https://["
    assert "refers to an invalid address" in refusal(guarded, environment=OF_ANN)


def test_of_several_challenges_in_one_header_the_first_is_taken(guarded: Registry) -> None:
    guarded.realm = f'http://{guarded.host}/token",service="the registry",Basic realm="Registry'
    assert found(guarded, environment=OF_ANN)


def test_endless_redirects_are_given_up(guarded: Registry) -> None:
    guarded.redirect = f"http://{guarded.host}/v2/like/demo/manifests/1"
    assert "answers with status 307" in refusal(guarded)
    assert len(guarded.received) < 10


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "asks for a login for like/demo"),
        (404, "was it pushed (make image, make push)?"),
        (429, "refuses further requests for now (429)"),
        (500, "status 500 (not today); run it again"),
        (400, "over HTTP; if it speaks HTTPS, take it"),
        (418, "status 418 (not today); is it a registry"),
    ],
)
def test_each_refusal_comes_with_its_cure(hub: Registry, status: int, words: str) -> None:
    hub.status = status
    assert words in refusal(hub)


def test_a_missing_image_is_told_apart_from_a_registry_that_does_not_answer(hub: Registry) -> None:
    with pytest.raises(NotThere, match="it was deleted there, or never pushed"):
        digest(image(f"{hub.host}/like/demo@{SOME}"), regions(), NOBODY)
    hub.status = 503
    with pytest.raises(RegistryError) as raised:
        digest(image(f"{hub.host}/like/demo@{SOME}"), regions(), NOBODY)
    assert not isinstance(raised.value, NotThere)


def test_an_answer_that_is_no_manifest_is_refused(hub: Registry) -> None:
    hub.held["like/demo", "1"] = ("text/html", b"<h1>Sign in</h1>")
    assert "answers with text/html for" in refusal(hub)
    hub.held["like/demo", "1"] = ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}")
    assert "is not the manifest of an image" in refusal(hub)
    hub.held["like/demo", "1"] = (DOCKER, b" " * (image_registry.MAX_MANIFEST_BYTES + 1))
    assert "sends more than 4194304 bytes" in refusal(hub)


def test_a_token_service_that_gives_no_token_is_told(guarded: Registry) -> None:
    with running_registry() as other:
        guarded.realm = f"http://{other.host}/v2/like/demo/manifests/1"
        told = refusal(guarded, environment=OF_ANN)
        assert f"refers to {other.host} for a token" in told
        assert "which sends none (status 404)" in told
        for body in (b"[]", b'{"token": "a b"}', b'{"token": 3}', b"{"):
            other.held["like/demo", "1"] = (DOCKER, body)
            guarded.realm = f"http://{other.host}/v2/like/demo/manifests/1"
            other.redirect = ""
            assert "for a token, which sends none" in refusal(guarded, environment=OF_ANN)


def test_a_registry_that_answers_byte_by_byte_is_given_up_in_time(hub: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.push("like/demo", "1", "first")
    hub.slow = True
    monkeypatch.setattr(image_registry, "TIMEOUT", 1.0)
    begin = time.monotonic()
    assert f"registry {hub.host} has not answered in 1 s" in refusal(hub)
    assert time.monotonic() - begin < 5


def test_a_refusal_that_is_cut_off_or_stalls_is_told(hub: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.cut = True
    assert "does not answer: [Errno 104]" in refusal(hub)
    hub.cut, hub.slow = False, True
    monkeypatch.setattr(safe_http, "READ_TIMEOUT", 0.1)
    assert f"http://{hub.host} does not answer: timed out" in refusal(hub)


def test_an_address_without_a_server_is_told_with_what_to_check() -> None:
    with running_registry() as gone:
        pass
    told = refusal(gone)
    assert f"{gone.host} cannot be asked: http://{gone.host} does not answer: [Errno 111]" in told
    assert "One that speaks HTTP must stand in" in told


def test_plain_http_is_used_for_registries_that_regions_yaml_names_and_others_are_told_how() -> None:
    with running_registry(own_address()) as server:
        first = server.push("like/demo", "1", "first")
        assert "if it speaks HTTP alone" in refusal(server)
        named = replace(regions(), http_registries=(server.host,))
        assert resolved(f"{server.host}/like/demo:1", named, NOBODY).endswith(first)


def test_https_needs_a_certificate_of_a_known_authority(
    tmp_path: Path, needs: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("openssl", "openssl")
    address, key, known = own_address(), str(tmp_path / "key.pem"), str(tmp_path / "known.pem")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{address}", "-keyout", key, "-out", known]
    subprocess.run([*new, *name], check=True, capture_output=True)
    speaks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    speaks.load_cert_chain(known, key)
    monkeypatch.setenv("NO_PROXY", "*")
    with running_registry(address, speaks) as server:
        first = server.push("like/demo", "1", "first")
        assert "SSL_CERT_FILE names a file" in refusal(server)
        monkeypatch.setenv("SSL_CERT_FILE", known)
        assert found(server).endswith(first)


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
