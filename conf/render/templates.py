"""Plans become YAML. The only module that imports jinja2.

No value can leave its place: every text is quoted, whatever the template says. Equal plans give equal bytes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, Undefined

from conf.base.object_references import Item
from conf.base.yaml_nodes import documents
from conf.plan.plan import Plan
from conf.plan.routes import GatewayPlan

FOLDER = Path(__file__).parents[2] / "templates"
SPECIAL = re.compile(r"[^ -~]")


def quoted(text: str) -> str:
    """Return a text as a double-quoted YAML scalar of printable ASCII.

    It is a string of JSON too, but for characters above 16 bits, which YAML writes as \\U and eight digits.
    """
    return '"' + SPECIAL.sub(_escape, text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _place(value: Any) -> Any:
    """Return a value as YAML. Raises TypeError for anything but a text, a whole number or a flag."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Undefined):  # printing what is undefined raises
        return value
    raise TypeError(f"a template places {value!r}; it may place texts, whole numbers and flags")


@cache
def _template(kind: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        finalize=_place,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(f"{kind}.yaml")


def render(plan: Plan) -> str:
    """Return the plan's objects as YAML, one document each, in the order in which they are applied.

    Raises UndefinedError where a template places a value that the plan lacks.
    """
    return "".join("---\n" + _template(kind).render(workload=each) for each in plan.workloads for kind in each.objects)


@dataclass(frozen=True)
class Rendered:
    """A plan and its objects, which are rendered and parsed once, when they are first asked for."""

    plan: Plan

    @cached_property
    def text(self) -> str:
        return render(self.plan)

    @cached_property
    def items(self) -> list[Item]:
        return documents(self.text)


def write(rendered: Iterable[Rendered], folder: Path) -> Iterator[Path]:
    """Write the objects of each plan to a file of its own in a folder, and yield the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in rendered:
        path = folder / f"{each.plan.region}-{each.plan.track}.yaml"
        path.write_text(each.text, encoding="utf-8")
        yield path


def render_gateway(gateway: GatewayPlan) -> str:
    """Return the object that a cluster's gateway needs once, as one YAML document."""
    return "---\n" + _template(f"gateway/{gateway.kind.lower()}").render(plan=gateway)
