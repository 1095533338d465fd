"""A service's own code without a server: the same answers, and models that are opened on their first use."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.base.errors import BadInput, ModelFailed, StartError
from serving.service.embedded import open_service
from serving.service.request import make_request
from serving.service.service import files_of
from serving.settings import SettingsError
from tests.running import PYTHONPATH, ROOT, make_service

COFFEE = (ROOT / "examples/images/coffee.jpg").read_bytes()


def test_the_roots_service_answers_without_a_server() -> None:
    service = open_service(ROOT)
    service.setup()
    results = service.handle(make_request(image=COFFEE))
    assert results[0]["label"] == "espresso"
    with pytest.raises(BadInput, match="holds 2 pictures; send one"):
        service.handle(make_request(images=[COFFEE, COFFEE]))


def test_a_missing_model_is_an_error_when_it_is_used(tmp_path: Path) -> None:
    service = open_service(make_service(tmp_path / "small", 'model_path = "model/none.onnx"'))
    service.setup()
    with pytest.raises(ModelFailed):
        service.model({}, make_request())


def test_mistakes_are_told_as_at_the_start_of_a_server(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cpus"):
        open_service(make_service(tmp_path / "wrong", "cpus = 2"))
    with pytest.raises(StartError, match="holds 0 subclasses of Service"):
        open_service(make_service(tmp_path / "none", "", "x = 1"))
    with pytest.raises(StartError, match=r"it imports no_such_package, which is not installed.*src/requirements.txt"):
        open_service(make_service(tmp_path / "bare", "", "import no_such_package"))
    with pytest.raises(StartError, match=r"there is no serving.batcher; a service's code imports from serving.api"):
        open_service(make_service(tmp_path / "old", "", "from serving.batcher import Batcher"))


def test_a_script_that_ends_while_a_model_works_ends_as_it_says(tmp_path: Path) -> None:
    folder = make_service(
        tmp_path / "small",
        'model_path = "model/efficientnet-lite0.onnx"\nmax_batch_size = 16',
        models=("examples/sku-recognition/model/efficientnet-lite0.onnx",),
    )
    script = (
        "import sys, time, pathlib, numpy; from serving.api import make_request, open_service\n"
        f"model = open_service(pathlib.Path({str(folder)!r})).model\n"
        "[(name, shape)] = [(each.name, each.shape) for each in model.spec(make_request().life).inputs]\n"
        "model.submit({name: numpy.zeros((16, *shape[1:]), numpy.float32)}, make_request())\n"
        "class Slow:\n    def __del__(self, sleep=time.sleep): sleep(2)\n"
        "slow = Slow()\n"  # the interpreter's end takes longer than the batch
        "time.sleep(0.05); sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_service_may_have_a_method_or_an_attribute_of_its_own_named_files(tmp_path: Path) -> None:
    server = """
from serving.api import Service


class Older(Service):
    pictures = True

    def files(self):
        return []


class Attribute(Service):
    def setup(self):
        self.files = {"coins": "u2netp.onnx"}
"""
    first, second = server.partition("class Attribute")[0], server.replace("class Older(Service)", "class Older")
    older = open_service(make_service(tmp_path / "older" / "small", "", first))
    attribute = open_service(make_service(tmp_path / "attribute" / "small", "", second))
    attribute.setup()
    assert (list(files_of(older)), list(files_of(attribute))) == (["image"], [])
