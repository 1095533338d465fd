"""Sends a request from each example's page, as a user does.

As a program it takes the screenshots of the READMEs: python -m tests.examples.pages
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser import browser, console_errors, drop
from tests.running import ROOT, running

IMAGES = ROOT / "examples/images"
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class Visit:
    """A request from a page. pictures: files that are dropped; without any the page's example is sent.

    outlines, bars: the least number of them that the page draws.
    """

    pictures: tuple[Path, ...] = ()
    outlines: int = 0
    bars: int = 1
    said: str = ""
    offered: str = "Choose a picture"
    fields: tuple[tuple[str, str], ...] = ()


VISITS = {
    "face-embedding": Visit((IMAGES / "astronaut.jpg",), outlines=1, said="face"),
    "instance-masks": Visit((IMAGES / "coins.png",), outlines=24, bars=24, said="coin", fields=(("material", "coins"),)),
    "moderation": Visit((IMAGES / "clip.mp4",), bars=4, said="safe", offered="Choose a picture or a video"),
    "semantic-search": Visit(bars=3),
    "sku-recognition": Visit((ROOT / "examples/sku-recognition/model/products" / "china-01.jpg",), bars=3),
}


def visit(page: Page, url: str, what: Visit) -> None:
    """Send a request from a page as a user does, and wait until the answer is drawn."""
    errors = console_errors(page)
    page.goto(url)
    expect(page.locator("#ready")).to_have_text("ready")
    for name, value in what.fields:
        page.get_by_label(name).select_option(value)
    if what.pictures:
        expect(page.locator("#kinds")).to_have_text(what.offered)
    for picture in what.pictures:
        drop(page, picture, TYPES[picture.suffix])
    if not what.pictures:
        page.locator("#send").click()
    expect(page.locator("#note")).to_contain_text("200 after", timeout=60_000)
    expect(page.locator("#bars li").nth(what.bars - 1)).to_be_visible()
    expect(page.locator("#bars")).to_contain_text(what.said)
    if what.outlines:
        expect(page.locator("#pictures polygon").nth(what.outlines - 1)).to_be_attached()
    assert errors == []


def take(chromium: Browser, folder: Path) -> None:
    """Write a screenshot of an example's page, with an answer, to its page.png."""
    with running(folder) as service:
        page = chromium.new_page(viewport={"width": 1100, "height": 760})
        visit(page, f"{service.url}/api/like/{folder.name}/", VISITS[folder.name])
        page.screenshot(path=folder / "page.png")
        page.close()


if __name__ == "__main__":
    with browser() as chromium:
        for name in sys.argv[1:] or VISITS:
            take(chromium, ROOT / "examples" / name)
