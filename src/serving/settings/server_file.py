"""src/server.py of a service, which is read and never run: its names, its Service or application, and names like a hook's."""

import ast
import builtins
import sys
from collections.abc import Iterator
from pathlib import Path

from serving.settings.reader import Nearest, UnreadableError, text_of

MAX_CODE = 1024  # KiB of a src/server.py
APPLICATION_NAMES = ("app", "application")  # of a WSGI application in src/server.py
NOT_WSGI = ("aiohttp", "blacksheep", "fastapi", "litestar", "quart", "sanic", "starlette", "tornado")  # packages
HOOKS = ("setup", "preprocess", "postprocess", "handle")  # the methods of a service's class that the platform calls
PAGE = "docs/flask.md"
ASYNC = "async def"
GUARDS = ("__name__ == '__main__'", "'__main__' == __name__")
PLAIN = ("", *sys.stdlib_module_names, *dir(builtins))  # modules and functions that give no application


def misnamed_hooks(folder: Path) -> list[str]:
    """Return a sentence for each public method of a subclass of Service that nothing uses, and whose name is like a hook's.

    folder: of the service. Its src/server.py is read and not run. A file that is missing or is not Python has no such methods.
    """
    tree = _tree(folder)
    if tree is None:
        return []
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    own = (item for each in classes if _is_service(each) for item in each.body)
    nearest, found = Nearest(), []
    for item in own:
        if isinstance(item, ast.FunctionDef) and not item.decorator_list and item.name not in used.union(HOOKS):
            near = "" if item.name.startswith("_") else nearest.to(item.name, HOOKS)
            if near:
                found.append(f"src/server.py:{item.lineno}: nothing calls {item.name!r}; did you mean the hook {near!r}?")
    return found


def names_of_server(folder: Path) -> dict[str, int]:
    """Return each name that src/server.py binds outside functions, with its first line. It is empty for what is not Python."""
    tree = _tree(folder)
    found: dict[str, int] = {}
    for node in _outside_functions(tree) if tree else ():
        for name in _bound(node):
            found.setdefault(name, node.lineno)
    return found


def faults_of_server(folder: Path) -> tuple[list[str], list[str]]:
    """Return what is certainly wrong with the Service or application of src/server.py, and what may be, in sentences.

    The file is read and not run, so that an import or a call may hide an application. A file that is missing or is not Python
    has no faults here.
    """
    tree = _tree(folder)
    if tree is None:
        return [], []
    nodes, lines = list(_outside_functions(tree)), names_of_server(folder)
    modules = {name: full for node in nodes for name, full in _imported(node)}
    services = [node.name for node in nodes if isinstance(node, ast.ClassDef) and _is_service(node)]
    makers = {name: _maker(node, modules) for node in nodes for name in _bound(node) if not name.startswith("_")}
    flasks = [name for name, maker in makers.items() if maker == "flask.Flask"]
    named = [name for name in APPLICATION_NAMES if name in makers]
    asynchronous = [name for name in named if makers[name].split(".")[0] in (ASYNC, *NOT_WSGI)]
    for name in (*flasks, *asynchronous) if services else ():
        words = f"{name} is an application beside {services[0]}, a Service; leave one of the two ({PAGE})"
        return [f"src/server.py:{lines[name]}: {words}"], []
    if asynchronous:
        words = f"{asynchronous[0]} is an ASGI application, and WSGI applications are served; {PAGE}#asgi tells how to move"
        return [f"src/server.py:{lines[asynchronous[0]]}: {words}"], []
    return ([], _idle_runs(nodes, flasks)) if services or flasks or named else _nothing_found(nodes, makers)


def _idle_runs(nodes: list[ast.stmt], flasks: list[str]) -> list[str]:
    """Return a sentence for each call of a Flask application's `run` that an import of src/server.py would reach."""
    calls = [node.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    runs = [(call.lineno, name) for call in calls for name in flasks if ast.unparse(call.func) == f"{name}.run"]
    cure = 'nothing here, since the platform serves the application; put it below if __name__ == "__main__":'
    return [f"src/server.py:{line}: {name}.run() does {cure}" for line, name in runs]


def _nothing_found(nodes: list[ast.stmt], makers: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the mistake of a file with neither a Service nor an application, or the warning where one may be hidden."""
    cure = f"write class Mine(Service), or app = Flask(__name__) (docs/service.md, {PAGE})"
    hides = any(maker.split(".")[0] not in PLAIN for maker in makers.values())
    if hides or any(isinstance(node, ast.ClassDef) and node.bases for node in nodes):
        return [], [f"src/server.py:1: neither a Service nor an application can be seen in it; unless a name hides one, {cure}"]
    return [f"src/server.py:1: it holds neither a subclass of Service nor a WSGI application; {cure}"], []


def _is_service(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith("Service") for base in node.bases)


def _imported(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield each name that a statement imports, with what it stands for: `import a.b` binds a."""
    if isinstance(node, ast.Import):
        yield from ((each.asname, each.name) if each.asname else (each.name.split(".")[0],) * 2 for each in node.names)
    if isinstance(node, ast.ImportFrom):
        yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


def _maker(node: ast.stmt, modules: dict[str, str]) -> str:
    """Return the full name of the function or module that gives a statement's names their values, "" where none does."""
    if isinstance(node, ast.AsyncFunctionDef):
        return ASYNC
    if isinstance(node, ast.ImportFrom):
        return "" if node.module in ("flask", "serving.api") else f"{node.module or 'relative'}.*"
    called = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if not isinstance(called, ast.Call):
        return ""
    first, dot, rest = ast.unparse(called.func).partition(".")
    return modules.get(first, first) + dot + rest


def _tree(folder: Path) -> ast.Module | None:
    try:
        return ast.parse(text_of(folder / "src" / "server.py", MAX_CODE))
    except (UnreadableError, SyntaxError, ValueError, RecursionError):
        return None


def _outside_functions(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those within `if`, `try` and `with` too, but not below `if __name__ == "__main__"`."""
    guarded = node.body if isinstance(node, ast.If) and ast.unparse(node.test) in GUARDS else []
    for child in ast.iter_child_nodes(node):
        if child in guarded:
            continue
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _outside_functions(child)


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [
                each.id
                for target in targets
                for each in ast.walk(target)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            ]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(each.asname or each.name).split(".")[0] for each in names]
    return []
