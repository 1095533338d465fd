"""Messages about deploys to people: to a robot of WeChat Work, or to any webhook that takes JSON.

Knows the two forms, and that neither may ever fail a deploy. Their addresses are secrets: they come from the environment alone,
and are never printed. Source of the robot's form: WeChat Work's documentation of group robots (msgtype markdown).

    MONOPOD_WECHAT_ROBOT   the robot's address
    MONOPOD_WEBHOOK        an address that takes {"text": ..., "event": ..., "service": ..., "outcomes": [...]}

Concurrency: each address has a thread, which is left behind when its time is over. A name server that is silent, and an answer
that comes byte by byte, would outlast any timeout of a socket.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

ROBOT, WEBHOOK = "MONOPOD_WECHAT_ROBOT", "MONOPOD_WEBHOOK"
TIMEOUT = 5.0  # seconds, for all of it
LONGEST = 4000  # bytes of a robot's message; it takes 4096


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn the message into a question, whose answer looks like a delivery."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send(
    text: str, facts: Mapping[str, Any], environment: Mapping[str, str], warn: Callable[[str], None], seconds: float = TIMEOUT
) -> None:
    """Send a message to whatever address the environment names. What goes wrong is a warning, without the address."""
    robot = {"msgtype": "markdown", "markdown": {"content": _cut(text)}}
    troubles: dict[str, str] = {}

    def post(name: str, body: Mapping[str, Any]) -> None:
        troubles[name] = _post(environment[name].strip(), body, seconds)

    bodies = {name: body for name, body in ((ROBOT, robot), (WEBHOOK, {"text": text, **facts})) if environment.get(name)}
    threads = {each[0]: threading.Thread(target=post, args=each, name=each[0], daemon=True) for each in bodies.items()}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if trouble := troubles.get(name, f"no answer in {seconds:g} s"):
            warn(f"the message to {name} was not delivered ({trouble}); nothing else is touched by that")


def _post(url: str, body: Mapping[str, Any], seconds: float) -> str:
    """Post JSON and return "" or what went wrong. WeChat Work answers a refusal with 200 and an errcode."""
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if request.type not in ("http", "https"):
            return "it is no http(s) address"
        with urllib.request.build_opener(_Stay).open(request, timeout=seconds) as answer:
            said = answer.read(10_000)
    except urllib.error.HTTPError as error:
        with error:
            return f"status {error.code}"
    except Exception as error:  # whatever an address may raise: its text may hold the address, so only its kind is told
        cause = getattr(error, "reason", error)
        return type(cause if isinstance(cause, Exception) else error).__name__
    try:
        code = json.loads(said).get("errcode", 0)
    except (ValueError, AttributeError):
        return ""
    return f"errcode {code}" if code else ""


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= LONGEST else data[:LONGEST].decode(errors="ignore") + "…"
