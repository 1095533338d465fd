"""Random mixtures of good and bad requests, from fixed seeds, on several connections at once.

Each good request gets its own right answer, probes are answered, and nothing is left behind.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from serving.base.process import peak_bytes
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import Running
from tests.serving.echo_service import (
    PING,
    PONG,
    Answer,
    Client,
    ask_on,
    both_paths,
    check_owner,
    echo_body,
    echo_request,
    get_request,
)
from tests.serving.floods import probing
from tests.serving.web.test_framing import BAD
from tests.waiting import until

SEEDS = (3, 17, 29, 58, 71, 96)  # one attacker each
SECONDS = 7.0
MIN_ROUNDS = 20  # of each attacker
GROWTH = 96 * MIB
LARGEST = 300_000  # bytes of an answer
NOISE = {
    "noise": b"\xff\xfe\x00 \x80/ \x7f\r\n\r\n",
    "a head of 70 KB": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
    "a head of 5,000 fields": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5_000 + b"\r\n",
    "digits": b"GET a://" + b"1" * 3_000 + b" x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
}
DEEDS = ["read", "read", "read", "half-close", "half-close", "cut", "reset", "leave"]


@dataclass(frozen=True)
class Good:
    """A request and the check of its answer."""

    data: bytes
    check: Callable[[Answer], None]


@dataclass(frozen=True)
class Plan:
    """A connection's part: it sends good requests, and perhaps a bad one with more behind it. pauses: seconds after pieces."""

    deed: str
    good: list[Good]
    bad: str
    data: bytes
    pieces: list[bytes]
    pauses: list[float]


def check_echo(number: int) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        assert answer.status in (200, 429), answer
        check_owner(answer, number)

    return check


def check_pong(answer: Answer) -> None:
    assert (answer.status, answer.body) == (200, PONG)


def check_status(answer: Answer) -> None:
    assert answer.status == 429 or json.loads(answer.body)["service"] == "small", answer


def check_large(size: int) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        assert answer.status == 429 or answer.body == b"x" * size, (answer.status, len(answer.body), size)

    return check


def chunked_echo(chance: random.Random, number: int) -> bytes:
    """Return a request in chunks of random sizes, with extensions and a trailer perhaps."""
    lines = ["POST /api/small HTTP/1.1", "Host: x", "Content-Type: application/json", "Transfer-Encoding: chunked"]
    body, parts = echo_body(number), [("\r\n".join([*lines, f"X-Request-Id: id-{number}", "\r\n"])).encode()]
    while body:
        size = chance.randint(1, len(body))
        parts += [b"%x" % size, chance.choice([b"", b"", b";a=b"]), b"\r\n", body[:size], b"\r\n"]
        body = body[size:]
    return b"".join([*parts, b"0\r\n", chance.choice([b"", b"A: b\r\n"]), b"\r\n"])


def good(chance: random.Random, number: int) -> Good:
    """Draw a request that must get its answer."""
    kind = chance.choice(["echo", "echo", "slow", "chunks", "expects", "empty lines", "ping", "ping", "status", "large"])
    size = chance.randint(0, LARGEST)
    return {
        "echo": Good(echo_request(number), check_echo(number)),
        "slow": Good(echo_request(number, seconds=chance.random() / 20), check_echo(number)),
        "chunks": Good(chunked_echo(chance, number), check_echo(number)),
        "expects": Good(echo_request(number, "Expect: 100-continue"), check_echo(number)),
        "empty lines": Good(b"\r\n" * chance.randint(1, 4) + echo_request(number), check_echo(number)),
        "ping": Good(PING, check_pong),
        "status": Good(get_request("/status"), check_status),
        "large": Good(get_request(f"/large?bytes={size}"), check_large(size)),
    }[kind]


def plan(chance: random.Random, numbers: Iterator[int]) -> Plan:
    """Draw what one connection does."""
    requests = [good(chance, next(numbers)) for _ in range(chance.randint(1, 8))]
    deed, bad = chance.choice(DEEDS), ""
    data = b"".join(each.data for each in requests)
    if deed == "cut":
        data = data[: -chance.randint(1, len(requests.pop().data.lstrip()) - 1)]
    elif chance.random() < 0.4:
        bad = chance.choice([*BAD, *NOISE])
        data += {**BAD, **NOISE}[bad] + echo_request(next(numbers)) * chance.randint(0, 3)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.choice([0, 0, 1, 5])))
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return Plan(deed, requests, bad, data, pieces, [chance.random() / 50 for _ in pieces])


def carry_out(port: int, one: Plan) -> None:
    """Send it, and check all answers. Raises AssertionError, and OSError where the server resets the connection."""
    with Client(port) as client:
        for piece, pause in zip(one.pieces, one.pauses, strict=True):
            client.send(piece)
            time.sleep(pause if len(one.pieces) > 1 else 0)
        if one.deed in ("reset", "leave"):
            (client.reset if one.deed == "reset" else client.close)()
            return
        if one.deed in ("cut", "half-close"):
            client.half_close()
        for each in one.good:
            answer = client.answer()
            each.check(answer)
            if answer.headers.get("connection") == "close":
                assert answer.status == 429
                assert client.rest() == []
                return
        if one.bad:
            refusals = [answer.status for answer in client.rest()]
            assert refusals in ([400], [431]), f"{one.bad} was answered with {refusals}"
        elif one.deed in ("cut", "half-close"):
            assert [answer.status for answer in client.rest()] in ([], [400])


def attack(service: Running, seed: int, end: float) -> Counter[str]:
    """Carry out one plan after the other until a time, and return how often each deed was done."""
    chance, done = random.Random(seed), Counter[str]()
    numbers = iter(range(seed * 100_000, 2**24))
    while time.monotonic() < end:
        one = plan(chance, numbers)
        try:
            carry_out(service.port, one)
        except (AssertionError, OSError) as error:
            about = f"seed {seed}, round {done.total()}, {one.deed}, {one.bad or 'nothing bad'}"
            raise AssertionError(f"{about}: {error!r}\n{len(one.pieces)} pieces of {one.data[:3000]!r}") from error
        done[one.deed] += 1
    return done


def ask_well(service: Running, end: float) -> int:
    """Send good requests on kept and on new connections until a time, check each answer, and return how many there were."""
    number = 0
    while time.monotonic() < end:
        with Client(service.port) as client:
            for _ in range(20):
                number += 1
                ask_on(client, number)
                time.sleep(0.01)
    return number


def at_rest(service: Running) -> bool:
    names = ("monopod_requests_in_progress", 'monopod_queue_rows{model="small"}')
    return [service.metric(name, absent=-1) for name in names] == [0, 0]


@both_paths
def test_a_random_attack_spoils_no_good_request_and_leaves_nothing_behind(service: Running) -> None:
    process = psutil.Process(service.process.pid)
    ask_well(service, time.monotonic() + 0.5)
    before = settled_bytes(process.pid)
    forget_peak(process.pid)
    files, end = process.num_fds(), time.monotonic() + SECONDS
    with ThreadPoolExecutor(len(SEEDS) + 1) as pool, probing(service):
        attackers = [pool.submit(attack, service, seed, end) for seed in SEEDS]
        well = pool.submit(ask_well, service, end)
        rounds = [each.result() for each in attackers]
        assert well.result() > MIN_ROUNDS
    assert min(each.total() for each in rounds) > MIN_ROUNDS
    assert set(sum(rounds, Counter())) == set(DEEDS)
    until(lambda: at_rest(service))
    until(lambda: process.num_fds() <= files + 4)
    growth = peak_bytes(process.pid) - before
    assert growth < GROWTH, f"the process grew by {growth / MIB:.0f} MiB"
    assert not [line for line in service.lines() if line["level"] not in ("info", "warning")]
    assert service.stop() == 0
