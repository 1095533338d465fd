"""A sink that speaks TLS and asks for a login: the right ones, and what an operator sees of wrong ones."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.charts.logs.shipper import append, came, container_file, cri_line, event, messages, numbered, shipping, until_counted
from tests.waiting import until

USER, PASSWORD = "shipper", 'pass:w\u00f6rd %"$'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str, str], str]) -> Path:
    """A folder with ca.crt, sink.pem that it signed for localhost, and other.crt of an authority that signed nothing."""
    folder = tmp_path_factory.mktemp("authority")
    new = [needs("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    new += ["-days", "2"]

    def run(*more: str) -> None:
        subprocess.run([*new, *more], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        run("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:false"]
    run(
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        *signed,
        "-keyout",
        "sink.key",
        "-out",
        "sink.crt",
    )
    (folder / "sink.pem").write_text((folder / "sink.key").read_text() + (folder / "sink.crt").read_text())
    return folder


@pytest.fixture
def closed(authority: Path) -> Iterator[BulkReceiver]:
    """A receiver that is closed to all but its user."""
    receiver = BulkReceiver(host="0.0.0.0", certificate=str(authority / "sink.pem"), login=f"{USER}:{PASSWORD}")
    yield receiver
    receiver.stop()


@pytest.fixture
def secret(authority: Path, tmp_path: Path) -> Path:
    """The folder of the Secret, as the kubelet mounts it: a login that is right, and the sink's authority."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "user").write_text(USER)
    (folder / "password").write_text(PASSWORD)
    (folder / "ca.crt").write_text((authority / "ca.crt").read_text())
    return folder


def settings(sink: BulkReceiver, secret: Path, host: str = "localhost") -> dict[str, str]:
    return {"SINK_URL": f"https://{host}:{sink.port}", "SINK_SECRET": str(secret)}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_lines_go_over_tls_to_a_sink_that_knows_the_login_by_a_name_or_an_address_of_its_certificate(
    closed: BulkReceiver, secret: Path, tmp_path: Path, host: str
) -> None:
    with shipping(tmp_path, closed.port, settings=settings(closed, secret, host)) as shipper:
        append(container_file(tmp_path / "pods"), cri_line(event("hi")))
        came(closed, "hi")
        assert PASSWORD not in shipper.out.read_text()


def test_a_wrong_password_is_printed_without_it_and_lines_wait_for_the_right_one(
    closed: BulkReceiver, secret: Path, tmp_path: Path
) -> None:
    (secret / "password").write_text("mistyped")
    with shipping(tmp_path, closed.port, settings=settings(closed, secret)) as shipper:
        append(container_file(tmp_path / "pods"), numbered(0, 10))
        until_counted(shipper, "shipper", "failed_requests", 1)
        printed = shipper.out.read_text()
        assert "refused a request as a whole: 401" in printed
        assert "mistyped" not in printed
        (secret / "password").write_text(PASSWORD + "\n")  # as the kubelet does where the Secret has changed
        came(closed, "line 9")
    assert messages(closed) == [f"line {number}" for number in range(10)]


def test_a_certificate_of_another_authority_is_printed_and_lines_wait_for_the_right_one(
    closed: BulkReceiver, authority: Path, secret: Path, tmp_path: Path
) -> None:
    (secret / "ca.crt").write_text((authority / "other.crt").read_text())
    with shipping(tmp_path, closed.port, settings=settings(closed, secret)) as shipper:
        append(container_file(tmp_path / "pods"), numbered(0, 10))
        until(lambda: "the sink did not answer: SSLCertVerificationError" in shipper.out.read_text())
        assert closed.requests == []
        (secret / "ca.crt").write_text((authority / "ca.crt").read_text())
        came(closed, "line 9")
    assert messages(closed) == [f"line {number}" for number in range(10)]


def test_a_sink_of_another_name_is_printed_and_gets_nothing(closed: BulkReceiver, secret: Path, tmp_path: Path) -> None:
    with shipping(tmp_path, closed.port, settings=settings(closed, secret, "127.0.0.2")) as shipper:
        append(container_file(tmp_path / "pods"), cri_line(event("hi")))
        until(lambda: "the sink did not answer: SSLCertVerificationError" in shipper.out.read_text())
    assert closed.requests == []
