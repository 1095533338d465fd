"""A group robot of WeChat Work: its messages, their limits, and its refusals. The relay's image has this module of conf alone.

So it needs the standard library alone. Source: WeChat Work's documentation of group robots (msgtype markdown).
"""

import json
from typing import Any

MAX_TEXT_BYTES = 4096  # of UTF-8
MAX_MESSAGES, WINDOW_SECONDS = 20, 60.0  # a robot takes at most MAX_MESSAGES in WINDOW_SECONDS
CUT = "…"


def markdown_message(text: str) -> dict[str, Any]:
    """Return the JSON of a message. text: markdown of at most MAX_TEXT_BYTES."""
    return {"msgtype": "markdown", "markdown": {"content": text}}


def refusal(answered: bytes, robot: bool) -> str:
    """Return why a message was not taken, "" where it was. A refusal has status 200 and an errcode that is not 0.

    answered: the body of an answer of a good status. robot: whether an errcode must be there; other webhooks may send none.
    """
    try:
        code = json.loads(answered)["errcode"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "an answer without errcode" if robot else ""
    return "" if code == 0 and code is not False else f"errcode {str(code)[:20]}"


def shortened(text: str, most: int) -> str:
    """Return a text that takes at most `most` bytes of UTF-8. A mark stands where it was cut. most: bytes, at least 3."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= most else data[: most - len(CUT.encode())].decode(errors="ignore") + CUT
