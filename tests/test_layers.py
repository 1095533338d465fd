"""How modules may use one another. The lists below are also the order in which to read the code, the lowest first.

A module uses only modules of layers before its own. A module that is in no list fails the test: put it where it belongs.
Not read here: what tests and the service's own code import.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HALVES = {"serving": ROOT / "src", "conf": ROOT}
BRIDGE = "serving.schema"

SERVING_LAYERS: list[tuple[str, ...]] = [
    ("serving.schema.kinds", "serving.schema.statements", "serving.schema.files", "serving.schema.nearest"),
    ("serving.schema.settings",),
    ("serving.schema.shares",),
    ("serving.schema.rules", "serving.schema.partial"),
    ("serving.schema.reader",),
    ("serving.schema",),
    (
        "serving",
        "serving.errors",
        "serving.addresses",
        "serving.listening",
        "serving.memory",
        "serving.priority",
        "serving.progress",
        "serving.tables",
        "serving.bench",
        "serving.metrics",
        "serving.protocol",
    ),
    (
        "serving.tensors",
        "serving.jsons",
        "serving.forms",
        "serving.lifetime",
        "serving.gate",
        "serving.bodies",
        "serving.heads",
        "serving.fetch",
        "serving.picture_parts",
        "serving.working_memory",
    ),
    (
        "serving.rows",
        "serving.engine",
        "serving.images",
        "serving.inputs",
        "serving.logs",
        "serving.failures",
        "serving.front.parser",
        "serving.drain",
    ),
    ("serving.protocol.fields", "serving.openapi_tensors", "serving.calls", "serving.front.channel", "serving.options"),
    ("serving.openapi_bodies", "serving.request"),
    ("serving.protocol.values", "serving.batcher", "serving.openapi", "serving.front.server"),
    ("serving.protocol.binary", "serving.protocol.v1", "serving.model", "serving.front", "serving.shares"),
    ("serving.entries",),
    ("serving.protocol.v2", "serving.models"),
    ("serving.vitals", "serving.watch", "serving.admin", "serving.status"),
    ("serving.service",),
    ("serving.own_code",),
    ("serving.core",),
    ("serving.app", "serving.alone"),
    ("serving.main", "serving.verify"),
    # The commands that measure a service from outside: they use nothing of what serves it but the schema.
    ("serving.bench.bodies", "serving.bench.loops"),
    ("serving.bench.client", "serving.bench.figures"),
    ("serving.bench.words",),
    ("serving.bench.command",),
    # The command that converts models: it uses the service's own code, and of what serves it only what runs a model.
    ("serving.optimize", "serving.optimize.samples", "serving.optimize.compare"),
    ("serving.optimize.convert",),
    ("serving.optimize.variants",),
    ("serving.optimize.words",),
    ("serving.optimize.command",),
]
CONF_LAYERS: list[tuple[str, ...]] = [
    (
        "conf",
        "conf.yamls",
        "conf.sizes",
        "conf.images",
        "conf.gitlab",
        "conf.graphs",
        "conf.tables",
        "conf.manual",
        "conf.refs",
        "conf.windows",
    ),
    ("conf.files", "conf.words", "conf.notices", "conf.mistakes", "conf.quotas", "conf.logins", "conf.safe_http"),
    ("conf.fields",),
    ("conf.clusters", "conf.alerts"),
    ("conf.regions", "conf.pods", "conf.routes", "conf.gateways", "conf.registry"),
    ("conf.plan", "conf.placement", "conf.pipeline"),
    ("conf.templates", "conf.schemas"),
    ("conf.policy",),
    ("conf.policy.case",),
    ("conf.policy.fit", "conf.policy.model", "conf.policy.traffic", "conf.policy.objects", "conf.policy.neighbours"),
    ("conf.check", "conf.cluster", "conf.rollout"),
    ("conf.rollout.history", "conf.rollout.trouble", "conf.rollout.lease", "conf.rollout.fields", "conf.rollout.finalizers"),
    ("conf.rollout.watching", "conf.rollout.capacity", "conf.rollout.place", "conf.rollout.returning"),
    ("conf.rollout.present",),
    ("conf.rollout.removal",),
    ("conf.rollout.releasing", "conf.rollout.differences"),
    ("conf.patient",),
    ("conf.way_in",),
    ("conf.doctor", "conf.project", "conf.pulling", "conf.rollout.spots"),
    ("conf.rollout.outcomes",),
    ("conf.rollout.pushed",),
    ("conf.rollout.asking", "conf.rollout.hours", "conf.rollout.listing", "conf.rollout.messages"),
    ("conf.cli", "conf.rollout.commands"),
    ("conf.examination",),
]
# Each outside library is known to one module, so that it can be exchanged there. numpy is the language of the serving half.
LIBRARIES = {
    "flask": "serving.app",
    "werkzeug": "serving.app",
    "werkzeug.http": "serving.forms",
    "werkzeug.sansio": "serving.forms",
    "waitress": "serving.front",
    "onnxruntime": "serving.engine",
    "onnxruntime.quantization": "serving.optimize.convert",  # a part of a library may have a module of its own
    "onnxruntime.transformers": "serving.optimize.convert",
    "onnx": "serving.optimize.convert",
    "PIL": "serving.images",
    "requests": "serving.fetch",
    "urllib3": "serving.fetch",
    "prometheus_client": "serving.metrics",
    "orjson": "serving.jsons",
    "aiohttp": "serving.bench.client",
    "tqdm": "serving.progress",
    "yaml": "conf.yamls",
    "jinja2": "conf.templates",
    "jsonschema_rs": "conf.schemas",
    "kubernetes": "conf.cluster",
}
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


def imported(name: str) -> Iterator[str]:
    """Yield what a module imports when it runs: our modules by their full names, others as they are written."""
    for node in _running(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; write the module's full name"
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
def test_the_halves_share_the_schema_alone(name: str) -> None:
    own = name.partition(".")[0]
    foreign = [item for item in ours(name) if item.partition(".")[0] != own]
    assert [item for item in foreign if own != "conf" or not f"{item}.".startswith(f"{BRIDGE}.")] == []


@pytest.mark.parametrize("name", [name for name in modules() if f"{name}.".startswith(f"{BRIDGE}.")])
def test_the_schema_needs_the_standard_library_alone(name: str) -> None:
    assert libraries(name) == set()
    assert [item for item in ours(name) if not f"{item}.".startswith(f"{BRIDGE}.")] == []


@pytest.mark.parametrize("name", modules())
def test_an_outside_library_is_imported_in_its_one_module_or_package(name: str) -> None:
    allowed = {library for library, module in LIBRARIES.items() if f"{name}.".startswith(f"{module}.")}
    allowed |= {"urllib3"} if name == "conf.cluster" else set()  # the errors of kubernetes' client are urllib3's own
    assert libraries(name) - allowed - EVERYWHERE[name.partition(".")[0]] == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_library_is_listed_that_its_module_does_not_import(library: str) -> None:
    inside = [name for name in modules() if f"{name}.".startswith(f"{LIBRARIES[library]}.")]
    assert library in set().union(*map(libraries, inside))


@pytest.mark.parametrize(("half", "layers"), [("serving", SERVING_LAYERS), ("conf", CONF_LAYERS)])
def test_every_module_has_its_layer_and_imports_lower_ones_alone(half: str, layers: list[tuple[str, ...]]) -> None:
    height = {name: index for index, layer in enumerate(layers) for name in layer}
    assert set(height) == {name for name in modules() if name.partition(".")[0] == half}
    upward = [
        f"{name} imports {item}" for name in height for item in ours(name) if item in height and height[item] >= height[name]
    ]
    assert upward == []


def test_the_command_imports_no_half_before_it_is_needed() -> None:
    tree = ast.parse((ROOT / "src" / "monopod.py").read_text(encoding="utf-8"))
    early = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node for node in early if ast.unparse(node).split()[1].partition(".")[0] in HALVES] == []
