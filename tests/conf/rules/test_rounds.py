"""One run reports the mistakes of all steps, and none that only follows from another mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conf.rules.check import Report, check
from conf.rules.other_services import other_services
from tests.conf.golden import regions

NAMES = 'service_name = "demo"\nusername = "like"\n'
CheckService = Callable[..., Report]


@pytest.fixture
def check_service(tmp_path: Path) -> CheckService:
    """Return a function that checks a service of this value.py and this alerts.yaml. image: as --image names it."""

    def run(text: str, alerts: str = "", image: str = "") -> Report:
        (tmp_path / "me").mkdir(exist_ok=True)
        (tmp_path / "me" / "value.py").write_text(text, encoding="utf-8")
        (tmp_path / "me" / "alerts.yaml").write_text(alerts, encoding="utf-8")
        others, _ = other_services(tmp_path, tmp_path / "me", regions())
        return check(tmp_path / "me", regions(), image_name=image, others=others)

    return run


ONE_OF_EACH = (
    NAMES
    + """hk_replica = 2
memory = "512"
cpu =
import os
replicas = 3
max_replicas = 2
gpu_memory = 8
timeout_second = 5
upload_timeout_second = 9
model_path = "model/m.onnx"
"""
)


def test_spelling_kinds_rules_placing_and_files_are_told_in_one_run(check_service: CheckService) -> None:
    told = check_service(ONE_OF_EACH, "groups: 3\n", "A b").mistakes
    expected = [
        ("--image", "'A b' is not the name of an image"),
        ("alerts.yaml:1", "groups must be a list of tables"),
        ("value.py:3", "no setting 'hk_replica'; did you mean 'hk_replicas'?"),
        ("value.py:4", "memory is '512', but must be a quantity"),
        ("value.py:5", "cpu has no value"),
        ("value.py:6", "only lines of the form name = value may stand here"),
        ("value.py:8", "max_replicas is 2 and replicas 3"),
        ("value.py:9", "no kind of node in eu takes the pod"),
        ("value.py:11", "upload_timeout_second is 9 and timeout_second 5"),
        ("value.py:12", "'model/m.onnx' is not in the service's folder"),
    ]
    assert [line.partition(": ")[0] for line in told] == [place for place, _ in expected]
    assert all(words in line for (_, words), line in zip(expected, told, strict=True)), told


@pytest.mark.parametrize(
    "lines",
    [
        'provider = "cuda"\ngpu_memory = "8 GiB"\n',
        'provider = "cuda"\ngpu_memory =\n',
        'provider = "cuda"\ngpu_memory = 8 GiB\n',
        'provider = "cuda"\ngpu = 8\n',
        'provider = "cuda"\ngpu_memori = 8\n',
        "use_srv = True\n",
        'gpu_memory = 8\ntolerations = "nvidia.com/gpu"\n',
        'gpu_memory = 8\ntoleration = ["nvidia.com/gpu"]\n',
        'replicas = 0\nhk_replicas = "2"\n',
        'max_rows_per_request = 100\nqueue_limit = "128"\n',
        "timeout_second = {}\nupload_timeout_second = 60\n",
        'hk_replicas = 150\nhk_cpu = "little"\neu_replicas = 1\n',
    ],
)
def test_a_mistake_is_followed_by_no_invented_one(check_service: CheckService, lines: str) -> None:
    assert len(check_service(NAMES + lines).mistakes) == 1


def test_a_mistake_in_one_region_hides_none_of_another(check_service: CheckService) -> None:
    told = check_service(NAMES + 'hk_cpu = "little"\neu_cpu = 200\n').mistakes
    assert [line.partition(": ")[0] for line in told] == ["value.py:3", "value.py:4"]
    assert "no kind of node in eu takes the pod" in told[1]


def test_a_region_that_says_it_right_is_judged(check_service: CheckService) -> None:
    told = check_service(NAMES + 'cpu = "little"\neu_cpu = 200\n').mistakes
    assert [line.partition(": ")[0] for line in told] == ["value.py:3", "value.py:4"]


def test_a_wrong_name_is_compared_with_no_other_service(check_service: CheckService, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "value.py").write_text('service_name = "unknown"\nusername = "unknown"\n', encoding="utf-8")
    told = check_service('service_name = "Demo"\nusername = 3\ncpu = 60\n')
    assert [line.partition(": ")[0] for line in told.mistakes] == ["value.py:1", "value.py:2", *["value.py:3"] * 3]
    assert not any("unknown" in line for line in [*told.mistakes, *told.warnings])


def test_what_is_not_certain_is_no_row(check_service: CheckService) -> None:
    assert check_service(NAMES + 'cpu = "little"\n').rows == []
    assert check_service(NAMES).rows != []
