"""Models that come and go under a memory budget that holds one of the two, and model files that are broken."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from serving.testing import peak_bytes
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import PYTHONPATH, ROOT, Running, get, launch, running
from tests.waiting import until

EXAMPLE = ROOT / "examples/instance-masks"
COINS = (ROOT / "examples/images/coins.png").read_bytes()
MODELS = {"nuclei": "unet", "objects": "u2netp-dyn"}


def copied(folder: Path, budget: str = "512Mi") -> Path:
    """Copy the example with another memory budget, and with more time, since loading a model for each request is slow."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "value.py").read_text()
    assert '"512Mi"' in text
    (folder / "value.py").write_text(text.replace('"512Mi"', f'"{budget}"') + "timeout_second = 100\n")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The example with room for one model. The files of both would fit, but their memory once loaded does not."""
    with running(copied(tmp_path_factory.mktemp("budget") / "service", "6Mi")) as it:
        yield it


def ask(service: Running, material: str, seconds: float = 100) -> tuple[int, str]:
    """Return the status, and the model that answered or the reason for the error."""
    url = f"{service.url}/api/like/instance-masks/detect?material={material}"
    headers = {"Content-Type": "image/png", "X-Request-Timeout-Ms": f"{1000 * seconds:.0f}"}
    try:
        with urlopen(Request(url, COINS, headers), timeout=110) as response:
            return response.status, json.load(response)["results"]["model"]
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["reason"]


def loaded(service: Running) -> set[str]:
    lines = service.metrics().splitlines()
    return {
        name for name in MODELS.values() for line in lines if line.startswith("monopod_model_info{") and f'"{name}"' in line
    }


def test_both_materials_answer_in_turn_and_what_is_unloaded_gives_its_memory_back(service: Running) -> None:
    at_rest, with_both_in_turn = [], []
    for _ in range(3):
        assert ask(service, "nuclei") == (200, "unet")
        assert loaded(service) == {"unet"}  # the larger one was unloaded for it
        at_rest.append(settled_bytes(service.process.pid))
        forget_peak(service.process.pid)
        assert ask(service, "objects") == (200, "u2netp-dyn")
        assert loaded(service) == {"u2netp-dyn"}
        with_both_in_turn.append(peak_bytes(service.process.pid))
    # Numbers settle with the second turn: the first also paid for what libraries keep once.
    assert min(with_both_in_turn) - max(at_rest) > 100 * MIB  # the larger model's memory, which it gave back each time
    assert max(at_rest[1:]) - min(at_rest[1:]) < 12 * MIB
    assert max(with_both_in_turn[1:]) - min(with_both_in_turn[1:]) < 48 * MIB


def test_requests_for_both_at_once_are_all_answered(service: Running) -> None:
    before = settled_bytes(service.process.pid)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(service, list(MODELS)[number % 2]), range(8)))
    assert answers == [(200, model) for model in MODELS.values()] * 4
    assert ask(service, "nuclei") == (200, "unet")
    assert settled_bytes(service.process.pid) < before + 30 * MIB
    assert service.process.poll() is None


def test_a_material_that_is_asked_for_all_the_time_keeps_none_of_the_others_waiting_for_ever(service: Running) -> None:
    over = threading.Event()

    def keep_busy(_: int) -> set[tuple[int, str]]:
        found = set()
        while not over.is_set():
            found.add(ask(service, "nuclei"))
        return found

    with ThreadPoolExecutor(3) as pool:
        busy = pool.map(keep_busy, range(3))
        try:
            answer = ask(service, "objects", seconds=40)  # a quarter of them is waited, and the rest is for a busy machine
        finally:
            over.set()
        assert set().union(*busy) == {(200, "unet")}
    assert answer == (200, "u2netp-dyn")


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_broken_model_file_is_a_500_without_details_and_the_others_go_on(tmp_path: Path, damage: str) -> None:
    folder = copied(tmp_path / "service")
    model = folder / "model/unet.onnx"
    model.write_bytes(model.read_bytes()[:200_000] if damage == "cut" else b"not a model" * 1000)
    with running(folder) as service:
        for _ in range(2):  # it is tried anew each time
            status, body = get(service.url + "/api/instance-masks?material=nuclei", COINS, {"Content-Type": "image/png"})
            answer = json.loads(body)
            assert (status, answer["reason"]) == (500, "model_failed")
            assert answer["error"] == "model unet cannot be loaded; the log tells why"
        assert ask(service, "objects") == (200, "u2netp-dyn")
        until(lambda: "model/unet.onnx" in service.log.read_text(), seconds=10)
        assert "model unet cannot be loaded" in service.log.read_text()


def test_verify_tells_of_a_broken_model_file_and_of_customers_own(tmp_path: Path) -> None:
    folder = copied(tmp_path / "service")
    own = folder / "model/customers/acme"
    own.mkdir(parents=True)
    model = (folder / "model/unet.onnx").rename(own / "nuclei.onnx")
    (folder / "model/unet.onnx").write_bytes(model.read_bytes()[:200_000])
    command = [sys.executable, "-m", "monopod", "verify", "--service", str(folder)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": PYTHONPATH}, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    said = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith(("ok", "WRONG"))}
    assert {name: line.split()[0] for name, line in said.items()} == {"u2netp-dyn": "ok", "unet": "WRONG", "acme.nuclei": "ok"}
    assert "not the file that model/SHA256SUMS names" in said["unet"]


def test_a_default_that_is_no_material_ends_the_start(tmp_path: Path) -> None:
    folder = copied(tmp_path / "service")
    (folder / "model/unet.onnx").unlink()
    text = (folder / "value.py").read_text()
    (folder / "value.py").write_text(text.replace('"objects"', '"nuclei"'))
    service = launch(folder)
    assert service.process.wait(60) != 0
    assert "value.py: default_material is 'nuclei'; it may be coins or objects" in service.log.read_text()
    service.log.unlink()
