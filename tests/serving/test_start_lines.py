"""The log's last lines of a start: how to try the service, and a queue that is longer than a request may wait."""

from pathlib import Path

from tests import small_models
from tests.running import make_service, running

SLEEPY = """
import time

from serving.api import Service, TensorSpec

ROWS = (TensorSpec("x", "FP32", (-1, 1)),)


class Sleepy(Service):
    def setup(self):
        self.models.add("sleepy", self.work, ROWS, ROWS)

    def work(self, arrays):
        time.sleep(0.01 * len(arrays["x"]))
        return arrays
"""


def messages(folder: Path) -> list[str]:
    with running(folder) as service:
        service.stop()
        return [line["message"] for line in service.lines()]


def test_a_full_queue_that_takes_longer_than_a_request_may_is_told_with_a_limit_that_fits(tmp_path: Path) -> None:
    told = messages(make_service(tmp_path / "small", "queue_limit = 256\ntimeout_second = 2", SLEEPY))
    (warning,) = (line for line in told if "queue_limit" in line)
    assert warning.startswith("model sleepy: queue_limit is 256, ")
    assert "full queue takes 2." in warning
    assert "set queue_limit to 1" in warning


def test_a_long_row_is_left_to_the_page_and_a_quick_queue_is_not_told(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"\nqueue_limit = 256')
    small_models.identity(folder / "model/m.onnx", shape=("n", 320))
    told = messages(folder)
    assert not [line for line in told if "queue_limit" in line]
    (line,) = (line for line in told if line.startswith("try: "))
    assert "/api/like/small/  # the page" in line
