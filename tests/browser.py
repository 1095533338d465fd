"""A headless Chromium for the tests of pages.

Knows where Debian installs it, and the message where it is missing. Does not know any page.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.needed import missing

CHROMIUM = Path("/usr/bin/chromium")
MISSING = "install the Debian package chromium"


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser. Where there is none the test is skipped, or fails if CI is set."""
    if not CHROMIUM.exists():
        missing(MISSING)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def complaints(page: Page) -> list[str]:
    """Return a list to which every error in the page's console, and every exception in its script, is added from now on."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard


def drop(page: Page, file: Path, media_type: str, by: str = "drop") -> None:
    """Drop a file onto the page, as a person does with the mouse; by "paste", as from the clipboard."""
    page.evaluate(
        """([bytes, name, type, by]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const [kind, field] = by === "drop" ? [DragEvent, "dataTransfer"] : [ClipboardEvent, "clipboardData"];
            document.body.dispatchEvent(new kind(by, { bubbles: true, cancelable: true, [field]: transfer }));
        }""",
        [list(file.read_bytes()), file.name, media_type, by],
    )
