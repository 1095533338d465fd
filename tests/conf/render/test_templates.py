"""A template places values and decides nothing; what it places cannot leave its place."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from conf.base.image_names import image
from conf.base.yamls import documents
from conf.plan.plan import Plan, plan
from conf.render.templates import FOLDER, quoted, render
from serving.settings import read
from tests.conf.golden import regions

TEMPLATES = sorted(FOLDER.rglob("*.yaml"))
STATEMENT = re.compile(r"\{%-?\s*(.*?)\s*-?%\}")
EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
LOOP = re.compile(r"for \w+(, \w+)? in [\w.]+(\.items\(\)| \| once)?|endfor")
FIELD = re.compile(r"\w+(\.\w+)*")


def a_plan() -> Plan:
    value = read('service_name = "demo"\nusername = "like"\n', "value.py", tuple(regions().regions))
    return plan(value, regions(), "prod", image("r.example.com/like/demo:1.2"))[0]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_holds_loops_over_lists_and_fields_and_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [found for found in STATEMENT.findall(text) if not LOOP.fullmatch(found)] == []
    assert [found for found in EXPRESSION.findall(text) if not FIELD.fullmatch(found)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_one_kind_and_named_after_it(path: Path) -> None:
    kinds = re.findall(r"^kind: (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [kind.lower() for kind in kinds] == [path.stem]


def test_a_missing_value_fails_the_render() -> None:
    class Hollow:
        objects = ("serviceaccount",)

    with pytest.raises(UndefinedError):
        render(Hollow())  # type: ignore[arg-type]


def test_nothing_but_texts_whole_numbers_and_flags_is_placed() -> None:
    with pytest.raises(TypeError, match="a template places None"):
        render(replace(a_plan(), name=None))  # type: ignore[arg-type]


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
    each = replace(a_plan(), pull_secrets=(text,), objects=("serviceaccount",))
    assert documents(render(each))[0]["imagePullSecrets"] == [{"name": text}]
    assert quoted(text).isascii()
