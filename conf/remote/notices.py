"""Sends messages about deploys: to a robot of WeChat Work, and to any webhook that takes JSON.

A message that cannot be sent never fails a deploy. The addresses are secrets: they come from the environment alone, and are
never printed.

    MONOPOD_WECHAT_ROBOT   the robot's address
    MONOPOD_WEBHOOK        an address that takes {"text": ..., "event": ..., "service": ..., "outcomes": [...]}

Concurrency: each address has a thread, which is abandoned when its time is over. A name server that does not answer, and an
answer that comes byte by byte, would outlast any timeout of a socket.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from conf.remote.wechat_robot import MAX_TEXT_BYTES, markdown_message, refusal, shortened

ROBOT, WEBHOOK = "MONOPOD_WECHAT_ROBOT", "MONOPOD_WEBHOOK"
TIMEOUT = 5.0  # seconds for all addresses together


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn the POST into a GET, whose answer looks like a delivery."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send(
    text: str, facts: Mapping[str, Any], environment: Mapping[str, str], warn: Callable[[str], None], seconds: float = TIMEOUT
) -> None:
    """Send a message to each address that the environment names.

    text, facts: the message for people and for programs. warn: gets a sentence, without the address, for each failure.
    seconds: for all addresses together.
    """
    robot = markdown_message(shortened(text, MAX_TEXT_BYTES))
    failures: dict[str, str] = {}

    def post(name: str, body: Mapping[str, Any]) -> None:
        failures[name] = _post(environment[name].strip(), body, seconds, name == ROBOT)

    bodies = {name: body for name, body in ((ROBOT, robot), (WEBHOOK, {"text": text, **facts})) if environment.get(name)}
    threads = {each[0]: threading.Thread(target=post, args=each, name=each[0], daemon=True) for each in bodies.items()}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if failure := failures.get(name, f"no answer in {seconds:g} s"):
            warn(f"the message to {name} was not delivered ({failure}); this changes nothing else")


def _post(url: str, body: Mapping[str, Any], seconds: float, robot: bool) -> str:
    """Post JSON and return the failure, "" for none. robot: whether the answer must say errcode 0."""
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if request.type not in ("http", "https"):
            return "it is no http(s) address"
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as answer:
            return refusal(answer.read(10_000), robot)
    except urllib.error.HTTPError as error:
        with error:
            return f"status {error.code}"
    except Exception as error:  # the text of any error may hold the address, so only its type is told
        cause = getattr(error, "reason", error)
        return type(cause if isinstance(cause, Exception) else error).__name__
