"""The one module that a service's own code imports, and the modules from which older forks still import."""

import importlib
import os
import subprocess
import sys

import pytest

from serving import api, service
from tests.running import ROOT
from tests.serving import api_page

OLD = [
    *(("serving.service", name) for name in sorted(service.MOVED_TO_API)),
    ("serving.alone", "make_request"),
    ("serving.alone", "open_service"),
    ("serving.engine", "StartError"),
    ("serving.errors", "QueueFull"),
    ("serving.lifetime", "Lifetime"),
    ("serving.model", "check_file"),
    ("serving.models", "Handle"),
    ("serving.tensors", "Arrays"),
]
# Names that serving.api does not hold, and where they are now.
ELSEWHERE = [
    ("serving.errors", "NotFound", "serving.base.errors", "NotFound"),
    ("serving.memory", "peak_bytes", "serving.base.process", "peak_bytes"),
    ("serving.metrics", "Metrics", "serving.telemetry.metrics", "Metrics"),
    ("serving.models", "Models", "serving.models.registry", "ModelRegistry"),
    ("serving.progress", "progress", "serving.base.terminal", "progress"),
    ("serving.schema", "SchemaError", "serving.api", "SettingsError"),
    ("serving.schema", "Settings", "serving.settings", "Settings"),
    ("serving.tensors", "ModelSpec", "serving.models.tensors", "ModelSpec"),
]


def test_the_page_of_the_api_is_made_of_its_docstrings_and_has_every_name() -> None:
    file = ROOT / "docs/api.md"
    if os.environ.get("UPDATE_API"):
        file.write_text(api_page.page(), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == api_page.page(), "UPDATE_API=1 .venv/bin/pytest tests/serving/test_api.py"
    assert api_page.shown() >= {*api.__all__}
    assert "**``**" not in api_page.page()


@pytest.mark.parametrize(("module", "name"), OLD)
def test_what_older_forks_import_is_found_with_a_warning(module: str, name: str) -> None:
    with pytest.warns(FutureWarning, match=f"{name} is imported from {module}; import it from serving.api"):
        assert getattr(importlib.import_module(module), name) is getattr(api, name)


@pytest.mark.parametrize(("module", "name", "place", "new"), ELSEWHERE)
def test_a_name_that_serving_api_does_not_hold_is_found_where_it_is_now(module: str, name: str, place: str, new: str) -> None:
    words = f"^{name} is imported from {module}; import {'it' if new == name else new} from {place}$"
    with pytest.warns(FutureWarning, match=words):
        assert getattr(importlib.import_module(module), name) is getattr(importlib.import_module(place), new)


def test_the_warning_names_the_line_that_imports() -> None:
    command = [sys.executable, "-c", "\nfrom serving.tensors import Arrays"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    warned = "<string>:2: FutureWarning: Arrays is imported from serving.tensors; import it from serving.api"
    assert [line for line in done.stderr.splitlines() if "Warning" in line] == [warned]


@pytest.mark.parametrize("module", ["serving.service", "serving.models", "serving.tensors"])
def test_a_name_that_never_stood_there_cannot_be_imported(module: str) -> None:
    with pytest.raises(ImportError, match=f"cannot import name 'Sevrice' from '{module}'"):
        exec(f"from {module} import Sevrice")


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'serving.tensor'"):
        importlib.import_module("serving.tensor")
