"""The routes of the relay, and the status of each answer.

    POST /robot, POST /webhook, POST /watchdog   a notification of Alertmanager
        200   the message arrived
        400   the body is not a notification; to send it again is useless
        413   the body is too large
        503   the message did not arrive, the body came too slowly, too many bodies came at once, or there were too many
              messages in this minute; Alertmanager tries again
    GET /healthz                 200 while the loop answers
    GET /readyz                  200 while each address of people can be used, else 503 and why

After a 4xx Alertmanager waits until the group's next turn, after group_interval. After a 5xx it tries again within seconds. So
nothing that may pass by itself is a 4xx.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import aiohttp
from aiohttp import web

from conf.remote.wechat_robot import MAX_MESSAGES, MAX_TEXT_BYTES, WINDOW_SECONDS, markdown_message, shortened
from relay.delivery import SECONDS, NotDelivered, Receiver, address, deliver
from relay.messages import Notification, WrongNotification, message_text, read

MAX_BODY_BYTES = 8 * 2**20
MAX_BODIES_BYTES = 2 * MAX_BODY_BYTES  # of all that are in hand: with the largest message being made, half of the pod's memory
BODY_SECONDS = 10.0
MAX_LABELS, MAX_LABEL_BYTES = 30, 200  # of a group, and bytes, in a message's fields and in the log
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("relay")


class RateLimit:
    """A sliding window: in any `seconds` at most `count` attempts.

    Every attempt counts, whatever became of it, as a robot may count it too.
    """

    def __init__(self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._attempts: deque[float] = deque(maxlen=count)

    def wait(self) -> float:
        """Return 0 and count an attempt, or else the seconds until one is allowed."""
        now, attempts = self._clock(), self._attempts
        if len(attempts) == attempts.maxlen and now < attempts[0] + self._seconds:
            return attempts[0] + self._seconds - now
        attempts.append(now)
        return 0.0


@dataclass(frozen=True)
class RelaySettings:
    """The relay's settings. receivers: by the route's name. delivery_seconds: the most for one message."""

    receivers: Mapping[str, Receiver]
    region: str = ""
    delivery_seconds: float = SECONDS
    body_seconds: float = BODY_SECONDS
    limits: Mapping[str, RateLimit] = field(default_factory=dict)


class TooManyBodies(Exception):
    """The bodies in hand take all the bytes that they may."""


class Bodies:
    """The bodies of all requests that are in hand, within a bound on their bytes together. The loop's thread alone uses it."""

    def __init__(self) -> None:
        self._bytes = 0

    @asynccontextmanager
    async def read(self, content: aiohttp.StreamReader) -> AsyncIterator[bytearray]:
        """Hold the body of a request for the length of a block. Raises HTTPRequestEntityTooLarge, TooManyBodies."""
        found = bytearray()
        try:
            async for piece in content.iter_any():
                found += piece
                self._bytes += len(piece)
                if len(found) > MAX_BODY_BYTES:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(found))
                if self._bytes > MAX_BODIES_BYTES:
                    raise TooManyBodies
            yield found
        finally:
            self._bytes -= len(found)


def application(settings: RelaySettings) -> web.Application:
    made, bodies = web.Application(middlewares=[_answers_whatever_happens]), Bodies()
    made.cleanup_ctx.append(_session)
    for name, receiver in settings.receivers.items():
        made.router.add_post(f"/{name}", _route(name, receiver, settings, bodies))
    made.router.add_get("/healthz", _healthz)
    made.router.add_get("/readyz", _readyz(settings))
    return made


SESSION = web.AppKey("session", aiohttp.ClientSession)


async def _session(app: web.Application) -> Any:
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True) as session:
        app[SESSION] = session
        yield


def _route(name: str, receiver: Receiver, settings: RelaySettings, bodies: Bodies) -> Handler:
    limit = settings.limits.get(name) or RateLimit(MAX_MESSAGES, WINDOW_SECONDS)

    async def handle(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(settings.body_seconds), bodies.read(request.content) as body:
                message, facts = _message(receiver, read(body), settings.region)
        except TooManyBodies:
            return _answered(name, 503, "too many notifications at once; Alertmanager tries again")
        except TimeoutError:
            words = f"the body did not come in {settings.body_seconds:g} s; Alertmanager tries again"
            return _answered(name, 503, words)
        except WrongNotification as error:
            return _answered(name, 400, str(error))
        if seconds := limit.wait():
            return _answered(name, 503, "too many messages in this minute; Alertmanager tries again", facts, seconds)
        try:
            await deliver(request.app[SESSION], receiver, message, settings.delivery_seconds)
        except NotDelivered as error:
            return _answered(name, 503, f"the message did not arrive: {error}", facts)
        return _answered(name, 200, "the message arrived", facts)

    return handle


def _message(receiver: Receiver, notification: Notification, region: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the JSON of a message in the form of its receiver, and the counts: small, whatever the notification is."""
    text, firing = message_text(notification, region, MAX_TEXT_BYTES), sum(alert.firing for alert in notification.alerts)
    labels = islice(notification.group.items(), MAX_LABELS)
    group = {shortened(name, MAX_LABEL_BYTES): shortened(value, MAX_LABEL_BYTES) for name, value in labels}
    facts = {"group": group, "firing": firing, "resolved": len(notification.alerts) - firing}
    return (markdown_message(text) if receiver.robot else {"text": text, "event": "alerts", **facts}), facts


def _answered(
    name: str, status: int, words: str, facts: Mapping[str, Any] | None = None, retry_after: float = 0
) -> web.Response:
    fields = {"to": name, "status": status, **(facts or {})}
    log.log(logging.INFO if status == 200 else logging.WARNING, words, extra={"fields": fields})
    headers = {"Retry-After": str(math.ceil(retry_after))} if retry_after else {}
    return web.Response(status=status, text=f"{words}\n", headers=headers)


@web.middleware
async def _answers_whatever_happens(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 where the relay itself fails, so that Alertmanager keeps the alert."""
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return _answered(request.path[1:20], 413, f"the body has more than {MAX_BODY_BYTES} bytes")
    except web.HTTPException:
        raise
    except Exception:
        log.exception("the relay failed on a request")
        return web.Response(status=503, text="the relay failed; its log tells where\n")


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _readyz(settings: RelaySettings) -> Handler:
    """Return the answer to probes. Why one fails is logged when that changes, since Kubernetes does not tell it."""
    told = ""

    async def handle(_: web.Request) -> web.Response:
        nonlocal told
        before, told = told, ""
        try:
            for name, receiver in settings.receivers.items():
                if name != "watchdog":  # a switch without an address keeps no alert from people
                    address(receiver)
        except NotDelivered as error:
            told = str(error)
        if told not in ("", before):
            log.warning("not ready: %s", told)
        return web.Response(status=503 if told else 200, text=f"{told or 'ok'}\n")

    return handle
