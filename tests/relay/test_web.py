"""The relay as its image runs it, between a client that does what Alertmanager does and a robot on a socket."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

import pytest
from aiohttp import web

from relay.delivery import Receiver
from relay.web import RateLimit, RelaySettings, application
from tests.conf.webhook import Webhook
from tests.relay.relays import GROUP, Relay, alert, notification, running_relay
from tests.running import get
from tests.waiting import until

HIDDEN = "hidden"  # stands in the robot's address
MAX_BODY_BYTES = 8 * 2**20


@pytest.fixture(autouse=True)
def nothing_tells_the_address(relay: Relay) -> Iterator[None]:
    """In every test the log is JSON, line by line, and does not hold the robot's address."""
    yield
    assert relay.lines() is not None
    assert HIDDEN not in relay.log.read_text()
    assert "Traceback" not in relay.log.read_text()


def test_a_robot_gets_a_notification_as_one_markdown_message(relay: Relay, robot: Webhook) -> None:
    assert relay.post(notification()) == (200, "the message arrived\n")
    (message,) = robot.received
    assert message["msgtype"] == "markdown"
    assert "**1 firing**</font> like/cats in hk\n" in message["markdown"]["content"]
    line = relay.lines()[-1]
    assert {name: line[name] for name in ("level", "message", "to", "status", "group", "firing", "resolved")} == {
        "level": "info", "message": "the message arrived", "to": "robot", "status": 200,
        "group": GROUP, "firing": 1, "resolved": 0,
    }  # fmt: skip


def test_another_webhook_gets_the_text_and_the_counts(relay: Relay, robot: Webhook) -> None:
    robot.answer = (204, b"")
    assert relay.post(notification([alert(alertname="A"), alert("resolved", alertname="B")]), to="webhook")[0] == 200
    (message,) = robot.received
    assert "**1 firing, 1 resolved**" in message.pop("text")
    assert message == {"event": "alerts", "group": GROUP, "firing": 1, "resolved": 1}


def test_what_a_robot_does_not_take_is_a_503_so_that_alertmanager_tries_again(relay: Relay, robot: Webhook) -> None:
    answers = [
        ((200, b'{"errcode": 45009, "errmsg": "api freq out of limit"}'), "errcode 45009"),
        ((200, b'{"errcode": 93000, "errmsg": "invalid webhook url, hidden"}'), "errcode 93000"),
        ((200, b"<html>hidden</html>"), "an answer without errcode"),
        ((200, b" " * 50_000 + b'{"errcode": 0}'), "an answer without errcode"),
        ((404, b'{"errcode": 0}'), "status 404"),
        ((500, b""), "status 500"),
    ]
    for robot.answer, words in answers:
        assert relay.post(notification()) == (503, f"the message did not arrive: {words}\n")
        assert relay.lines()[-1]["level"] == "warning"
    robot.answer = (200, b'{"errcode": 0}')
    assert relay.post(notification())[0] == 200


def test_a_redirect_is_not_followed(relay: Relay, robot: Webhook) -> None:
    robot.headers = {"Location": robot.url}
    for status in (301, 302, 303, 307, 308):
        robot.answer = (status, b'{"errcode": 0}')
        assert relay.post(notification()) == (503, f"the message did not arrive: status {status}\n")
    assert len(robot.received) == 5


def test_a_robot_that_answers_byte_by_byte_is_given_up_and_holds_nobody_else(relay: Relay, robot: Webhook) -> None:
    robot.slow = True
    took: list[float] = []

    def post() -> None:
        began = time.monotonic()
        status, words = relay.post(notification())
        assert status == 503
        assert "no answer in 2 s" in words
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=post) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert get(f"{relay.url}/healthz")[0] == 200
    for thread in threads:
        thread.join()
    assert len(took) == 10
    assert max(took) < 15  # one after the other they would take ten times two seconds


def test_a_robot_that_speaks_no_http_or_says_nothing_is_given_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        address = {"robot": f"http://{host}/{HIDDEN}"}
        with running_relay(tmp_path_factory.mktemp("own"), address, RELAY_PLAIN_HOSTS=host, RELAY_TIMEOUT="0.5") as relay:
            for says in (b"", b"HTTP/1.1 200 OK\r\nX: ", b"SSH-2.0-OpenSSH_9.2\r\n", b"\xff" * 100_000):
                with answering(listener, says):
                    status, words = relay.post(notification())
                assert status == 503
                assert words.startswith("the message did not arrive: no answer")
            assert HIDDEN not in relay.log.read_text()


@contextmanager
def answering(listener: socket.socket, says: bytes) -> Iterator[None]:
    """Send some bytes to the next client, and hold its connection until the end of the block."""
    over = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(says)
            over.wait(20)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_robot_that_is_away_is_a_503(relay: Relay, robot: Webhook) -> None:
    (relay.secrets / "robot").write_text(f"https://127.0.0.1:1/{HIDDEN}")
    status, words = relay.post(notification())
    assert status == 503
    assert "no answer (ClientConnectorError)" in words


ADDRESSES = [
    ("http://127.0.0.1:1/hidden", "the address in the key robot of the Secret is not https"),
    ("http://localhost/hidden", "the address in the key robot of the Secret is not https"),
    ("file:///hidden", "the key robot of the Secret is not an address"),
    ("hidden", "the key robot of the Secret is not an address"),
    ("", "the key robot of the Secret is not an address"),
    ("https://[hidden", "the key robot of the Secret is not an address"),
    ("https://a/hidden hidden", "the key robot of the Secret is not an address"),
    ("https://a/hidden\nhttps://b/", "the key robot of the Secret is not an address"),
    ("https://猫/hidden", "the key robot of the Secret is not an address"),
    ("https://a/" + "hidden" * 1000, "the key robot of the Secret is not an address"),
    (None, "the Secret has no key robot"),
]


def test_an_address_that_cannot_be_used_is_said_at_once_by_the_probe_and_to_alertmanager(relay: Relay) -> None:
    assert get(f"{relay.url}/readyz") == (200, b"ok\n")
    for address, words in ADDRESSES:
        if address is None:
            (relay.secrets / "robot").unlink()
        else:
            (relay.secrets / "robot").write_text(address)
        assert get(f"{relay.url}/readyz") == (503, f"{words}\n".encode())
        assert relay.post(notification()) == (503, f"the message did not arrive: {words}\n")
    assert get(f"{relay.url}/healthz") == (200, b"ok\n")
    assert get(f"{relay.url}/readyz")[0] == get(f"{relay.url}/readyz")[0] == 503
    logged = [line["message"] for line in relay.lines() if line["message"].startswith("not ready")]
    assert logged == [f"not ready: {words}" for words, _ in groupby(words for _, words in ADDRESSES)]


def test_a_dead_mans_switch_without_an_address_keeps_no_alert_from_people(
    tmp_path_factory: pytest.TempPathFactory, robot: Webhook
) -> None:
    plain = f"127.0.0.1:{robot.server_port}"
    with running_relay(
        tmp_path_factory.mktemp("switch"), {"robot": robot.url}, RELAY_RECEIVERS="robot,watchdog", RELAY_PLAIN_HOSTS=plain
    ) as relay:
        assert get(f"{relay.url}/readyz") == (200, b"ok\n")
        assert relay.post(notification())[0] == 200
        status, words = relay.post(notification(), to="watchdog")
        assert status == 503
        assert "the Secret has no key watchdog" in words


def test_bodies_that_are_no_notification_are_400_and_reach_no_robot(relay: Relay, robot: Webhook) -> None:
    for body in (b"", b"{}", b"\xff", b"[" * 100_000, notification(version="3"), notification(alerts=[]), b"a=b"):
        assert relay.post(body)[0] == 400
    assert robot.received == []
    assert get(f"{relay.url}/robot")[0] == 405
    assert relay.post(notification(), to="other")[0] == 404


def test_a_body_that_is_too_large_is_413(relay: Relay, robot: Webhook) -> None:
    small = notification()
    assert relay.post(small + b" " * (MAX_BODY_BYTES - len(small)))[0] == 200
    assert relay.post(small + b" " * (MAX_BODY_BYTES + 1 - len(small)))[0] == 413
    assert len(robot.received) == 1


def test_a_body_that_comes_slowly_is_a_503_since_the_next_one_may_come_faster() -> None:
    receiver = Receiver(Path("no-file"), True, ())

    async def answer() -> bytes:
        runner = web.AppRunner(application(RelaySettings({"robot": receiver}, body_seconds=0.1)))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"POST /robot HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n{")
        try:
            return await asyncio.wait_for(reader.readuntil(b"again\n"), 10)
        finally:
            writer.close()
            await runner.cleanup()

    found = asyncio.run(answer())
    assert found.startswith(b"HTTP/1.1 503 ")
    assert found.endswith(b"the body did not come in 0.1 s; Alertmanager tries again\n")


def test_a_21st_message_in_a_minute_is_a_503_that_says_when_to_try_again(relay: Relay, robot: Webhook) -> None:
    began = time.monotonic()
    assert [relay.post(notification())[0] for _ in range(20)] == [200] * 20
    assert relay.post(b"{}")[0] == 400  # what is no message does not count
    status, words = relay.post(notification())
    assert time.monotonic() - began < 60
    assert status == 503
    assert "too many messages in this minute" in words
    assert len(robot.received) == 20
    assert relay.post(notification(), to="webhook")[0] == 200  # each address has a limit of its own


def test_an_address_that_changed_is_used_at_once(relay: Relay, robot: Webhook) -> None:
    (relay.secrets / "robot").write_text(robot.url.replace("key=", "key=new-"))
    assert relay.post(notification())[0] == 200


def test_a_message_that_is_under_way_at_sigterm_is_sent_and_answered(
    tmp_path_factory: pytest.TempPathFactory, robot: Webhook
) -> None:
    robot.slow = True
    found: list[tuple[int, str]] = []
    plain = f"127.0.0.1:{robot.server_port}"
    with running_relay(tmp_path_factory.mktemp("own"), {"robot": robot.url}, RELAY_PLAIN_HOSTS=plain) as relay:
        thread = threading.Thread(target=lambda: found.append(relay.post(notification())))
        thread.start()
        until(lambda: bool(robot.received))
        relay.process.terminate()
        robot.slow = False
        thread.join()
        assert found == [(200, "the message arrived\n")]
        assert relay.process.wait(60) == 0


def test_a_robot_with_a_certificate_that_nobody_vouches_for_gets_no_message(
    needs: Callable[[str, str], str], tmp_path: Path, robot: Webhook
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [needs("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    robot.socket = context.wrap_socket(robot.socket, server_side=True)
    address = {"robot": f"https://localhost:{robot.server_port}/{HIDDEN}"}
    for name, environment, status in (("unknown", {}, 503), ("known", {"SSL_CERT_FILE": str(certificate)}, 200)):
        (tmp_path / name).mkdir()
        with running_relay(tmp_path / name, address, **environment) as relay:
            assert relay.post(notification())[0] == status
            assert HIDDEN not in relay.log.read_text()
    assert len(robot.received) == 1


def test_in_any_minute_there_are_at_most_20_attempts() -> None:
    now = 0.0
    limit = RateLimit(20, 60, lambda: now)
    allowed = []
    for second in range(300):
        now = float(second)
        if not limit.wait():
            allowed.append(now)
    assert len(allowed) == 100
    assert all(later - earlier >= 60 for earlier, later in zip(allowed, allowed[20:], strict=False))


def test_the_wait_is_the_time_until_the_next_attempt() -> None:
    now = 100.0
    limit = RateLimit(2, 60, lambda: now)
    assert [limit.wait(), limit.wait(), limit.wait()] == [0, 0, 60]
    now = 130.0
    assert limit.wait() == pytest.approx(30)
    now = 160.0
    assert [limit.wait(), limit.wait()] == [0, 0]
    assert limit.wait() > 0
