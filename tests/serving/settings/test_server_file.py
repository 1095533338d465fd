"""src/server.py is read and never run: methods named almost like hooks, and what it holds in place of a Service."""

from pathlib import Path

import pytest

from serving.service.service import Service
from serving.settings import faults_of_server, misnamed_hooks
from serving.settings.server_file import HOOKS
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
    ("name", "near"), [("post_process", "postprocess"), ("preproces", "preprocess"), ("set_up", "setup"), ("handler", "handle")]
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


def faults(folder: Path, text: str) -> tuple[list[str], list[str]]:
    (folder / "src").mkdir()
    (folder / "src/server.py").write_text(text)
    return faults_of_server(folder)


@pytest.mark.parametrize(
    "text",
    [
        CLASS.format(name="handle", used="x"),
        "from flask import Flask\nweb = Flask(__name__)",
        "import flask as f\nif True:\n    web: f.Flask = f.Flask(__name__)\nweb.wsgi_app = f.x(web.wsgi_app)",
        "from cats import create_app\napp = create_app()",
        "def application(environ, start): ...",
        "from cats import app",
        "class",
    ],
)
def test_a_service_and_an_application_are_found_without_a_run(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text) == ([], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "src/server.py:1: it holds neither a subclass of Service nor a WSGI application; write "),
        ("import logging\nlog = logging.getLogger()\n_x = 1\ndef f():\n    app = 1\n", "src/server.py:1: it holds neither"),
        ("from fastapi import FastAPI\n\napp = FastAPI()", "src/server.py:3: app is an ASGI application"),
        ("import quart as q\napplication = q.Quart(__name__)", "src/server.py:2: application is an ASGI application"),
        ("async def app(scope, receive, send): ...", "src/server.py:1: app is an ASGI application"),
        ("import fastapi\nclass A(Service): ...\napp = fastapi.FastAPI()", "src/server.py:3: app is an application beside A"),
        (
            "from flask import Flask\nfrom serving.api import Service\nclass A(Service): ...\nweb = Flask('x')",
            "src/server.py:4: web is an application beside A, a Service; leave one",
        ),
    ],
)
def test_what_serve_would_certainly_refuse_is_a_mistake_with_its_line_and_the_page(
    tmp_path: Path, text: str, words: str
) -> None:
    (mistake,), doubts = faults(tmp_path, text)
    assert (mistake.startswith(words), "docs/flask.md" in mistake, doubts) == (True, True, [])


@pytest.mark.parametrize(
    "text", ["from cats import *", "from cats import web", "web = create()", "class A(Base): ...", "from . import web"]
)
def test_a_name_that_may_hide_an_application_is_a_warning(tmp_path: Path, text: str) -> None:
    mistakes, (doubt,) = faults(tmp_path, text)
    assert mistakes == []
    assert doubt.startswith("src/server.py:1: neither a Service nor an application can be seen")


@pytest.mark.parametrize(("guard", "told"), [("", [3]), ('if __name__ == "__main__":\n    ', []), ("if True:\n    ", [4])])
def test_a_run_that_an_import_would_reach_is_a_warning_with_its_line_and_the_guard(
    tmp_path: Path, guard: str, told: list[int]
) -> None:
    found = faults(tmp_path, f"from flask import Flask\nweb = Flask(__name__)\n{guard}web.run(port=5000)\n")
    cure = 'put it below if __name__ == "__main__":'
    words = f"web.run() does nothing here, since the platform serves the application; {cure}"
    assert found == ([], [f"src/server.py:{line}: {words}" for line in told])


def test_no_service_of_this_repository_has_such_a_fault() -> None:
    folders = [path.parents[1] for path in (ROOT, *ROOT.glob("*/*")) for path in path.glob("src/server.py")]
    assert [faults_of_server(folder) for folder in folders if faults_of_server(folder) != ([], [])] == []
