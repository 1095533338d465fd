"""Each rule about a model's files, broken by real files in a real folder: the mistake says where, why and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import small_models
from tests.conf.check_service import GPU, MODEL, POINTER, CheckService


def test_a_pointer_of_git_lfs_is_not_a_model(check_service: CheckService) -> None:
    mistakes = check_service(MODEL, files={"model/m.onnx": POINTER}).mistakes
    assert any("model/m.onnx is a Git LFS pointer" in mistake for mistake in mistakes)
    assert any("the model's file has 8.38 GiB" in mistake for mistake in mistakes)


def test_a_folder_is_not_a_model_and_the_file_in_it_is_named(check_service: CheckService) -> None:
    lines = 'model_path = "model"\n'
    (mistake,) = check_service(lines).mistakes
    assert mistake.startswith("value.py:5: 'model' is a folder")
    (mistake,) = check_service(lines, files={"model/m.onnx": "x", "model/m.onnx.sha256": "0"}).mistakes
    assert mistake.endswith('"model/m.onnx" (in hk, eu, na)')


@pytest.mark.parametrize(
    ("shape", "words"),
    [(("n", 2**40), "needs more than a byte of memory (4Gi)"), (("n", *[2**40] * 1_000), "needs more than 64 axes")],
)
def test_a_row_that_memory_cannot_hold_is_told(
    shape: tuple[int | str, ...], words: str, check_service: CheckService, tmp_path: Path
) -> None:
    (tmp_path / "me/model").mkdir(parents=True)
    small_models.identity(tmp_path / "me/model/m.onnx", shape=shape)
    mistakes = check_service(MODEL).mistakes
    assert len(mistakes) == 2
    for mistake, value in zip(mistakes, ("input 'x'", "output 'y'"), strict=True):
        assert f": {value} of model/m.onnx {words}" in mistake


def test_a_queue_of_the_largest_bodies_is_no_note_since_the_pod_bounds_their_bytes(check_service: CheckService) -> None:
    report = check_service('queue_limit = 64\nmax_body = "16Mi"\nmemory = "512Mi"\n')
    assert not [line for line in (*report.mistakes, *report.warnings) if "queue" in line]


def test_parts_of_a_model_need_a_checksum(check_service: CheckService) -> None:
    parts = {"model/m.onnx-aa": "x", "model/m.onnx-ab": "y"}
    told = check_service(MODEL, files=parts).mistakes
    assert any("parts (m.onnx-aa, ...) and has no checksum" in line for line in told)
    assert check_service(MODEL, files={**parts, "model/m.onnx.sha256": "0"}).mistakes == []


def test_shares_of_a_gpu_are_told_with_what_is_left_and_the_pods_memory(check_service: CheckService, tmp_path: Path) -> None:
    (tmp_path / "me/model/parts").mkdir(parents=True)
    small_models.identity(tmp_path / "me/model/m.onnx")
    small_models.padded(tmp_path / "me/model/parts/other.onnx", 2**20)
    report = check_service(MODEL + GPU + 'hk_gpu_memory = 8\nmodel_gpu_memory = {"detector": 1.5}\non_demand_gpu_memory = 1\n')
    assert report.mistakes == []
    words = "; of 4Gi of memory, the process and the ONNX files of model/ take about 0.251 GiB where all are loaded"
    shared = [
        warning.removeprefix("value.py:9: gpu_memory is shared, ") for warning in report.warnings if "detector" in warning
    ]
    assert shared == [
        f"8 GiB: detector 1.5, models loaded on first use 1, demo the rest, 5.5{words} (in hk)",
        f"4 GiB: detector 1.5, models loaded on first use 1, demo the rest, 1.5{words} (in eu, na)",
    ]


def test_further_models_that_memory_does_not_hold_are_told_unless_they_are_bounded(
    check_service: CheckService, tmp_path: Path
) -> None:
    (tmp_path / "me/model").mkdir(parents=True)
    with (tmp_path / "me/model/other.onnx").open("wb") as file:
        file.truncate(5 * 2**30)
    told = [line for line in check_service().warnings if "further" in line]
    assert told[0].startswith("value.py:4: model/ holds further ONNX")
    assert "take about 5.25 GiB, and memory is 4Gi" in told[0]
    assert not any("further" in line for line in check_service('model_memory = "2Gi"\n').warnings)


TENSORRT = GPU + 'provider = "tensorrt"\ninit_delay_second = 120\n'


@pytest.mark.parametrize(
    ("requirements", "quiet"),
    [
        ("", False),
        ("tensorrt-cu13-libs==10.16.1.11\n", True),
        ("# faster\nTensorRT_cu13 == 10.16.1.11  # on a GPU\n", True),
        ("tensorrt==10.16.1.11\n", True),
        ("tensorrt-cu13-libs==11.4.0.106\n", False),
        ("tensorrt-cu12-libs==10.16.1.11\n", False),
        ("# tensorrt-cu13-libs==10.16.1.11\n", False),
    ],
)
def test_tensorrt_is_told_what_brings_it_unless_the_requirements_do(
    check_service: CheckService, tmp_path: Path, requirements: str, quiet: bool
) -> None:
    (tmp_path / "me/src").mkdir(parents=True)
    report = check_service(TENSORRT, files={"src/requirements.txt": requirements})
    assert report.mistakes == []
    told = 'value.py:7: provider is "tensorrt", which no image'
    assert any(told in warning for warning in report.warnings) is not quiet


ONNX: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "maps": (
        small_models.classifier,
        "value.py:5: output 'output_probability' of model/m.onnx is a sequence of maps",
        'options={"zipmap": False}',
    ),
    "sequences": (
        small_models.sequence,
        "value.py:5: output 'y' of model/m.onnx is a sequence of tensors",
        "it takes and gives tensors alone",
    ),
}


@pytest.mark.parametrize("name", ONNX)
def test_a_model_that_gives_more_than_tensors_is_told_with_its_cure(
    check_service: CheckService, tmp_path: Path, name: str
) -> None:
    write, begin, cure = ONNX[name]
    (tmp_path / "me/model").mkdir(parents=True)
    write(tmp_path / "me/model/m.onnx")
    (mistake,) = check_service(MODEL).mistakes
    assert mistake.startswith(begin)
    assert cure in mistake


def test_a_model_of_tensors_passes_without_a_word(check_service: CheckService, tmp_path: Path) -> None:
    (tmp_path / "me/model").mkdir(parents=True)
    small_models.classifier(tmp_path / "me/model/m.onnx", zipmap=False)
    report = check_service(MODEL)
    assert report.mistakes == []
    assert not any("model" in warning for warning in report.warnings)


def test_a_file_that_is_no_whole_model_is_a_mistake(check_service: CheckService) -> None:
    (told,) = check_service(MODEL, files={"model/m.onnx": "no model"}).mistakes
    assert told.startswith("value.py:5: model/m.onnx is not a")


@pytest.mark.parametrize(
    ("model", "files", "reason"),
    [
        ("m.onnx", {"model/m.onnx-aa": "x", "model/m.onnx.sha256": "0"}, "its parts are not merged"),
        ("m.onnx", {"model/Makefile": "all:\n"}, "model/Makefile makes it"),
        ("m.ort", {"model/m.ort": "ORTM"}, "it is in onnxruntime's own format"),
    ],
)
def test_a_model_that_is_not_there_yet_or_of_another_format_is_passed_over_with_a_note(
    check_service: CheckService, model: str, files: dict[str, str], reason: str
) -> None:
    report = check_service(f'model_path = "model/{model}"\n', files=files)
    assert report.mistakes == []
    assert any(f"model/{model} is not read here ({reason})" in warning for warning in report.warnings)
