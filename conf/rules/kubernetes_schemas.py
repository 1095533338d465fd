"""The check of objects against the published schemas of Kubernetes and of its custom resources.

The only module that imports jsonschema_rs. Knows where the schemas lie, and compiles each once.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

SCHEMAS = Path(__file__).parent / "schemas"


def violations(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each violation of an object's schema."""
    validator = _validator(item.get("apiVersion", ""), item.get("kind", ""))
    if validator is None:
        yield f"{item.get('apiVersion')} {item.get('kind')} has no schema here: add one to conf/rules/schemas"
    elif not validator.is_valid(item):
        for error in validator.iter_errors(item):
            yield f"{item['kind']}.{'.'.join(map(str, error.instance_path))}: {error.message[:300]}"


@cache
def _validator(version: str, kind: str) -> Draft202012Validator | None:
    group, _, number = version.rpartition("/")
    names = (
        f"{kind.lower()}-{number}.json",
        f"{kind.lower()}-{group}-{number}.json",
    )  # the latter where two groups have a kind
    found = next((path for name in names if (path := SCHEMAS / name).exists()), None)
    return Draft202012Validator(json.loads(found.read_text(encoding="utf-8"))) if found else None
