"""URLs are fetched from allowed public hosts, within limits of size and time, over real sockets."""

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.base.errors import BadInput, DeadlinePassed, FetchFailed, ServingError, TooLarge
from serving.inputs.fetch import Fetcher, is_public
from tests.prerequisites import missing
from tests.waiting import until

HOST = "img.example.com"
Answer = Callable[[socket.socket, str], None]


class Server:
    """A real server on loopback, which reads a request's head and then calls `answer` with the connection."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None):
        self.heads: list[str] = []
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=self._serve, args=(self._listener.accept()[0],))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(10)
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            with client:
                head = b""
                while b"\r\n\r\n" not in head and (more := client.recv(4096)):
                    head += more
                self.heads.append(head.decode("latin-1"))
                self._answer(client, head.decode("latin-1"))

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answer, tls)
    try:
        yield server
    finally:
        server.close()


def says(body: bytes = b"picture", status: str = "200 OK", **headers: str) -> Answer:
    """Return a function that answers any request. headers: their names with _ for a dash."""
    lines = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    return lambda client, _: client.sendall(head.encode() + body)


def fetcher(server: Server, *hosts: str, max_bytes: int = 100_000, seconds: float = 5.0, ca_file: str | None = None) -> Fetcher:
    """A fetcher for which every name leads to loopback, and loopback is allowed."""
    return Fetcher(
        hosts or (HOST,),
        max_bytes,
        seconds,
        resolve=lambda host, port: ["127.0.0.1"],
        allowed=lambda address: address == "127.0.0.1",
        ports=(80, 443, server.port),
        ca_file=ca_file,
    )


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def get(server: Server, path: str = "/a.jpg", **options: float) -> bytes:
    return fetcher(server, **options).fetch(f"http://{HOST}:{server.port}{path}", soon())  # type: ignore[arg-type]


def refuse(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host}:{port} was looked up")


def test_a_picture_is_fetched_and_the_server_is_asked_by_name() -> None:
    with serving(says(b"\xff\xd8picture")) as server:
        assert get(server, "/a.jpg?size=1&x=%20") == b"\xff\xd8picture"
    head = server.heads[0].lower()
    assert head.startswith("get /a.jpg?size=1&x=%20 http/1.1\r\n")
    assert f"\r\nhost: {HOST}:{server.port}\r\n" in head
    assert "\r\naccept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


def test_a_body_in_chunks_and_one_that_ends_with_the_connection_are_whole() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    with serving(lambda client, _: client.sendall(chunks)) as server:
        assert get(server) == b"abcdefg"
    with serving(lambda client, _: client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 99_000)) as server:
        assert get(server) == b"x" * 99_000


def test_an_ipv6_address_is_connected_to() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        missing("this machine has no IPv6 on loopback")
    port = listener.getsockname()[1]

    def serve() -> None:
        with listener, listener.accept()[0] as client:
            client.recv(4096)
            says(b"six")(client, "")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        over6 = Fetcher([HOST], 1000, 5, resolve=lambda *_: ["::1"], allowed=lambda _: True, ports=[port])
        assert over6.fetch(f"http://{HOST}:{port}/", soon()) == b"six"
    finally:
        thread.join(5)


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with serving(says()) as server:
        two = Fetcher(
            [HOST], 1000, 5, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"], allowed=lambda _: True, ports=[server.port]
        )
        assert two.fetch(f"http://{HOST}:{server.port}/", soon()) == b"picture"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://other.example.com/a.jpg", "fetch_hosts allows img.example.com, \\*.cdn.example.com"),
        ("http://xcdn.example.com/", "nothing is fetched from xcdn.example.com"),
        ("http://cdn.example.com/", "nothing is fetched from cdn.example.com"),
        ("http://img.example.com.evil.com/", "nothing is fetched from"),
        ("http://evil.com#img.example.com", "nothing is fetched from evil.com"),
        ("http://evil.com?img.example.com/", "nothing is fetched from evil.com"),
        ("http://127.0.0.1/", "nothing is fetched from 127.0.0.1"),
        ("http://[::1]/", "nothing is fetched from ::1"),
        ("http://img.example.com@evil.com/", "a user name"),
        ("http://user:secret@img.example.com/", "a user name"),
        ("http://@img.example.com/", "a user name"),
        ("ftp://img.example.com/", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("http:///a.jpg", "names a host"),
        ("img.example.com/a.jpg", "http:// or https://"),
        ("http://img.example.com:22/", "port 22"),
        ("http://img.example.com:8080/", "port 8080"),
        ("http://img.example.com:99999/", "not a URL that can be read"),
        ("http://img.example.com:x/", "not a URL that can be read"),
        ("http://[::1/", "not a URL that can be read"),
        ("http://img.example.com\\@evil.com/", "no spaces, control characters or backslashes"),
        ("http://img.example.com/a b", "no spaces"),
        ("http://img.example.com/a\r\nX: y", "control characters"),
        ("http://img.example.com/" + "a" * 9000, "at most 8192 characters"),
        ("", "http:// or https://"),
    ],
)
def test_a_url_that_is_not_allowed_is_refused_before_its_name_is_looked_up(url: str, words: str) -> None:
    strict = Fetcher([HOST, "*.cdn.example.com"], 1000, 5, resolve=refuse)
    with pytest.raises(BadInput, match=words):
        strict.fetch(url, soon())


@pytest.mark.parametrize(
    "host", ["img.example.com", "IMG.Example.COM", "img.example.com.", "a.cdn.example.com", "a.b.cdn.example.com"]
)
def test_an_allowed_host_may_be_written_in_any_case_and_with_a_last_dot(host: str) -> None:
    with serving(says()) as server:
        open_ = fetcher(server, HOST, "*.cdn.example.com")
        assert open_.fetch(f"http://{host}:{server.port}/", soon()) == b"picture"


PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378::1", "100::1", "fec0::1", "3fff::1", "localhost", "", "1.2.3",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_outside_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"], ["::ffff:169.254.169.254"]])
def test_a_name_that_leads_inside_is_refused_and_nothing_is_connected(addresses: list[str]) -> None:
    with serving(says()) as server:
        strict = Fetcher([HOST], 1000, 5, resolve=lambda *_: addresses, ports=[server.port])
        with pytest.raises(BadInput, match="private, local or reserved"):
            strict.fetch(f"http://{HOST}:{server.port}/", soon())
    assert server.heads == []


def test_numbers_that_mean_loopback_are_refused() -> None:
    for host in ("127.1", "2130706433", "0x7f.1", "localhost"):
        with pytest.raises(BadInput, match="private, local|not be resolved"):
            Fetcher([host], 1000, 5).fetch(f"http://{host}/", soon())


def test_a_name_is_looked_up_once_so_that_a_second_answer_cannot_lead_inside() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with serving(says()) as server:
        once = Fetcher(
            [HOST],
            1000,
            5,
            resolve=lambda *_: next(answers),
            allowed=lambda address: address == "127.0.0.1",
            ports=[server.port],
        )
        assert once.fetch(f"http://{HOST}:{server.port}/", soon()) == b"picture"
    assert next(answers) == ["10.0.0.1"]


@pytest.mark.parametrize("found", [[], OSError("no such name"), UnicodeError("label too long")])
def test_a_name_without_an_address_is_bad_input(found: list[str] | Exception) -> None:
    def resolve(host: str, port: int) -> list[str]:
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(FetchFailed, match="could not be resolved|has no address"):
        Fetcher([HOST], 1000, 5, resolve=resolve).fetch(f"http://{HOST}/", soon())


def test_a_slow_resolver_ends_with_the_time_limit() -> None:
    def resolve(host: str, port: int) -> list[str]:
        time.sleep(8)
        return ["1.1.1.1"]

    start = time.monotonic()
    with pytest.raises(FetchFailed, match="took longer than 0.2 s"):
        Fetcher([HOST], 1000, 0.2, resolve=resolve).fetch(f"http://{HOST}/", soon())
    assert time.monotonic() - start < 7


def test_the_environments_proxies_and_netrc_play_no_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\ndefault login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(says()) as server:
        assert get(server) == b"picture"
    assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed_by_name(status: str) -> None:
    def answer(client: socket.socket, head: str) -> None:
        first = head.startswith("GET /a/b ")
        (says(b"", status, Location="../c?d=1#e") if first else says(b"there"))(client, head)

    with serving(answer) as server:
        assert get(server, "/a/b") == b"there"
    assert server.heads[1].startswith("GET /c?d=1 HTTP/1.1\r\n")
    assert f"Host: {HOST}:{server.port}" in server.heads[1]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://evil.com/", "nothing is fetched from evil.com"),
        ("//evil.com/", "nothing is fetched from evil.com"),
        ("http://127.0.0.1/", "nothing is fetched from 127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/", "nothing is fetched from 169.254.169.254"),
        ("file:///etc/passwd", "http:// or https://"),
        ("http://img.example.com:22/", "port 22"),
        ("http://user@img.example.com/", "a user name"),
        ("http://inside.example.com/", "private, local or reserved"),
        ("http://[", "could not be fetched"),
        ("\xff\xfe", "could not be fetched"),
        ("", "could not be fetched"),
    ],
)
def test_each_redirect_is_checked_in_full(location: str, words: str) -> None:
    def answer(client: socket.socket, head: str) -> None:
        client.sendall(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location.encode("latin-1") + b"\r\n\r\n")

    with serving(answer) as server:
        names = {HOST: ["127.0.0.1"], "inside.example.com": ["10.0.0.1"]}
        strict = Fetcher(
            [HOST, "inside.example.com"],
            1000,
            5,
            resolve=lambda host, port: names[host],
            allowed=lambda address: address == "127.0.0.1",
            ports=(80, 443, server.port),
        )
        with pytest.raises(BadInput, match=words):
            strict.fetch(f"http://{HOST}:{server.port}/", soon())
    assert len(server.heads) == 1


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    def answer(client: socket.socket, head: str) -> None:
        left = int(head.split()[1].strip("/"))
        (says(b"", "302 Found", Location=f"/{left - 1}") if left else says(b"there"))(client, head)

    with serving(answer) as server:
        assert get(server, "/3") == b"there"
        with pytest.raises(BadInput, match="redirects more than 3 times"):
            get(server, "/4")


def test_the_body_of_a_redirect_is_not_read() -> None:
    def answer(client: socket.socket, head: str) -> None:
        if head.startswith("GET /there "):
            return says(b"there")(client, head)
        client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n")
        return endless(client, head)

    with serving(answer) as server:
        assert get(server) == b"there"


def endless(client: socket.socket, head: str) -> None:
    with suppress(OSError):
        while True:
            client.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [
        ("204 No Content", False),
        ("206 Partial Content", False),
        ("304 Not Modified", False),
        ("404 Not Found", False),
        ("429 Too Many Requests", True),
        ("500 Oops", True),
        ("503 Service Unavailable", True),
    ],
)
def test_another_status_than_200_is_bad_input_that_says_it_and_whether_it_may_pass(status: str, may_pass: bool) -> None:
    with serving(says(b"", status)) as server, pytest.raises(BadInput, match=f"answered with status {status[:3]}") as failed:
        get(server)
    assert isinstance(failed.value, FetchFailed) is may_pass


def test_a_body_at_the_limit_passes_and_one_over_it_is_too_large() -> None:
    with serving(says(b"x" * 1000)) as server:
        assert len(get(server, max_bytes=1000)) == 1000
        with pytest.raises(TooLarge, match=f"the file from {HOST} is over the limit of 999 bytes"):
            get(server, max_bytes=999)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
    ids=["until the end", "one endless chunk", "a stated length"],
)
def test_an_endless_body_is_too_large_at_once(head: bytes) -> None:
    def answer(client: socket.socket, request: str) -> None:
        client.sendall(head)
        endless(client, request)

    with serving(answer) as server, pytest.raises(TooLarge, match="over the limit"):  # and not that the time is over
        get(server)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "zstd"])
def test_a_compressed_body_is_refused_unread(encoding: str) -> None:
    bomb = says(gzip.compress(bytes(10_000_000)), Content_Encoding=encoding)
    with serving(bomb) as server, pytest.raises(BadInput, match="compressed body"):
        get(server)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\nhello",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0\1\2\3",
        b"",
    ],
)
def test_a_server_that_breaks_http_is_bad_input(answer: bytes) -> None:
    with serving(lambda client, _: client.sendall(answer)) as server, pytest.raises(BadInput, match="could not be fetched"):
        get(server)


def test_a_port_where_nobody_listens_is_bad_input() -> None:
    with serving(says()) as server:
        pass
    with pytest.raises(FetchFailed, match="no connection could be made"):
        get(server)


def trickle(head: bytes) -> Answer:
    """Return a function that sends bytes at once, then a byte every 20 ms for half a minute."""

    def answer(client: socket.socket, _: str) -> None:
        client.sendall(head)
        with suppress(OSError):
            for _n in range(1500):
                client.sendall(b"1")
                time.sleep(0.02)

    return answer


SLOW = {
    "silence": lambda client, _: client.recv(1),
    "status line": trickle(b"HTTP/1.1 20"),
    "headers": trickle(b"HTTP/1.1 200 OK\r\nA: "),
    "body of a length": trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"),
    "body without a length": trickle(b"HTTP/1.0 200 OK\r\n\r\n"),
    "chunk line": trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"),
    "redirect": trickle(b"HTTP/1.1 302 Found\r\nLocation: /"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_server_that_trickles_is_cut_off_when_the_time_is_over(kind: str) -> None:
    start = time.monotonic()
    with serving(SLOW[kind]) as server, pytest.raises(FetchFailed, match="took longer than 0.3 s"):
        get(server, seconds=0.3)
    assert 0.25 < time.monotonic() - start < 20


def test_the_requests_own_deadline_ends_a_fetch_as_a_deadline() -> None:
    with serving(SLOW["body of a length"]) as server:
        with pytest.raises(DeadlinePassed):
            fetcher(server).fetch(f"http://{HOST}:{server.port}/", soon(0.3))
        with pytest.raises(DeadlinePassed):
            fetcher(server).fetch(f"http://{HOST}:{server.port}/", soon(-1))


def test_no_thread_and_no_connection_is_left_behind() -> None:
    with serving(says()) as server:
        get(server)
        before = threading.active_count()
        for _ in range(10):
            get(server)
        until(lambda: threading.active_count() <= before + 1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str, str], str]) -> Path:
    """A key and a certificate of its own for img.example.com, in one file."""
    needs("openssl", "openssl")
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(made), "-out", str(made) + ".crt"]
    subprocess.run([*new, *name], check=True, capture_output=True)
    made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
    return made


def tls_server(certificate: Path, names: list[str | None]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    return context


def test_https_asks_for_the_name_and_verifies_it_though_it_connects_to_the_address(certificate: Path) -> None:
    names: list[str | None] = []
    with serving(says(b"secret"), tls_server(certificate, names)) as server:
        safe = fetcher(server, HOST, "other.example.com", ca_file=str(certificate))
        assert safe.fetch(f"https://{HOST}:{server.port}/", soon()) == b"secret"
        assert names == [HOST]
        with pytest.raises(BadInput, match="a valid certificate"):
            safe.fetch(f"https://other.example.com:{server.port}/", soon())
        assert names == [HOST, "other.example.com"]
        with pytest.raises(BadInput, match="a valid certificate"):
            fetcher(server).fetch(f"https://{HOST}:{server.port}/", soon())
    assert len(server.heads) == 1


def test_a_tls_server_that_trickles_is_cut_off(certificate: Path) -> None:
    for slow, tls in ((SLOW["body of a length"], tls_server(certificate, [])), (SLOW["silence"], None)):
        start = time.monotonic()
        with serving(slow, tls) as server, pytest.raises(FetchFailed, match="took longer than 0.3 s"):
            fetcher(server, seconds=0.3, ca_file=str(certificate)).fetch(f"https://{HOST}:{server.port}/", soon())
        assert time.monotonic() - start < 20


@given(st.one_of(st.text(max_size=60), st.text(max_size=40).map(lambda tail: f"http://{HOST}{tail}")))
@settings(max_examples=300, deadline=None)
def test_any_text_as_a_url_is_refused_in_words(url: str) -> None:
    strict = Fetcher([HOST], 1000, 5, resolve=lambda *_: ["127.0.0.1"])
    with pytest.raises(ServingError):
        strict.fetch(url, soon())
