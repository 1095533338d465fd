"""Renders equal the golden files, which people review as text.

`UPDATE_GOLDEN=1 .venv/bin/pytest tests/conf/render/test_golden.py` writes the files anew.
"""

import os
from pathlib import Path

import pytest

from conf.rules.check import check
from serving.settings import declared_settings, load
from tests.conf.golden import GOLDEN, SERVICES, regions, renders

RENDERS = dict(renders())


@pytest.mark.parametrize("path", RENDERS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_render_is_the_golden_one(path: Path) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(RENDERS[path], encoding="utf-8")
    assert RENDERS[path] == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    own = {path.parent.name for path in RENDERS}
    there = {path for path in GOLDEN.glob("*/*.yaml") if path.parent.name in own}
    assert there == set(RENDERS)


def test_rendering_again_gives_the_same_bytes() -> None:
    assert dict(renders()) == RENDERS


def test_the_service_of_every_setting_uses_every_setting() -> None:
    said = load(SERVICES["every-setting"] / "value.py", tuple(regions().regions)).lines
    assert set(declared_settings()) - set(said) == set()


@pytest.mark.parametrize("name", ["every-setting", "gpu"])
@pytest.mark.parametrize("routing", ["istio", "gateway-api"])
def test_what_is_golden_passes_the_check(name: str, routing: str) -> None:
    assert check(SERVICES[name], regions(routing)).mistakes == []
