"""Sends messages about deploys to a robot or a webhook, apart because only this module may know their secret addresses.

The robot is one of WeChat Work, and a webhook is any that takes JSON.

A message that cannot be sent never fails a deploy. The addresses are secrets: they come from the environment alone, and are
never printed.

    MONOPOD_WECHAT_ROBOT   the robot's address
    MONOPOD_WEBHOOK        an address that takes {"text": ..., "event": ..., "service": ..., "outcomes": [...]}
"""

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from conf.remote import safe_http
from conf.remote.parallel import TooSlow, ask_all
from conf.remote.safe_http import NoAnswer
from conf.remote.wechat_robot import MAX_TEXT_BYTES, markdown_message, refusal, shortened

ROBOT, WEBHOOK = "MONOPOD_WECHAT_ROBOT", "MONOPOD_WEBHOOK"
TIMEOUT = 5.0  # seconds for all addresses together
MAX_ANSWER_BYTES = 1_000_000


def send(
    text: str, facts: Mapping[str, Any], environment: Mapping[str, str], warn: Callable[[str], None], seconds: float = TIMEOUT
) -> None:
    """Send a message to each address that the environment names.

    text, facts: the message for people and for programs. warn: gets a sentence, without the address, for each failure.
    seconds: for all addresses together.
    """
    robot = markdown_message(shortened(text, MAX_TEXT_BYTES))
    bodies = {name: body for name, body in ((ROBOT, robot), (WEBHOOK, {"text": text, **facts})) if environment.get(name)}
    posts = {name: partial(_post, environment[name].strip(), body, seconds, name == ROBOT) for name, body in bodies.items()}
    answers = ask_all(posts, seconds)
    for name in posts:
        error = answers.failed.get(name)
        # The text of any other error may hold the address, so only its type is told.
        failure = str(error) if isinstance(error, TooSlow) else type(error).__name__ if error else answers.found[name]
        if failure:
            warn(f"the message to {name} was not delivered ({failure}); this changes nothing else")


def _post(url: str, body: Mapping[str, Any], seconds: float, robot: bool) -> str:
    """Post JSON and return the failure, "" where it was delivered. robot: whether the answer must say errcode 0."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    if request.type not in ("http", "https"):
        return "it is not an http(s) address"
    plain = {urllib.parse.urlsplit(url).netloc}
    try:
        answer = safe_http.ask(request, plain, MAX_ANSWER_BYTES, seconds=seconds, redirects=False)
    except NoAnswer as error:
        return type(error.reason).__name__ if error.reason else "its answer is too large"
    return refusal(answer.body, robot) if answer.status < 300 else f"status {answer.status}"
