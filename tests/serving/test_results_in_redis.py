"""Served with a cache of results: a real Redis comes late, is killed, hangs, is full, or holds foreign values."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from serving.core.redis_store import RedisStore
from serving.telemetry.metrics import Metrics
from tests import prerequisites
from tests.running import Running, free_port, get, launch, make_service, post_json, running
from tests.serving.core.redis_server import PASSWORD, SECONDS, RedisServer
from tests.waiting import until

SERVER = """
import time
from serving.api import BadInput, Request, Service, route

class Small(Service):
    def handle(self, request: Request):
        time.sleep(request.value("seconds", float, 0.0))
        if request.data == "wrong":
            raise BadInput("the data is wrong")
        if request.data == "lines":
            return iter([1, 2])
        return {"data": request.data}

    @route("/twice")
    def twice(self, request):
        return [self.cached(request), self.cached(request)]
"""
SETTINGS = 'cache = "redis"\nenv_secret = "redis"\ncache_second = 3600'
API = "/api/small"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    program = prerequisites.program("redis-server", "redis-server")
    it = RedisServer(program, free_port(), tmp_path_factory.mktemp("redis"))
    yield it
    it.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_service(tmp_path_factory.mktemp("service") / "small", SETTINGS, SERVER)


@pytest.fixture(scope="module")
def service(server: RedisServer, folder: Path) -> Iterator[Running]:
    """The service, started without its Redis."""
    with running(folder, {"REDIS_URL": server.url}) as it:
        yield it


@pytest.fixture
def redis(server: RedisServer, service: Running) -> "Iterator[Redis]":
    """A Redis that answers, after the service has noticed it, and holds nothing."""
    server.start()
    until(lambda: service.metric("monopod_cache_redis_up") == 1)
    with Redis(port=server.port, password=PASSWORD) as client:
        client.flushall()
        yield client


def results(service: Running, data: Any, **more: Any) -> Any:
    status, answer = post_json(service.url + API, {"data": data, **more})
    assert status == 200, answer
    return answer["results"]


def hits(service: Running, place: str) -> float:
    return service.metric(f'monopod_cache_hits_total{{place="{place}"}}')


def misses(service: Running) -> float:
    return service.metric("monopod_cache_misses_total")


def failures(service: Running, kind: str) -> float:
    return service.metric(f'monopod_cache_errors_total{{kind="{kind}"}}')


def only_key(redis: "Redis") -> bytes:
    (key,) = redis.scan_iter("monopod:like:small:*")
    return bytes(key)


def test_a_redis_that_is_absent_at_the_start_is_told_in_one_line_and_done_without(
    service: Running, server: RedisServer
) -> None:
    assert [results(service, number) for number in range(3)] == [{"data": number} for number in range(3)]
    assert failures(service, "unreachable") == 1
    line = f"Redis at 127.0.0.1:{server.port} fails (ConnectionError)"
    until(lambda: line in service.log.read_text())
    assert service.log.read_text().count(line) == 1
    assert PASSWORD not in service.log.read_text() + service.metrics()


def test_results_are_put_there_for_a_time_and_taken_by_other_pods(
    service: Running, folder: Path, server: RedisServer, redis: "Redis"
) -> None:
    answer = results(service, "shared")
    assert 0 < redis.ttl(only_key(redis)) <= 3600
    with running(folder, {"REDIS_URL": server.url}) as other:
        assert [results(other, "shared"), results(other, "shared")] == [answer] * 2
        assert (hits(other, "redis"), hits(other, "process"), misses(other)) == (1, 1, 0)


def test_each_answer_echoes_the_ids_of_its_own_request(service: Running, redis: "Redis") -> None:
    url, before = service.url + API, misses(service)
    answers = [post_json(url, {"data": "ids", "postid": name})[1] for name in "ab"]
    assert answers == [{"results": {"data": "ids"}, "msg": "", "postid": name} for name in "ab"]
    assert misses(service) == before + 1


def test_an_own_route_shares_the_results_of_the_services_route(service: Running, redis: "Redis") -> None:
    answer, before = results(service, "twice"), misses(service)
    assert post_json(service.url + API + "/twice", {"data": "twice"})[1]["results"] == [answer] * 2
    assert misses(service) == before


def test_neither_errors_nor_streams_are_kept(service: Running, redis: "Redis") -> None:
    for _ in range(2):
        assert post_json(service.url + API, {"data": "wrong"})[0] == 400
        assert get(service.url + API, b'{"data": "lines"}', {"Content-Type": "application/json"}) == (200, b"1\n2\n")
    assert redis.dbsize() == 0


def test_equal_requests_at_once_are_computed_once(service: Running, redis: "Redis") -> None:
    before = misses(service), hits(service, "flight") + hits(service, "process")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: json.dumps(results(service, "once", seconds=0.3)), range(12)))
    assert len(set(answers)) == 1
    assert (misses(service), hits(service, "flight") + hits(service, "process")) == (before[0] + 1, before[1] + 11)


def test_another_request_takes_over_where_the_client_of_the_first_goes_and_its_deadline_passes(
    service: Running, redis: "Redis"
) -> None:
    body, before = json.dumps({"data": "gone", "seconds": 1.5}).encode(), misses(service)
    with socket.create_connection(("127.0.0.1", service.port)) as leader:
        head = f"POST {API} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Request-Timeout-Ms: 300\r\n"
        leader.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: misses(service) == before + 1)
    assert results(service, "gone", seconds=1.5) == {"data": "gone"}
    assert misses(service) == before + 2


def test_what_no_pod_put_there_is_not_believed(service: Running, server: RedisServer, folder: Path, redis: "Redis") -> None:
    results(service, "good")
    key, metrics = only_key(redis).decode(), Metrics()
    store = RedisStore(server.url, 2**20, 60, metrics)
    real = redis.get(key)
    assert isinstance(real, bytes)
    found = store.get(key)
    assert found is not None
    assert found[1] == b'\n{"data":"good"}'
    redis.set(key + "a", real)  # under another key it is another request's
    garbage = [b"garbage", b'\n{"data": "bad"}', real[:-1], bytes([real[0] ^ 1]) + real[1:], b"x" * 20_000_000, real + b" "]
    for value in garbage:
        redis.set(key, value)
        assert (store.get(key), store.get(key + "a")) == (None, None)
    assert metrics.registry.get_sample_value("monopod_cache_errors_total", {"kind": "corrupt"}) == 2 * len(garbage)
    with running(folder, {"REDIS_URL": server.url}) as other:
        assert results(other, "good") == {"data": "good"}
        assert failures(other, "corrupt") == 1
    assert store.get(key) is not None


def test_another_type_under_our_key_and_a_full_redis_are_no_loss_of_redis(
    service: Running, folder: Path, server: RedisServer, redis: "Redis"
) -> None:
    results(service, "typed")
    key = only_key(redis)
    redis.delete(key)
    redis.rpush(key, "a", "b")
    with running(folder, {"REDIS_URL": server.url}) as other:
        assert results(other, "typed") == {"data": "typed"}
        assert failures(other, "refused") == 1
        redis.config_set("maxmemory", 1)
        try:
            assert results(other, "full") == {"data": "full"}
        finally:
            redis.config_set("maxmemory", 0)
        assert (failures(other, "refused"), other.metric("monopod_cache_redis_up")) == (2, 1)


def test_a_redis_that_stops_answering_costs_one_time_out_and_is_then_left_alone(
    service: Running, server: RedisServer, redis: "Redis"
) -> None:
    assert server.process is not None
    before = failures(service, "unreachable")
    server.process.send_signal(signal.SIGSTOP)  # the kernel still accepts connections for it
    try:
        began = time.monotonic()
        for number in range(10):
            results(service, f"silent {number}")
        assert time.monotonic() - began < 5 * SECONDS  # ten that wait for a get and a put each would wait for 20
        assert failures(service, "unreachable") == before + 1
        assert service.metric("monopod_cache_redis_up") == 0
        assert get(service.url + "/api/ping")[0] == 200
    finally:
        server.process.send_signal(signal.SIGCONT)
    until(lambda: service.metric("monopod_cache_redis_up") == 1)
    results(service, "after")
    assert redis.dbsize() >= 1


def test_a_redis_that_is_killed_under_load_fails_no_request_and_is_used_again(
    service: Running, server: RedisServer, redis: "Redis"
) -> None:
    answered: list[Any] = []

    def ask(number: int) -> None:
        answered.append(results(service, f"load {number % 50}", seconds=0.01))

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(200)]
        until(lambda: len(answered) >= 20, pause=0.001)
        server.kill()
        assert len(answered) < 200
        for each in asked:
            each.result(30)
    results(service, "another")
    assert service.metric("monopod_cache_redis_up") == 0
    server.start()
    until(lambda: service.metric("monopod_cache_redis_up") == 1)
    results(service, "back")
    with Redis(port=server.port, password=PASSWORD) as client:
        assert client.dbsize() == 1


@pytest.mark.parametrize("url", ["", f"http://:{PASSWORD}@host:1"], ids=["none", "http"])
def test_a_wrong_address_ends_the_start_without_repeating_its_password(folder: Path, url: str) -> None:
    service = launch(folder, {"REDIS_URL": url})
    assert service.process.wait(60) == 1
    said = service.log.read_text()
    service.log.unlink()
    assert "REDIS_URL is missing" in said
    assert "redis://host:6379/0" in said
    assert PASSWORD not in said
    assert "Traceback" not in said


def test_a_model_alone_is_cached_too(tmp_path: Path) -> None:
    folder = make_service(
        tmp_path / "small", 'cache = "local"\nmodel_path = "model/digits.onnx"', models=("tests/models/digits.onnx",)
    )
    with running(folder) as service:
        asked = [post_json(service.url + API, {"data": [[[[0.0] * 8] * 8]]}) for _ in range(2)]
        assert asked[0] == asked[1]
        assert (asked[0][0], misses(service), hits(service, "process")) == (200, 1, 1)
