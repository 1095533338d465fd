"""The open loop against a server of a few lines: what it counts, and that a refusal in the middle of a body is read."""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from bench import tools
from bench.work import image

REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
PONG = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npong"
Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """Answer every connection on a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def pong(connection: socket.socket) -> None:
    with connection:
        while connection.recv(65536):
            connection.sendall(PONG)


def refuse(connection: socket.socket) -> None:
    """Answer as soon as the head is there, and discard the rest."""
    with connection:
        connection.recv(1024)
        connection.sendall(REFUSAL)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # the client closes with our answer's last byte unread
            while connection.recv(65536):
                pass


def hang_up(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.close()


def test_every_request_that_is_due_is_counted_once(needs: Callable[[str, str], str]) -> None:
    needs("go", "golang-go")
    with listening(pong) as url:
        told = tools.open_loop(url + "/ping", None, 100, 1, 8, 8)
    assert told["due"] == 100
    assert told["statuses"]["200"]["count"] + told["not_sent"] == 100
    assert told["errors"] == {}


def test_a_refusal_in_the_middle_of_a_body_is_an_answer_and_not_an_error(needs: Callable[[str, str], str]) -> None:
    needs("go", "golang-go")
    with listening(refuse) as url:
        told = tools.open_loop(url, replace(image(), body=bytes(8_000_000)), 20, 1, 20)
    assert told["errors"] == {}
    assert told["statuses"]["429"]["count"] + told["not_sent"] == 20


def test_several_bodies_are_sent_in_turns(needs: Callable[[str, str], str]) -> None:
    needs("go", "golang-go")
    heads: list[bytes] = []

    def take(connection: socket.socket) -> None:
        with connection:
            while head := connection.recv(65536):
                heads.append(head)
                connection.sendall(PONG)

    with listening(take) as url:
        told = tools.open_loop(url, image(), 100, 1, 8, turns=[b"one", b"second", b"third one"])
    lengths = Counter(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) for head in heads)
    assert told["statuses"]["200"]["count"] == 100 - told["not_sent"] == lengths.total()
    assert set(lengths) == {3, 6, 9}
    assert all(abs(count - 33) <= 1 + told["not_sent"] for count in lengths.values())


def test_a_connection_that_ends_without_an_answer_is_an_error_of_its_own(needs: Callable[[str, str], str]) -> None:
    needs("go", "golang-go")
    with listening(hang_up) as url:
        told = tools.open_loop(url, None, 20, 1, 20)
    assert told["statuses"] == {}
    assert told["errors"] == {"closed without an answer": 20 - told["not_sent"]}
