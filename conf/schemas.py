"""Objects judged by published schemas, Kubernetes' own and those of the custom resources. Imports jsonschema_rs alone.

Knows where the schemas lie, and compiles each once. Does not know what makes an object wise.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, Registry

KUBERNETES = "v1.36.0-local-strict"
OURS = Path(__file__).parent / "schemas"
OWN_GROUPS = ("v1", "apps/v1", "autoscaling/v2", "networking.k8s.io/v1", "policy/v1")


def violations(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a schema has against an object, in words."""
    validator = _validator(item.get("apiVersion", ""), item.get("kind", ""))
    if validator is None:
        yield f"{item.get('apiVersion')} {item.get('kind')} has no schema here: add one to conf/schemas"
    elif not validator.is_valid(item):
        for error in validator.iter_errors(item):
            yield f"{item['kind']}.{'.'.join(map(str, error.instance_path))}: {error.message[:300]}"


@cache
def _validator(version: str, kind: str) -> Draft202012Validator | None:
    if version in OWN_GROUPS:
        return _kubernetes(version, kind)
    path = OURS / f"{kind.lower()}-{version.rpartition('/')[2]}.json"
    if not path.exists():
        return None
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


@cache
def _registry() -> Registry:
    definitions = _packaged("_definitions")
    return Registry([(definitions["$id"], definitions)])


def _kubernetes(version: str, kind: str) -> Draft202012Validator:
    group = "-".join(part.partition(".")[0] for part in version.split("/"))
    schema = _packaged(f"{kind.lower()}-{group}")
    schema["required"] = ["apiVersion", "kind", "metadata"]
    return Draft202012Validator(schema, registry=_registry())


def _packaged(name: str) -> Any:
    """Read a file of kubernetes-validate, without importing it: its own validator is slow to load and to run."""
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("kubernetes_validate", name="kubernetes_validate")
    path = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema" / KUBERNETES / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))
