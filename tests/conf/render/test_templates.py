"""A template places values, repeats lists and leaves out absent fields, and no value can leave its place."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError

from conf.base.image_names import image
from conf.base.yaml_nodes import documents
from conf.plan.plan import Plan, plan
from conf.render.templates import FOLDER, quoted, render
from serving.settings import read
from tests.conf.golden import regions

TEMPLATES = sorted(FOLDER.rglob("*.yaml"))
STATEMENT = re.compile(r"\{%[-+]?\s*(.*?)\s*[-+]?%\}", re.DOTALL)
EXPRESSION = re.compile(r"\{\{[-+]?\s*(.*?)\s*[-+]?\}\}", re.DOTALL)
FIELD = r"\w+(\.\w+)*"
ALLOWED = re.compile(rf"for \w+(, \w+)? in {FIELD}(\.items\(\))?|endfor|if {FIELD}|endif")


def a_plan() -> Plan:
    value = read('service_name = "demo"\nusername = "like"\n', "value.py", tuple(regions().regions))
    return plan(value, regions(), "prod", image("r.example.com/like/demo:1.2"))[0]


def with_fields(**changed: object) -> Plan:
    online = a_plan().online
    assert online
    return replace(a_plan(), online=replace(online, **changed))  # type: ignore[arg-type]


def decisions(template: str) -> list[str]:
    """Return what a template holds beside fields, loops over lists, and `if` on one field without else."""
    statements = [found for found in STATEMENT.findall(template) if not ALLOWED.fullmatch(found)]
    return statements + [found for found in EXPRESSION.findall(template) if not re.fullmatch(FIELD, found)]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_holds_fields_loops_and_ifs_on_one_field_and_nothing_else(path: Path) -> None:
    assert decisions(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "broken",
    [
        "{% if workload.track == 'prod' %}",
        "{% if workload.replicas > 1 %}",
        "{% if workload.labels | length %}",
        "{% if not workload.labels %}",
        "{% if workload.labels and workload.alerts %}",
        "{% if workload.labels[0] %}",
        "{% if workload.name.isupper() %}",
        "{%- if workload.track\n== 'prod' -%}",
        "{% elif workload.labels %}",
        "{% else %}",
        "{% for label in workload.labels if label %}",
        "{% for label in workload.labels | sort %}",
        "{% set name = workload.name %}",
        "{{ workload.name | upper }}",
        "{{ workload.name if workload.labels }}",
        "{{ workload.replicas + 1 }}",
    ],
)
def test_a_template_that_decides_more_is_found(broken: str) -> None:
    whole = "{% if workload.labels %}\n{% for key, value in workload.labels %}\n{{ key }}: {{ value }}\n" + broken
    assert len(decisions(whole)) == 1


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_one_kind_and_named_after_it(path: Path) -> None:
    kinds = re.findall(r"^kind: (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [kind.lower() for kind in kinds] == [path.stem]


@pytest.mark.parametrize(
    ("fields", "lacks"), [({}, "attribute"), ({"name": "demo", "namespace": "like", "labels": ()}, "pull_secrets")]
)
def test_a_missing_value_fails_the_render_also_in_an_if(fields: dict[str, object], lacks: str) -> None:
    hollow = SimpleNamespace(objects=("serviceaccount",), **fields)
    with pytest.raises(UndefinedError, match=lacks):
        render(replace(a_plan(), online=hollow))  # type: ignore[arg-type]


def test_nothing_but_texts_whole_numbers_and_flags_is_placed() -> None:
    with pytest.raises(TypeError, match="a template places None"):
        render(with_fields(name=None))


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "\\",
        "a: b",
        "# c",
        "- x\n---\n",
        "no",
        "1e3",
        "\x85\u2028\ufeff",
        "\U0001f600",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "&a *a !!x",
    ],
)
def test_a_text_that_tries_to_leave_its_place_stays(text: str) -> None:
    each = with_fields(pull_secrets=(text,), objects=("serviceaccount",))
    assert documents(render(each))[0]["imagePullSecrets"] == [{"name": text}]
    assert quoted(text).isascii()
