"""The service with a real Redis that comes late, is killed, hangs, or holds foreign values."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

sys.path.insert(0, str(Path(__file__).parent))

import shared
from asking import EXAMPLE, embed, file, jpeg, photo, unlike
from cache import key_of

from tests import prerequisites
from tests.running import Running, free_port, launch, running
from tests.waiting import until

PASSWORD = "hunter2"
SECONDS = 2  # that the service waits for Redis


@dataclass
class Server:
    """A redis-server that keeps nothing on disk. It can be started and killed repeatedly, always on the same port."""

    program: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its address, with time-outs that are long enough for a busy machine."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0?socket_connect_timeout={SECONDS}&socket_timeout={SECONDS}"

    def start(self) -> None:
        if self.process is None:
            command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
            command += ["--save", "", "--appendonly", "no", "--requirepass", PASSWORD]
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = prerequisites.program("redis-server", "redis-server")
    it = Server(program, free_port(), tmp_path_factory.mktemp("redis"))
    yield it
    it.kill()


@pytest.fixture(scope="module")
def service(server: Server) -> Iterator[Running]:
    """The service, started without its Redis."""
    with running(EXAMPLE, {"REDIS_URL": server.url}) as it:
        yield it


@pytest.fixture
def redis(server: Server, service: Running) -> "Iterator[Redis]":
    """A Redis that answers, after the service has noticed it."""
    server.start()
    until(lambda: service.metric("face_redis_up") == 1)
    with Redis(port=server.port, password=PASSWORD) as client:
        yield client


def hits(service: Running, place: str) -> float:
    return service.metric(f'face_cache_hits_total{{place="{place}"}}')


def failures(service: Running, kind: str) -> float:
    return service.metric(f'face_redis_errors_total{{kind="{kind}"}}')


def version(redis: "Redis") -> str:
    key = next(redis.scan_iter("face-embedding:*"))
    return str(key.decode().split(":")[1])


def test_a_redis_that_is_absent_at_the_start_is_told_in_words_and_done_without(service: Running, server: Server) -> None:
    server.kill()
    assert len(embed(service, unlike(file("astronaut.jpg"), 1))["faces"]) == 1
    assert f"Redis at 127.0.0.1:{server.port} fails (ConnectionError): going on without it" in service.log.read_text()
    assert PASSWORD not in service.log.read_text() + service.metrics()


def test_results_are_put_there_for_a_time_and_taken_by_other_pods(service: Running, server: Server, redis: "Redis") -> None:
    picture = unlike(file("astronaut.jpg"), 2)
    answer = embed(service, picture)
    key = key_of("face-embedding", version(redis), picture)
    assert 0 < redis.ttl(key) <= shared.LIVES
    before, computed = hits(service, "redis"), service.metric("face_cache_misses_total")
    with running(EXAMPLE, {"REDIS_URL": server.url}) as other:
        assert embed(other, picture) == answer
        assert (hits(other, "redis"), other.metric("face_cache_misses_total")) == (1, 0)
    assert (hits(service, "redis"), service.metric("face_cache_misses_total")) == (before, computed)


def test_what_nobody_put_there_is_not_believed(service: Running, redis: "Redis") -> None:
    good = embed(service, unlike(file("astronaut.jpg"), 3))
    known = version(redis)
    real = redis.get(key_of("face-embedding", known, unlike(file("astronaut.jpg"), 3)))
    assert isinstance(real, bytes)
    garbage = [b"garbage", b'{"faces": []}', real[:-1], bytes([real[0] ^ 1]) + real[1:], b"x" * 20_000_000, real + real[-576:]]
    corrupt = failures(service, "corrupt")
    for number, value in enumerate(garbage):
        picture = unlike(file("astronaut.jpg"), 10 + number)
        redis.set(key_of("face-embedding", known, picture), value)
        assert embed(service, picture) == good
        assert redis.get(key_of("face-embedding", known, picture)) == real
    assert failures(service, "corrupt") == corrupt + len(garbage)


def test_another_type_under_our_key_is_no_failure_of_redis(service: Running, redis: "Redis") -> None:
    embed(service, unlike(file("astronaut.jpg"), 20))
    picture, refused = unlike(file("astronaut.jpg"), 21), failures(service, "refused")
    redis.rpush(key_of("face-embedding", version(redis), picture), "a", "b")
    assert len(embed(service, picture)["faces"]) == 1
    assert failures(service, "refused") == refused + 1
    assert service.metric("face_redis_up") == 1


def test_a_redis_that_is_full_is_still_read(service: Running, server: Server, redis: "Redis") -> None:
    kept, refused = unlike(file("astronaut.jpg"), 40), failures(service, "refused")
    answer = embed(service, kept)
    redis.config_set("maxmemory", 1)
    try:
        assert len(embed(service, unlike(file("astronaut.jpg"), 41))["faces"]) == 1
        assert failures(service, "refused") == refused + 1
        assert service.metric("face_redis_up") == 1
        with running(EXAMPLE, {"REDIS_URL": server.url}) as other:
            assert embed(other, kept) == answer
            assert hits(other, "redis") == 1
    finally:
        redis.config_set("maxmemory", 0)


def test_a_wrong_password_is_a_redis_that_is_away(server: Server, redis: "Redis", caplog: pytest.LogCaptureFixture) -> None:
    failed: list[str] = []
    store = shared.Shared(server.url.replace(PASSWORD, "swordfish"), 100, failed.append)
    assert store.get("a") is None
    assert (store.up, failed) == (False, ["unreachable"])
    assert "AuthenticationError" in caplog.text
    assert "swordfish" not in caplog.text


def test_a_redis_that_stops_answering_costs_one_time_out_and_is_then_left_alone(
    service: Running, server: Server, redis: "Redis"
) -> None:
    embed(service, file("coffee.jpg"))
    assert server.process is not None
    unreachable = failures(service, "unreachable")
    server.process.send_signal(signal.SIGSTOP)  # the kernel still accepts connections for it
    try:
        began = time.monotonic()
        for number in range(10):
            assert embed(service, unlike(jpeg(photo("coffee.jpg").resize((60, 40))), number))["faces"] == []
        assert time.monotonic() - began < 5 * SECONDS  # ten that wait for a get and a put each would wait for 20
        assert failures(service, "unreachable") == unreachable + 1
        assert service.metric("face_redis_up") == 0
    finally:
        server.process.send_signal(signal.SIGCONT)
    until(lambda: service.metric("face_redis_up") == 1)
    computed = unlike(file("coffee.jpg"), 30)
    embed(service, computed)
    assert redis.exists(key_of("face-embedding", version(redis), computed))


def test_a_redis_that_is_killed_under_load_fails_no_request_and_is_used_again(
    service: Running, server: Server, redis: "Redis"
) -> None:
    face = jpeg(photo().crop((130, 20, 330, 220)))
    embed(service, unlike(face, 100))
    answered: list[int] = []

    def ask(number: int) -> None:
        answered.append(len(embed(service, unlike(face, 100 + number % 50))["faces"]))

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(80)]
        until(lambda: len(answered) >= 20)
        server.kill()
        assert len(answered) < 80
        for each in asked:
            each.result(30)
    assert answered == [1] * 80
    assert service.metric("face_redis_up") == 0
    server.start()
    until(lambda: service.metric("face_redis_up") == 1)
    embed(service, unlike(face, 1000))
    assert redis.dbsize() == 1


def test_a_wrong_address_ends_the_start_without_repeating_its_password() -> None:
    service = launch(EXAMPLE, {"REDIS_URL": f"http://:{PASSWORD}@host:1"})
    assert service.process.wait(60) == 1
    said = service.log.read_text()
    service.log.unlink()
    assert "REDIS_URL" in said
    assert "redis://host:6379/0" in said
    assert PASSWORD not in said
