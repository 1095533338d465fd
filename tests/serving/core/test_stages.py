"""A request leaves nothing behind, however it ended; and a fetcher is there only where a service names hosts."""

import asyncio
import contextlib
import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.base.errors import BadInput, ServiceFailed, ServingError
from serving.core.stages import SMALL_JSON, Decoded, fetcher_of
from serving.inputs.fetch import Fetcher
from serving.models.tensors import ModelSpec, TensorSpec
from serving.settings import Settings
from tests.running import PYTHONPATH, make_service
from tests.serving.core.conftest import AskedCore
from tests.waiting import until

SERVER = """
import time

from serving.base.errors import BadInput
from serving.service.service import Service


class Own(Service):
    def handle(self, request):
        how = request.value("how", str)
        if how == "bad":
            try:
                int(how)
            except ValueError as error:
                raise BadInput("bad") from error
        if how == "slow":
            time.sleep(0.5)
        if how == "bug":
            raise KeyError("bug")
        return (letter for letter in how) if how == "items" else how
"""


@pytest.fixture
def core(tmp_path: Path, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> AskedCore:
    monkeypatch.setattr(
        logging.getLogger("monopod.core"), "disabled", True
    )  # pytest keeps log records, and with them tracebacks
    return AskedCore(make_service(tmp_path / "small", "", SERVER), loop)


@contextlib.contextmanager
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize(("how", "error"), [("fine", None), ("bad", BadInput), ("bug", ServiceFailed)])
def test_a_body_is_freed_with_its_answer_and_waits_for_no_garbage_collector(
    core: AskedCore, how: str, error: type[ServingError] | None
) -> None:
    body = b'{"how": "%s"}' % how.encode()
    held = sys.getrefcount(body)
    with without_the_collector():
        answer = core.answer(core.request(body))
        assert type(answer.exception(5)) is (error or type(None))
        del answer
        end = time.monotonic() + 20
        while sys.getrefcount(body) > held and time.monotonic() < end:
            time.sleep(0.01)
        assert sys.getrefcount(body) == held


def test_items_become_a_list_where_no_client_could_take_them_one_by_one(core: AskedCore) -> None:
    core.core.collects = True
    reply = core.answer(core.request(b'{"how": "items"}')).result(5)
    assert (reply.stream, reply.body) == (None, b'{"results":["i","t","e","m","s"],"msg":""}')


def test_the_jobs_move_when_one_ends_too_so_that_what_it_freed_then_is_given_back(core: AskedCore) -> None:
    answer = core.answer(core.request(b'{"how": "slow"}'))
    until(lambda: core.core.jobs > 0, pause=0.001)
    begun = core.core.jobs
    assert not answer.done()
    answer.result(20)
    until(lambda: core.core.jobs > begun)


@pytest.mark.parametrize("body", [b'{"how": "slow"}', b'{"how": "bad"}', b"not JSON"])
def test_a_request_that_leaves_the_loop_counts_as_one_row_until_it_is_answered(core: AskedCore, body: bytes) -> None:
    answer = core.answer(core.request(body))
    if b"slow" in body:
        until(lambda: core.models.waiting_rows(core.service.settings.service_name) == 1, pause=0.001)
    answer.exception(20)
    assert core.models.waiting_rows() == 0


def test_a_large_request_to_a_model_counts_as_a_row_that_waits_for_this_model(core: AskedCore) -> None:
    x = TensorSpec("x", "FP32", (-1, 2))
    handle, opens = core.models.add("m", lambda arrays: arrays, (x,), (x,)), threading.Event()

    def decode(body: bytes, spec: ModelSpec) -> Decoded:
        assert opens.wait(20)
        raise BadInput("it was decoded")

    large = b" " * (SMALL_JSON + 1)
    answer = core.infer("m", core.request(large), decode)
    until(lambda: core.models.waiting_rows("m") == 1, pause=0.001)
    opens.set()
    with pytest.raises(BadInput):
        answer.result(20)
    core.models.unload(handle.name)


LOADED = "import sys, serving.main; print(sorted({'flask', 'requests', 'urllib3'} & set(sys.modules)))"


def test_the_server_starts_without_the_libraries_of_fetches() -> None:
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("['flask']", 0), done.stderr


def test_a_service_that_names_no_hosts_refuses_every_url() -> None:
    fetcher = fetcher_of(Settings(service_name="small", username="like"))
    with pytest.raises(BadInput, match="its setting fetch_hosts is empty"):
        fetcher.fetch("http://img.example.com/", 1.0)


def test_a_service_that_names_hosts_fetches() -> None:
    assert isinstance(fetcher_of(Settings(service_name="small", username="like", fetch_hosts=("img.example.com",))), Fetcher)
