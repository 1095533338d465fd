"""Methods of a service's class that are named almost like a hook."""

from pathlib import Path

import pytest

from serving.service.service import Service
from serving.settings import misnamed_hooks
from serving.settings.nearest import HOOKS
from tests.running import ROOT

CLASS = """from serving import api

class Cats(api.Service):
    def {name}(self, *given):
        return given

    def handle(self, request):
        return self.{used}(request)
"""


def told(folder: Path, text: str) -> list[str]:
    (folder / "src").mkdir()
    (folder / "src/server.py").write_text(text)
    return misnamed_hooks(folder)


@pytest.mark.parametrize(
    ("name", "near"),
    [("post_process", "postprocess"), ("preproces", "preprocess"), ("set_up", "setup"), ("handler", "handle")],
)
def test_a_method_named_almost_like_a_hook_is_told_with_its_line(tmp_path: Path, name: str, near: str) -> None:
    words = f"src/server.py:4: nothing calls {name!r}; did you mean the hook {near!r}?"
    assert told(tmp_path, CLASS.format(name=name, used="other")) == [words]


@pytest.mark.parametrize(
    ("name", "used"), [("post_process", "post_process"), ("_handle", "x"), ("search", "x"), ("setup", "x")]
)
def test_a_method_that_is_used_or_private_or_a_hook_or_like_none_is_not_told(tmp_path: Path, name: str, used: str) -> None:
    assert told(tmp_path, CLASS.format(name=name, used=used)) == []


@pytest.mark.parametrize("text", ["class", "\0", "class Other:\n    def post_process(self): ..."])
def test_text_that_is_not_python_and_other_classes_are_not_judged(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text) == []


def test_no_service_of_this_repository_has_such_a_method() -> None:
    folders = [path.parents[1] for path in (ROOT, *ROOT.glob("*/*")) for path in path.glob("src/server.py")]
    assert len(folders) >= 6
    assert [words for folder in folders for words in misnamed_hooks(folder)] == []


def test_every_hook_is_a_method_of_the_class() -> None:
    assert all(callable(getattr(Service, name)) for name in HOOKS)
