"""Small rewrites of a service's own files, which an update makes: migrated(path, text, names of serving.api).

They keep every comment. A file that is not Python stays as it is, and `check` then tells it. Standard library only.
"""

import ast
import io
import re
from collections.abc import Collection

from serving.base.moved_names import MODULES

GONE = ("grey_sleep_after_day", "bmls_ret_type", "use_decode_sidecar")  # settings of value.py that have no effect any more
OLDER = ("serving.service", "serving.models", *MODULES)  # modules from which server.py imported what serving.api has


def migrated(path: str, text: str, api: Collection[str]) -> tuple[str, list[str]]:
    """Return a file's text for this release, and a line for each change. path: in the service. api: what serving.api holds."""
    is_value, is_code = path == "value.py", path.startswith(("src/", "tests/service/")) and path.endswith(".py")
    try:
        tree = ast.parse(text) if is_value or is_code else ast.Module([], [])
    except (SyntaxError, ValueError):
        return text, []
    lines, said = io.StringIO(text, newline="").readlines(), []
    for node in reversed(tree.body):
        change = _without_setting(lines, node) if is_value else _from_api(lines, node, api)
        if change:
            said.append(f"{path}:{node.lineno}: {change}")
    return "".join(lines), said[::-1]


def _without_setting(lines: list[str], node: ast.stmt) -> str:
    """Take a setting without effect out of the lines of value.py, and return what was done, or ""."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) if name in GONE:
            rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip() if node.end_lineno else ""
            if node.col_offset or rest[:1] not in ("", "#"):
                return ""  # another statement stands on its line
            lines[node.lineno - 1 : node.end_lineno] = [f"{rest}\n"] if rest else []
            return f"{name} is deleted, which had no effect any more"
    return ""


def _from_api(lines: list[str], node: ast.stmt, api: Collection[str]) -> str:
    """Have an import of older modules name serving.api, where that has all of its names, and return what was done, or ""."""
    match node:
        case ast.ImportFrom(module=str(module), level=0, names=names) if module in OLDER and {n.name for n in names} <= {*api}:
            found = re.compile(rf"from\s+{re.escape(module)}(?=\s)")
            lines[node.lineno - 1], count = found.subn("from serving.api", lines[node.lineno - 1], count=1)
            return f"its import from {module} is one from serving.api" if count else ""
    return ""
