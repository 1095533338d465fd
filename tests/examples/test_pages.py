"""Each example's page draws the answer, in a real browser with the real service."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import browser
from tests.examples.pages import VISITS, visit
from tests.running import ROOT, running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.mark.parametrize("name", VISITS)
def test_the_page_draws_the_answer(chromium: Browser, name: str) -> None:
    with running(ROOT / "examples" / name) as service:
        page = chromium.new_page()
        visit(page, f"{service.url}/api/like/{name}/", VISITS[name])
        page.close()


def test_every_example_has_a_visit() -> None:
    assert set(VISITS) == {path.parent.name for path in ROOT.glob("examples/*/value.py")}
