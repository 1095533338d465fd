"""Rules for the Dockerfiles' text, which need no build."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def stage(name: str) -> str:
    """Return the instructions of a stage."""
    (found,) = re.findall(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |^# ---|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return str(found).strip()


@pytest.mark.parametrize("file", ["Dockerfile", "ci/Dockerfile", "relay/Dockerfile"])
def test_hadolint_finds_nothing(file: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, file], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_images_for_cpu_and_gpu_differ_in_onnxruntime_alone() -> None:
    lines = [line.strip() for line in DOCKERFILE.splitlines() if "TARGET" in line and not line.startswith("#")]
    assert lines == [
        "ARG TARGET=cpu",
        'xargs python /build/extras.py /build/pyproject.toml runtime "$TARGET" </build/needed.txt >platform.txt \\',
    ]
    assert not re.search(r"\b[cg]pu\b", stage("pod") + stage("service"))


def test_the_last_layer_is_the_services_own_source() -> None:
    assert [line for line in stage("service").splitlines() if line.startswith(("COPY", "RUN"))][-3:] == [
        "COPY --from=model /app/model model/",
        "COPY --from=parts /parts/platform ./",
        "COPY --from=parts /parts/own ./",
    ]


def test_no_registrys_address_is_written_and_no_build_argument_reaches_a_final_stage() -> None:
    assert re.findall(r"https?://(?!127\.0\.0\.1)", DOCKERFILE) == []
    for name in ("pod", "service"):
        assert "ARG" not in stage(name)
