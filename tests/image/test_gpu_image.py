"""The gpu image, built in full on a machine without a GPU: it holds CUDA and cuDNN, and never falls back to CPUs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.building import context, forgotten, made, refused

IMAGE = "localhost/monopod-test/demo:gpu"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_gpu_image_refuses_in_words_to_start_without_a_card(needs: Callable[[str, str], str], tmp_path: Path) -> None:
    needs("buildah", "buildah")
    folder = context(tmp_path / "context")
    value = folder / "value.py"
    value.write_text(value.read_text().replace("gpu_memory = 0", "gpu_memory = 2"))
    with forgotten(IMAGE):
        made(folder, IMAGE, TARGET="gpu")
        status, words = refused(IMAGE, "python", "/app/src/monopod.py", "serve")
    assert status == 1, words
    assert "provider cuda was asked for" in words
    assert "Traceback" not in words
