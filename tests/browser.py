"""A headless Chromium for the tests of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.prerequisites import missing

CHROMIUM = Path("/usr/bin/chromium")
MISSING = "install the Debian package chromium"


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser. Where Chromium is missing, the test is skipped on a laptop and fails in CI."""
    if not CHROMIUM.exists():
        missing(MISSING)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def console_errors(page: Page) -> list[str]:
    """Return a list that from now on collects the console's warnings and errors, and the exceptions of the page's scripts."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def drop(page: Page, file: Path, media_type: str, by: str = "drop") -> None:
    """Drop a file onto the page, as with the mouse. by: "drop", or "paste" as from the clipboard."""
    page.evaluate(
        """([bytes, name, type, by]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const [kind, field] = by === "drop" ? [DragEvent, "dataTransfer"] : [ClipboardEvent, "clipboardData"];
            document.body.dispatchEvent(new kind(by, { bubbles: true, cancelable: true, [field]: transfer }));
        }""",
        [list(file.read_bytes()), file.name, media_type, by],
    )
