"""A service's own code without a server: the same answers, models opened as they are used."""

from pathlib import Path

import pytest

from serving.alone import make_request, open_service
from serving.engine import StartError
from serving.errors import BadInput, ModelFailed
from serving.schema import SchemaError
from tests.running import ROOT, make_service

COFFEE = (ROOT / "examples/images/coffee.jpg").read_bytes()


def test_the_roots_service_answers_without_a_server() -> None:
    service = open_service(ROOT)
    service.setup()
    results = service.handle(make_request(image=COFFEE))
    assert results[0]["label"] == "espresso"
    with pytest.raises(BadInput, match="holds 2 pictures; send one"):
        service.handle(make_request(images=[COFFEE, COFFEE]))


def test_a_model_that_is_missing_is_missed_when_it_is_used(tmp_path: Path) -> None:
    service = open_service(make_service(tmp_path / "small", 'model_path = "model/none.onnx"'))
    service.setup()
    with pytest.raises(ModelFailed):
        service.model({}, make_request())


def test_mistakes_are_told_as_at_a_start(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="cpus"):
        open_service(make_service(tmp_path / "wrong", "cpus = 2"))
    with pytest.raises(StartError, match="holds 0 subclasses of Service"):
        open_service(make_service(tmp_path / "none", "", "x = 1"))
    with pytest.raises(StartError, match=r"it imports no_such_package, which is not installed.*src/requirements.txt"):
        open_service(make_service(tmp_path / "bare", "", "import no_such_package"))
