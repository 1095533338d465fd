"""A relay whose only way out is a proxy: it asks the proxy for a tunnel, and says nothing of the address to it."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_WR, create_connection, socket
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from urllib.parse import urlsplit

import pytest

from tests.conf.local_servers import LocalServer, QuietHandler, running_server
from tests.conf.webhook import Webhook
from tests.relay.relays import Relay, notification, running_relay

HOST = "robot.invalid"  # no name server knows it, so the proxy alone can lead there


class Proxy(LocalServer):
    """A forwarding proxy. leads_to: the port to which every tunnel leads. seen: the head of each request."""

    def __init__(self, leads_to: int) -> None:
        super().__init__(Tunnels)
        self.leads_to, self.status = leads_to, 200
        self.seen: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Tunnels(QuietHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.seen.append(f"{self.requestline}\n{self.headers}")
        self.send_response(self.server.status)
        self.end_headers()
        self.close_connection = True
        if self.server.status == 200:
            with create_connection(("127.0.0.1", self.server.leads_to)) as far:
                back = threading.Thread(target=carry, args=(far, self.connection))
                back.start()
                carry(self.connection, far)
                back.join()

    def do_POST(self) -> None:
        self.server.seen.append(self.requestline)
        self.send_error(405)


def carry(source: socket, to: socket) -> None:
    """Carry bytes from a socket to another until the first one ends."""
    with suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
    with suppress(OSError):
        to.shutdown(SHUT_WR)


@pytest.fixture
def certificate(needs: Callable[[str, str], str], tmp_path: Path, robot: Webhook) -> Path:
    """A certificate of HOST, which the robot shows from now on."""
    key, found = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [needs("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", found,
         "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found, key)
    robot.socket = context.wrap_socket(robot.socket, server_side=True)
    return found


@pytest.fixture
def proxy(robot: Webhook) -> Iterator[Proxy]:
    with running_server(Proxy(robot.server_port)) as server:
        yield server


@contextmanager
def behind(proxy: str, certificate: Path, **environment: str) -> Iterator[Relay]:
    """Run a relay that has a proxy, "" for none. environment: beside it."""
    found = {"SSL_CERT_FILE": str(certificate), "HTTPS_PROXY": proxy, "NO_PROXY": "", **environment}
    address = {"robot": f"https://{HOST}:8443/send?key=hidden"}
    with running_relay(certificate.parent, address, **found) as relay:
        yield relay
        assert "hidden" not in relay.log.read_text()
        assert "Traceback" not in relay.log.read_text()


def test_a_message_goes_through_the_proxy_which_learns_the_host_alone(proxy: Proxy, certificate: Path, robot: Webhook) -> None:
    with behind(proxy.url, certificate) as relay:
        assert relay.post(notification()) == (200, "the message arrived\n")
    assert [message["msgtype"] for message in robot.received] == ["markdown"]
    (seen,) = proxy.seen
    assert seen.startswith(f"CONNECT {HOST}:8443 HTTP/1.1\n")
    assert "hidden" not in seen


def test_without_the_proxy_there_is_no_way(proxy: Proxy, certificate: Path, robot: Webhook) -> None:
    with behind("", certificate) as relay:
        status, words = relay.post(notification())
    assert (status, robot.received, proxy.seen) == (503, [], [])
    assert words.startswith("the message did not arrive: no answer")


@pytest.mark.parametrize("status", [403, 407, 502, 0])
def test_a_proxy_that_refuses_or_is_away_is_a_503_so_that_alertmanager_tries_again(
    proxy: Proxy, certificate: Path, robot: Webhook, status: int
) -> None:
    proxy.status = status
    with behind(proxy.url if status else "http://127.0.0.1:1", certificate) as relay:
        code, words = relay.post(notification())
    assert (code, robot.received) == (503, [])
    assert f"no answer ({'ClientHttpProxyError' if status else 'ClientProxyConnectionError'})" in words


def test_a_host_that_is_asked_over_plain_http_is_asked_without_the_proxy(proxy: Proxy, robot: Webhook, tmp_path: Path) -> None:
    plain = urlsplit(robot.url).netloc
    environment = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "", "RELAY_PLAIN_HOSTS": plain}
    with running_relay(tmp_path, {"robot": robot.url}, **environment) as relay:
        assert relay.post(notification()) == (200, "the message arrived\n")
    assert (len(robot.received), proxy.seen) == (1, [])
