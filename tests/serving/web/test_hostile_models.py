"""Models that are hostile or merely wrong: a pod that starts with one still answers its probes, and ends when it is told to."""

import signal
import time
from pathlib import Path

import pytest

from tests import small_models
from tests.running import get, launch, make_service
from tests.waiting import until


def test_a_warm_up_that_never_ends_leaves_the_probes_and_the_end_as_they_are(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.endless(folder / "model/m.onnx")
    service = launch(folder)
    try:
        until(lambda: "threads of the model" in service.log.read_text())
        for _ in range(20):
            began = time.monotonic()
            assert get(service.admin + "/livez")[0] == 200
            assert get(service.admin + "/readyz")[0] == 503
            assert time.monotonic() - began < 2
        assert service.stop(signal.SIGTERM, 10) == 0
    finally:
        service.process.kill()
        service.process.wait(60)


@pytest.mark.parametrize("size", [2**31, 2**40])
def test_an_input_that_memory_cannot_hold_ends_the_start_in_a_sentence(size: int, tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.identity(folder / "model/m.onnx", shape=("n", size))
    service = launch(folder)
    assert service.process.wait(30) == 1
    words = f"input 'x' of shape [1, {size}] takes more than the memory, 2048 MiB; lower max_batch_size, give it more"
    assert words in service.log.read_text()
    assert "Traceback" not in service.log.read_text()
