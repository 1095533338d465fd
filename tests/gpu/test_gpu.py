"""Everything that needs a GPU. Nothing here skips: without a GPU, each test fails and says what is missing.

The card must be otherwise idle, since its memory is measured as a whole.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.base.errors import ModelFailed, StartError
from serving.base.lifetime import Lifetime
from serving.models.engine import CUDA_CONTEXT_BYTES, Engine, EngineError, Hardware
from serving.models.model import open_model
from serving.models.options import Options
from serving.models.registry import ModelRegistry
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from tests.memory import MIB
from tests.running import DIGITS, ROOT, UNET

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]  # TensorRT builds its engines for minutes

LIMIT = CUDA_CONTEXT_BYTES + 512 * MIB
PATIENCE = 120.0


def used() -> int:
    """Return how many bytes of the first GPU are in use."""
    command = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout) * MIB


def settled(most: int) -> int:
    """Wait ten seconds at most until no more than a number of bytes is in use, and return the bytes in use."""
    end = time.monotonic() + 10
    while (now := used()) > most and time.monotonic() < end:
        time.sleep(0.1)
    return now


@pytest.fixture(scope="module")
def context() -> Engine:
    """A session that stays open, so that the CUDA context is there before anything is measured."""
    if shutil.which("nvidia-smi") is None:
        pytest.fail("no NVIDIA driver here (nvidia-smi is missing): these tests need a card", pytrace=False)
    try:
        engine = Engine(DIGITS, Hardware("cuda"))
    except StartError as error:
        pytest.fail(f"no card can be used: {error}", pytrace=False)
    engine.run({"images": np.zeros((1, 1, 8, 8), np.float32)})
    return engine


@pytest.fixture(autouse=True)
def _card(context: Engine) -> None:
    """Every test needs the GPU."""


def pictures(rows: int, size: int = 256) -> dict[str, Any]:
    return {"images": np.random.default_rng(0).random((rows, 1, size, size), np.float32)}


def test_the_cuda_provider_is_active_and_comes_first(context: Engine) -> None:
    assert context._session.get_providers()[0] == "CUDAExecutionProvider"


@pytest.mark.parametrize("rows", [1, 5])
def test_the_gpu_computes_what_the_cpu_computes(rows: int) -> None:
    card, cpu = Engine(UNET, Hardware("cuda")), Engine(UNET, Hardware(threads=4))
    given = pictures(rows)
    assert np.allclose(card.run(given)["prob"], cpu.run(given)["prob"], atol=1e-2)  # TF32 rounds


def test_a_card_that_is_hidden_fails_the_start_and_never_falls_to_the_cpu() -> None:
    code = (
        "from pathlib import Path; from serving.models.engine import Engine, Hardware, StartError\n"
        f"try: Engine(Path({str(DIGITS)!r}), Hardware('cuda'))\n"
        "except StartError as error: print(error)\n"
    )
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("provider cuda was asked for and is not active") or "not loaded" in done.stdout


def test_memory_stays_under_the_limit_and_a_batch_over_it_fails_alone() -> None:
    before = used()
    engine = Engine(UNET, Hardware("cuda", gpu_bytes=LIMIT))
    peaks: list[int] = []

    def grow() -> None:
        for rows in (1, 2, 4, 8, 16, 32, 64, 128):
            engine.run(pictures(rows))
            peaks.append(used() - before)

    with pytest.raises(EngineError):
        grow()
    assert peaks
    assert max(peaks) <= LIMIT
    assert engine.run(pictures(1))["prob"].shape == (1, 3, 256, 256)
    assert used() - before <= LIMIT


def test_without_a_limit_the_same_batch_fits() -> None:
    assert Engine(UNET, Hardware("cuda")).run(pictures(64))["prob"].shape == (64, 3, 256, 256)


def test_the_largest_batch_that_does_not_fit_fails_the_start_in_words() -> None:
    options = Options(hardware=Hardware("cuda", gpu_bytes=LIMIT), max_batch_size=128, warmup_shapes={"images": (1, 256, 256)})
    words = (
        r"model unet fails on a warm-up batch of \d+ rows: .*; lower max_batch_size, give it more memory \(memory, gpu_memory\)"
    )
    with pytest.raises(StartError, match=words):
        open_model("unet", UNET, options, Metrics())


def test_memory_is_given_back_after_warming() -> None:
    engine = Engine(UNET, Hardware("cuda"))
    engine.run(pictures(1))
    before = used()
    engine.run(pictures(32))
    grown = used()
    assert grown - before > 200 * MIB
    engine.run(pictures(1), shrink=True)
    assert settled(before + 100 * MIB) - before <= 100 * MIB


def test_a_warm_model_holds_little_more_than_a_fresh_one() -> None:
    before = used()
    options = Options(hardware=Hardware("cuda"), max_batch_size=32, warmup_shapes={"images": (1, 256, 256)})
    model = open_model("unet", UNET, options, Metrics())
    assert settled(before + 300 * MIB) - before <= 300 * MIB
    assert model.close(PATIENCE)


def test_an_unloaded_models_memory_goes_back_to_the_card() -> None:
    settings = Settings(service_name="s", username="u", gpu_memory=4.0, on_demand_gpu_memory=4.0, max_batch_size=8)
    models = ModelRegistry(ROOT, settings, Metrics())
    models.on_demand("unet", "tests/models/unet.onnx", warmup_shapes={"images": (1, 256, 256)})

    class Asking:
        life = Lifetime(time.monotonic(), PATIENCE)

    assert models["unet"](pictures(1), Asking())["prob"].shape == (1, 3, 256, 256)
    models.unload("unet")
    before = used()
    for _ in range(3):
        models["unet"](pictures(8), Asking())
        models.unload("unet")
    assert settled(before + 50 * MIB) - before <= 50 * MIB


def test_models_that_share_gpu_memory_stay_under_it_together_however_large_their_pictures_are(context: Engine) -> None:
    settings = Settings(
        service_name="first",
        username="u",
        model_path=UNET.name,
        gpu_memory=4.0,
        model_gpu_memory={"second": 1.0},
        on_demand_gpu_memory=1.5,
        max_batch_size=1,
    )
    before = used()
    models = ModelRegistry(UNET.parent, settings, Metrics())
    for name in ("first", "second"):
        models.load(name, UNET.name, warmup_shapes={"images": (1, 256, 256)})
    for name in ("third", "fourth"):
        models.on_demand(name, UNET.name, warmup_shapes={"images": (1, 256, 256)})

    class Asking:
        life = Lifetime(time.monotonic(), 500)

    peaks, failed = [], 0
    for size in (256, 512, 1024, 2048, 4096):
        for name in models.names():
            try:
                models[name](pictures(1, size), Asking())
            except ModelFailed:  # a picture over its own share fails alone
                failed += 1
            peaks.append(used() - before)
    assert failed
    assert max(peaks) <= 4 * 1024 * MIB
    assert models["first"](pictures(1), Asking())["prob"].shape == (1, 3, 256, 256)
    assert all(model.close(PATIENCE) for model in models.loaded())


def test_two_instances_share_the_card() -> None:
    options = Options(
        hardware=Hardware("cuda", gpu_bytes=LIMIT), instances=2, max_batch_size=4, warmup_shapes={"images": (1, 128, 128)}
    )
    model = open_model("unet", UNET, options, Metrics())
    life = Lifetime(time.monotonic(), PATIENCE)
    given = [pictures(3, 128) for _ in range(12)]
    answers = [future.result(PATIENCE)["prob"] for future in [model.submit(one, life) for one in given]]
    assert all(np.allclose(answer, answers[0], atol=1e-2) for answer in answers)
    assert model.close(PATIENCE)


def test_tensorrt_in_half_precision_comes_close_to_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # TensorRT keeps its engines there
    try:
        half = Engine(UNET, Hardware("tensorrt", gpu_bytes=4 * 1024 * MIB, fp16=True))
    except StartError as error:
        pytest.fail(f"TensorRT cannot be used: {error}", pytrace=False)
    assert half._session.get_providers()[0] == "TensorrtExecutionProvider"
    given = pictures(4)
    full = Engine(UNET, Hardware(threads=4)).run(given)["prob"]
    difference = np.abs(half.run(given)["prob"] - full)
    assert difference.max() < 5e-2
    assert difference.mean() < 5e-3
    assert list((tmp_path / "tensorrt").iterdir())
