"""The page docs/api.md, made of the docstrings and signatures that serving.api gives a service's code."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

from serving import api
from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime
from serving.inputs.files import File
from serving.models.options import Options
from serving.models.registry import Handle, ModelRegistry
from serving.service.request import Request
from serving.service.service import Answer, Service
from serving.telemetry.metrics import Metrics

HEAD = """# What a service's code uses

<!-- Made by `UPDATE_API=1 .venv/bin/pytest tests/serving/test_api.py`; a test keeps it true. -->

After reading this page you can look up every name that a server.py uses: its signature, shapes, units and errors. All names are
imported from `serving.api`. [service.md](service.md) shows how they fit together. `Arrays` is a dict from name to numpy array.
`datatype` is the name that the Open Inference Protocol has for a dtype.
"""
# A heading of the page, the class, and the names of it that are shown; none are all public ones.
CLASSES: tuple[tuple[str, type[Any], tuple[str, ...]], ...] = (
    ("Service", Service, ()),
    ("self.models", ModelRegistry, ("load", "on_demand", "add", "__getitem__", "unload", "names")),
    ("Options of a model", Options, ()),
    ("Handle", Handle, ("__call__", "submit", "spec", "loaded")),
    ("self.metrics", Metrics, ("counter", "gauge", "histogram", "recent")),
    ("Request", Request, ()),
    ("File", File, ()),
    ("Lifetime", Lifetime, ("left", "over", "check", "on_abandon")),
    ("Answer", Answer, ()),
    ("TensorSpec", api.TensorSpec, ()),
)
FUNCTIONS: tuple[Callable[..., Any], ...] = (api.route, api.open_service, api.make_request, api.check_file, api.silence)
PLATFORMS = {"decoders"}  # attributes that a service does not need
NO_CLASSES = {"Array", "Arrays", "DATATYPES", "HasLifetime"}  # that the head and the tables tell


def page() -> str:
    parts = [HEAD, *(_class(*each) for each in CLASSES), "## Functions\n", *map(_function, FUNCTIONS), _errors(), _datatypes()]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def shown() -> set[str]:
    """Return the names of serving.api that the page has."""
    return {kind.__name__ for _, kind, _ in CLASSES} | {each.__name__ for each in FUNCTIONS + (*_failures(),)} | NO_CLASSES


def _class(heading: str, kind: type[Any], names: tuple[str, ...]) -> str:
    whole = inspect.getdoc(kind) or ""
    about, rows = (whole.split("\n\n")[0], []) if names else (whole, list(_attributes(kind)))
    if is_dataclass(kind) and kind is not Request:
        fields = ", ".join(ast.unparse(each) for each in _tree(kind).body if isinstance(each, ast.AnnAssign))
        fields = re.sub(r" *= *", " = ", re.sub(r" = field\([^)]*\)", "", fields))
        about = f"**`{kind.__name__}({fields})`**\n\n{about}"
    table = ["", "| attribute | |", "|---|---|", *rows] if rows else []
    known = names or [name for name in vars(kind) if not name.startswith("_")]
    found = [inspect.getattr_static(kind, name) for name in known]
    methods = [_function(each) for each in found if inspect.isfunction(each) or isinstance(each, property)]
    return "\n".join([f"## {heading}\n", about, *table, "", *methods])


def _attributes(kind: type[Any]) -> Iterator[str]:
    """Yield a row for each public attribute with a comment behind it in the class."""
    lines = inspect.getsource(kind).splitlines()
    for node in _tree(kind).body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            name, _, comment = ast.unparse(target), *lines[node.lineno - 1].partition("  # ")[1:]
            if comment and not name.startswith("_") and name not in PLATFORMS:
                written = ast.unparse(node).replace("|", "\\|")
                yield f"| `{written}` | {comment.replace('|', chr(92) + '|')} |"


def _tree(kind: type[Any]) -> ast.ClassDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(node, ast.ClassDef)
    return node


def _function(given: Callable[..., Any] | property) -> str:
    function = given.fget if isinstance(given, property) else given
    assert function is not None
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    arguments = re.sub(r"^self(, )?", "", ast.unparse(node.args)).replace("=", " = ")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    name = {"__call__": "handle", "__getitem__": "self.models[name]"}.get(node.name, node.name)
    called = name if isinstance(given, property) or "[" in name else f"{name}({arguments})"
    written = re.sub(r"'([\w.\[\]]+)'", r"\1", called + returns)  # a type that is imported for a type checker alone
    return f"**`{written}`**\n\n{inspect.getdoc(function) or ''}\n"


def _failures() -> list[type[Exception]]:
    found = [getattr(api, name) for name in api.__all__]
    return [each for each in found if isinstance(each, type) and issubclass(each, Exception)]


def _errors() -> str:
    rows = ["## Errors\n", "| error | the client gets | |", "|---|---|---|"]
    for each in _failures():
        status = str(each.status) if issubclass(each, ServingError) else "nothing: the start ends"
        rows.append(f"| `{each.__name__}` | {status} | {' '.join((inspect.getdoc(each) or '').split())} |")
    return "\n".join(rows)


def _datatypes() -> str:
    rows = [f"| `{name}` | `{dtype.name}` |" for name, dtype in api.DATATYPES.items()]
    return "\n".join(["## DATATYPES\n", "| datatype | numpy |", "|---|---|", *rows])
