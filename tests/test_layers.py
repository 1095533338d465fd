"""Folders are the layers: a folder uses only folders that stand before it in FOLDERS, and no two modules use each other.

FOLDERS is also the order in which to read the code. Not read here: tests, and what a service's own code imports.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.running import ROOT

HALVES = {"serving": ROOT / "src", "conf": ROOT}
BRIDGE = "serving.settings"  # the only folder that both halves use
# "" is the last of a half: the modules that stand in no folder, main, api and testing.
FOLDERS = {
    "serving": ("settings", "base", "telemetry", "models", "inputs", "video", "service", "core", "web", "offline", "tools", ""),
    "conf": (
        "base",
        "clusters",
        "plan",
        "render",
        "rules",
        "remote",
        "observe",
        "canary",
        "rollout",
        "doctor",
        "commands",
        "",
    ),
}
# Each outside library is known to one module, so that it can be exchanged there. The serving half may use numpy everywhere.
LIBRARIES = {
    "flask": "serving.web.app",
    "werkzeug": "serving.web.app",
    "werkzeug.http": "serving.inputs.payload",
    "werkzeug.sansio": "serving.inputs.payload",
    "waitress": "serving.web.app",
    "uvloop": "serving.web.process",
    "httptools": "serving.web.front.heads",
    "onnxruntime": "serving.models.engine",
    "onnxruntime.quantization": "serving.tools.optimize.convert",  # a part of a library may have a module of its own
    "onnxruntime.transformers": "serving.tools.optimize.convert",
    "onnx": "serving.tools.optimize.convert",
    "PIL": "serving.inputs.pictures",
    "av": "serving.video.decoder",
    "requests": "serving.inputs.fetch",
    "urllib3": "serving.inputs.fetch",
    "prometheus_client": "serving.telemetry.metrics",
    "prometheus_client.utils": "serving.telemetry.metrics",  # the names of bounds
    "pynvml": "serving.telemetry.resources",
    "orjson": "serving.base.json_codec",
    "aiohttp": "serving.tools.bench.http_client",
    "confluent_kafka": "serving.offline.kafka",
    "psycopg": "serving.offline.sinks.postgresql",
    "psycopg.connection": "serving.offline.backfill.query",
    "psycopg.errors": "serving.offline.backfill.query",
    "psycopg.sql": "serving.offline.backfill.query",
    "redis": "serving.core.redis_store",
    "tqdm": "serving.base.terminal",
    "yaml": "conf.base.yaml_nodes",
    "jinja2": "conf.render.templates",
    "jsonschema_rs": "conf.rules.rendered_objects",
    "promql_parser": "conf.rules.own_alerts",
    "kubernetes": "conf.remote.cluster",
    "rich": "conf.commands.top_command",
}
# Packages beside the halves: each outside library that a module of them may import.
BESIDE: dict[str, set[str]] = {
    "dashboards/grafana.py": {"grafana_foundation_sdk"},
    "relay/__main__.py": {"aiohttp"},
    "relay/delivery.py": {"aiohttp"},
    "relay/web.py": {"aiohttp"},
}
BESIDE_FOLDERS = ("bench", "charts/logs", "dashboards", "image", "relay")
MAX_NESTED = 2  # folders below a half
MIN_ALONE = 60  # lines of a module that has one importer, and does not say in its first line why it stands apart
APART = "apart because"
EVERYWHERE = {"serving": {"numpy"}, "conf": set[str]()}


@cache
def modules() -> dict[str, Path]:
    """Every module of both halves, by its name."""
    found = {}
    for half, base in HALVES.items():
        for path in sorted((base / half).rglob("*.py")):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def folder(name: str) -> tuple[str, int]:
    """Return the half and the height of the folder in which a module stands."""
    half, first, *more = [*name.split("."), ""]
    inside = first if more and modules()[f"{half}.{first}"].name == "__init__.py" else ""
    assert inside in FOLDERS[half], f"{name} stands in no folder of FOLDERS"
    return half, FOLDERS[half].index(inside)


def imported(name: str) -> Iterator[str]:
    """Yield what a module imports when it runs: our modules by their full names, others as they are written."""
    yield from _imports(modules()[name])


def _imports(path: Path) -> Iterator[str]:
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the module's full name"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else str(node.module)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _running(child)


def ours(name: str) -> list[str]:
    return [item for item in imported(name) if item.partition(".")[0] in HALVES and item != name]


def libraries(name: str) -> set[str]:
    """The outside libraries that a module imports: each by the longest name that LIBRARIES has for it, or by its first part."""
    outside = {item for item in imported(name) if item.partition(".")[0] not in {*sys.stdlib_module_names, *HALVES}}
    listed = {item: [library for library in LIBRARIES if f"{item}.".startswith(f"{library}.")] for item in outside}
    return {max(names, key=len, default=item.partition(".")[0]) for item, names in listed.items()}


@pytest.mark.parametrize("name", modules())
def test_the_halves_share_the_settings_alone(name: str) -> None:
    own = name.partition(".")[0]
    foreign = [item for item in ours(name) if item.partition(".")[0] != own]
    assert [item for item in foreign if own != "conf" or not f"{item}.".startswith(f"{BRIDGE}.")] == []


@pytest.mark.parametrize("name", [name for name in modules() if f"{name}.".startswith(f"{BRIDGE}.")])
def test_the_settings_need_the_standard_library_alone(name: str) -> None:
    assert libraries(name) == set()
    assert [item for item in ours(name) if not f"{item}.".startswith(f"{BRIDGE}.")] == []


@pytest.mark.parametrize("name", modules())
def test_an_outside_library_is_imported_in_its_one_module_or_package(name: str) -> None:
    allowed = {library for library, module in LIBRARIES.items() if f"{name}.".startswith(f"{module}.")}
    allowed |= {"urllib3"} if name == "conf.remote.cluster" else set()  # the errors of kubernetes' client are urllib3's own
    assert libraries(name) - allowed - EVERYWHERE[name.partition(".")[0]] == set()


@pytest.mark.parametrize(
    "path", [path for name in ("charts/logs", "dashboards", "relay") for path in sorted((ROOT / name).glob("*.py"))]
)
def test_a_package_beside_the_halves_keeps_to_its_own_libraries(path: Path) -> None:
    nodes = list(_running(ast.parse(path.read_text(encoding="utf-8"))))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in found} - {*sys.stdlib_module_names, *HALVES, path.parent.name}
    assert outside == BESIDE.get(f"{path.parent.name}/{path.name}", set())


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_library_is_listed_that_its_module_does_not_import(library: str) -> None:
    inside = [name for name in modules() if f"{name}.".startswith(f"{LIBRARIES[library]}.")]
    assert library in set().union(*map(libraries, inside))


@pytest.mark.parametrize("name", [name for name in modules() if name not in HALVES])
def test_a_folder_uses_only_folders_below_it(name: str) -> None:
    half, height = folder(name)
    assert [item for item in ours(name) if item.startswith(f"{half}.") and folder(item)[1] > height] == []


def test_no_modules_use_one_another_in_a_circle() -> None:
    TopologicalSorter({name: ours(name) for name in modules()}).prepare()  # raises CycleError, which names the circle


def test_folders_nest_at_most_two_deep() -> None:
    parts = {name: path.relative_to(HALVES[name.partition(".")[0]]).parent.parts for name, path in modules().items()}
    assert [name for name, folders in parts.items() if len(folders[1:]) > MAX_NESTED] == []


def test_a_small_module_of_one_importer_says_why_it_stands_apart() -> None:
    found = [path for name in BESIDE_FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]
    beside = [path for path in found if ".environments" not in path.parts]  # of the servers that bench/peers installs
    importers = Counter(item for path in (*modules().values(), *beside) for item in {*_imports(path)})
    small = [name for name, path in modules().items() if importers[name] == 1 and len(_lines(path)) < MIN_ALONE]
    assert [name for name in small if APART not in _lines(modules()[name])[0] and not _is_folder(name)] == []


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _is_folder(name: str) -> bool:
    return modules()[name].name == "__init__.py"


@pytest.mark.parametrize("name", [name for name in modules() if _is_folder(name)])
def test_a_folder_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(ast.parse(modules()[name].read_text(encoding="utf-8")))


def test_the_command_imports_no_half_before_it_is_needed() -> None:
    tree = ast.parse((ROOT / "src" / "monopod.py").read_text(encoding="utf-8"))
    early = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node for node in early if ast.unparse(node).split()[1].partition(".")[0] in HALVES] == []
