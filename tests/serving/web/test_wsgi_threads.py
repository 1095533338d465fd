"""WSGI applications get a request whole, on a thread, and their answers go back whole, whatever they do."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from serving.web.app import CYCLE, WsgiThreads
from serving.web.front.body import Body
from serving.web.front.request_cycle import RequestCycle
from tests.serving.web.request_cycles import Front, kept, loop_on_a_thread
from tests.waiting import until

Environment = dict[str, Any]
Start = Callable[..., Any]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with loop_on_a_thread() as made:
        yield made


class Served:
    """An application on one thread, asked without a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, application: Any):
        self.front = Front(loop, WsgiThreads(application, 1).run)

    def begin(self, line: bytes = b"GET /", *lines: bytes, body: bytes | Body = b"") -> RequestCycle:
        """Begin a request on the loop, and return it."""
        cycle = self.front.cycle(line + b" HTTP/1.1\r\nHost: x\r\n", *lines)
        self.front.loop.call_soon_threadsafe(cycle.run, body, True)
        return cycle

    def ask(self, line: bytes = b"GET /", *lines: bytes, body: bytes | Body = b"") -> tuple[int, list[bytes], bytes]:
        """Return the status, the header lines and the body of the answer to a request."""
        client = kept(self.begin(line, *lines, body=body))
        until(lambda: bool(client.answers), pause=0.002)
        head, _, text = client.answers[0].partition(b"\r\n\r\n")
        return client.status, head.split(b"\r\n")[1:], text


def answering(environ: Environment, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"fine"]


def lengths(lines: list[bytes]) -> list[bytes]:
    """Return the values of Content-Length."""
    return [line.partition(b": ")[2] for line in lines if line.startswith(b"Content-Length")]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE"])
def test_the_environment_and_the_answers_are_those_of_the_standard(loop: asyncio.AbstractEventLoop, method: bytes) -> None:
    def application(environ: Environment, start: Start) -> Iterable[bytes]:
        assert environ["wsgi.input"].read(2) == b"ab"
        assert environ["wsgi.input"].readline(1) == b"c"
        assert list(environ["wsgi.input"]) == [b"\n", b"d"]
        environ["wsgi.errors"].write("")
        environ["wsgi.errors"].flush()
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"fine"]

    lines = (b"Content-Type: text/plain", b"Content-Length: 5", b"X-Odd: \xe9")
    status, headers, text = Served(loop, validator(application)).ask(method + b" /a%20b?c=d%20e", *lines, body=b"abc\nd")
    assert (status, lengths(headers), text) == (200, [b"4"], b"" if method == b"HEAD" else b"fine")


def test_the_environment_tells_the_request(loop: asyncio.AbstractEventLoop) -> None:
    found: Environment = {}

    def application(environ: Environment, start: Start) -> Iterable[bytes]:
        found.update(environ)
        return answering(environ, start)

    lines = (
        b"Content-Type: a/b", b"X-Two: 1", b"X-Two: 2", b"Cookie: a=1", b"Cookie: b=2", b"X_Two: forged", b"Content-Length: 3",
        b"Expect: 100-continue",
    )  # fmt: skip
    Served(loop, application).ask(b"POST /caf%C3%A9/%2F?q=%20", *lines, body=b"abc")
    assert found["PATH_INFO"] == "/café//".encode().decode("latin-1")
    assert (found["QUERY_STRING"], found["REQUEST_URI"]) == ("q=%20", "/caf%C3%A9/%2F?q=%20")
    assert (found["REQUEST_METHOD"], found["SERVER_PROTOCOL"]) == ("POST", "HTTP/1.1")
    assert (found["CONTENT_TYPE"], found["CONTENT_LENGTH"]) == ("a/b", "3")
    assert (found["HTTP_HOST"], found["HTTP_X_TWO"], found["HTTP_COOKIE"]) == ("x", "1, 2", "a=1; b=2")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_EXPECT", "HTTP_TRANSFER_ENCODING"} & set(found)
    assert isinstance(found[CYCLE], RequestCycle)


def test_a_large_body_comes_whole(loop: asyncio.AbstractEventLoop) -> None:
    sent = bytes(range(256)) * 2**13  # 2 MB, which lie in a file
    body = Body()
    for start in range(0, len(sent), 65_536):
        body.add(sent[start : start + 65_536])

    def application(environ: Environment, start: Start) -> Iterable[bytes]:
        found = environ["wsgi.input"].read()
        start("200 OK", [])
        return [b"%d" % (found == sent), environ["CONTENT_LENGTH"].encode()]

    assert Served(loop, application).ask(b"POST /", body=body)[2] == b"1%d" % len(sent)


def test_the_answer_to_head_has_the_length_of_the_answer_to_get(loop: asyncio.AbstractEventLoop) -> None:
    def application(environ: Environment, start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"x" * 1000]

    served = Served(loop, application)
    for method, text in ((b"GET", b"x" * 1000), (b"HEAD", b"")):
        status, headers, found = served.ask(method + b" /")
        assert (status, lengths(headers), found) == (200, [b"1000"], text)


def test_an_application_that_gives_a_body_to_head_is_read_without_it(loop: asyncio.AbstractEventLoop) -> None:
    status, headers, text = Served(loop, answering).ask(b"HEAD /")
    assert (status, lengths(headers), text) == (200, [b"4"], b"")


def test_headers_of_one_name_stay_apart(loop: asyncio.AbstractEventLoop) -> None:
    def application(environ: Environment, start: Start) -> Iterable[bytes]:
        start("201 CREATED", [("Set-Cookie", "a=1"), ("content-type", "a/b"), ("Set-Cookie", "b=2")])
        return [b"x"]

    status, headers, _ = Served(loop, application).ask()
    assert status == 201
    assert [line for line in headers if line.startswith(b"Set-Cookie")] == [b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
    assert [line for line in headers if line.lower().startswith(b"content-type")] == [b"Content-Type: a/b"]


def test_an_answer_in_parts_is_one_answer(loop: asyncio.AbstractEventLoop) -> None:
    closed = threading.Event()

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            yield from (b"one", b"", b"two")

        def close(self) -> None:
            closed.set()

    def application(environ: Environment, start: Start) -> Any:
        start("200 OK", [])(b"zero")
        return Parts()

    status, headers, text = Served(loop, application).ask()
    assert (status, lengths(headers), text) == (200, [b"10"], b"zeroonetwo")
    assert closed.is_set()


@pytest.mark.parametrize(("said", "sent"), [("9", b"only"), ("2", b"on")], ids=["too few", "too many"])
def test_an_answer_that_is_not_as_long_as_it_says_goes_with_the_length_it_has(
    loop: asyncio.AbstractEventLoop, said: str, sent: bytes
) -> None:
    """With a wrong length, the client would wait for bytes, or take the rest for the next answer."""

    def application(environ: Environment, start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", said)])
        return [b"only"]

    _, headers, text = Served(loop, application).ask()
    assert (lengths(headers), text) == ([b"%d" % len(sent)], sent)


def raising(environ: Environment, start: Start) -> Iterable[bytes]:
    raise KeyError("secret detail")


def raising_late(environ: Environment, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    yield b"begun"
    raise OSError("secret detail")


def exiting(environ: Environment, start: Start) -> Iterable[bytes]:
    raise SystemExit(3)


def silent(environ: Environment, start: Start) -> Iterable[bytes]:
    return [b"no start"]


def forging(environ: Environment, start: Start) -> Iterable[bytes]:
    start("200 OK", [("X-A", "a\r\nX-B: b")])
    return [b""]


@pytest.mark.parametrize("application", [raising, raising_late, exiting, silent, forging])
def test_an_application_that_fails_is_a_500_without_details_and_its_thread_goes_on(
    loop: asyncio.AbstractEventLoop, application: Any, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served(loop, lambda environ, start: (application if environ["PATH_INFO"] == "/bad" else answering)(environ, start))
    with caplog.at_level(logging.CRITICAL, "waitress"):
        status, _, text = served.ask(b"GET /bad")
        assert (status, b"secret" in text, b"service_failed" in text) == (500, False, True)
        assert served.ask()[::2] == (200, b"fine")
    assert served.front.ends == [(500, "service_failed"), (200, "")]


class Held:
    """An application that waits, and counts its runs."""

    def __init__(self) -> None:
        self.free, self.ran = threading.Event(), 0

    def __call__(self, environ: Environment, start: Start) -> Iterable[bytes]:
        self.ran += 1
        assert self.free.wait(20)
        return answering(environ, start)


def test_nothing_is_run_for_a_client_that_has_gone(loop: asyncio.AbstractEventLoop) -> None:
    held = Held()
    served = Served(loop, held)
    first = served.begin()
    until(lambda: held.ran == 1)
    gone, last = served.begin(), served.begin()
    loop.call_soon_threadsafe(gone.abandon)
    until(lambda: gone.over)
    held.free.set()
    until(lambda: bool(kept(last).answers))
    assert held.ran == 2
    assert kept(gone).answers == []
    assert [kept(each).status for each in (first, last)] == [200, 200]


@pytest.mark.parametrize("fate", ["answered", "gone", "failed"])
def test_a_request_is_kept_by_nobody_once_it_is_over(loop: asyncio.AbstractEventLoop, fate: str) -> None:
    """A thread that waits for its next request must not keep the body of the last one, nor wait for the garbage collector."""
    held = Held()
    served = Served(loop, held if fate != "failed" else forging)
    logging.getLogger("waitress").disabled = True  # pytest keeps log records, and with them tracebacks
    gc.collect()
    gc.disable()
    try:
        served.begin()
        cycle = served.begin()
        over = weakref.ref(cycle)
        if fate == "gone":
            until(lambda: held.ran == 1)
            loop.call_soon_threadsafe(cycle.abandon)
        del cycle
        held.free.set()
        until(lambda: over() is None, 5)
    finally:
        gc.enable()
        logging.getLogger("waitress").disabled = False
