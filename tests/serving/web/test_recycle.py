"""A process whose memory grows drains and ends by itself, where another pod serves meanwhile, and loses no request."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from serving.base.process import private_bytes
from serving.settings import Settings
from serving.web import recycle
from serving.web.recycle import EXIT_CODE
from tests.running import ROOT, Running, launch, make_service, post_json
from tests.waiting import until

MIB = 2**20
SETTINGS = "memory = '256Mi'\ncpu = 1\n"
LEAKING = (ROOT / "tests/services/leaking/src/server.py").read_text()


def pod(folder: Path, replicas: int, settings: str = SETTINGS) -> Running:
    """Start a leaking service as a pod beside its replicas. Its temporary folder outlives it."""
    if not (folder / "small").exists():
        make_service(folder / "small", f"{settings}\nreplicas = {replicas}\n", LEAKING)
        (folder / "tmp").mkdir()
    env = {"MONOPOD_TRACK": "prod", "HOSTNAME": "small-1", "TMPDIR": str(folder / "tmp")}
    service = launch(folder / "small", env)
    service.wait_ready()
    return service


def ask(service: Running) -> tuple[int, Any]:
    return post_json(service.url + "/api/small", {})


@pytest.fixture
def leave(tmp_path: Path) -> Iterator[list[Running]]:
    """A list of processes that end with the test."""
    started: list[Running] = []
    yield started
    for service in started:
        service.stop()


def test_a_pod_that_leaks_drains_and_ends_and_every_request_is_answered(tmp_path: Path, leave: list[Running]) -> None:
    service = pod(tmp_path, replicas=2)
    leave.append(service)
    answered, stopped = [], threading.Event()

    def load() -> None:
        while not stopped.is_set() and service.process.poll() is None:
            try:
                answered.append(ask(service)[0])
            except URLError:  # the port is closed: a gateway sends to the sibling by then
                return

    client = threading.Thread(target=load)
    client.start()
    assert service.process.wait(60) == EXIT_CODE
    stopped.set()
    client.join()
    assert set(answered) == {200}
    assert len(answered) > 100
    said = [line["message"] for line in service.lines()]
    assert any("above recycle_at_memory" in words for words in said)
    assert said.index("drained") < said.index(f"the process ends with exit code {EXIT_CODE}")

    again = pod(tmp_path, replicas=2)
    leave.append(again)
    assert again.metric("monopod_recycles") == 1
    assert again.metric("monopod_recycle_due") == 0


def test_the_only_pod_of_a_service_goes_on_and_tells_that_it_leaks(tmp_path: Path, leave: list[Running]) -> None:
    service = pod(tmp_path, replicas=1)
    leave.append(service)
    while private_bytes(service.process.pid) < 245 * MIB:
        assert ask(service)[0] == 200
    until(lambda: service.metric("monopod_recycle_due") == 1)
    assert ask(service)[0] == 200
    assert service.metric("monopod_recycles") == 0


def test_what_requests_hold_now_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, seconds in (("LOOK_SECONDS", 0.01), ("OVER_SECONDS", 0.05), ("MIN_AGE", 0.05)):
        monkeypatch.setattr(recycle, name, seconds)
    monkeypatch.setattr(recycle, "COUNT", tmp_path / "count")
    settings = Settings(service_name="small", username="like", memory=f"{private_bytes() // MIB * 10 // 9 + 100}Mi")
    held, ended = 0, asyncio.Event()

    async def watched() -> None:
        nonlocal held
        watching = recycle.Recycling(settings, "small-1", True, lambda: held, ended.set)
        task = asyncio.create_task(watching.watch())
        await asyncio.sleep(0)  # the memory at rest is read
        grown, held = b"\x01" * (300 * MIB), 300 * MIB
        await asyncio.sleep(0.5)
        assert not watching.over
        assert not ended.is_set()
        held = 0
        await asyncio.wait_for(ended.wait(), 30)
        await task
        assert (watching.count(), len(grown)) == (1, 300 * MIB)

    asyncio.run(watched())


@pytest.mark.parametrize(("settings", "told"), [("recycle_at_memory = 0", False), ("recycle_at_memory = 0.1", True)])
def test_a_level_of_zero_is_silent_and_one_below_the_memory_at_rest_is_told(
    settings: str, told: bool, tmp_path: Path, leave: list[Running]
) -> None:
    service = pod(tmp_path, replicas=2, settings=f"{SETTINGS}{settings}")
    leave.append(service)
    until(lambda: any(line["message"].startswith("ready after") for line in service.lines()))
    assert ask(service)[0] == 200
    assert any("at rest, above recycle_at_memory" in line["message"] for line in service.lines()) == told
    assert service.process.poll() is None
