"""The routes of the relay, and the status of each answer.

    POST /robot, POST /webhook, POST /watchdog   a notification of Alertmanager
        200   the message arrived
        400   the body is no notification; to send it again is useless
        413   the body is too large
        503   the message did not arrive, the body came too slowly, or there were too many in this minute; Alertmanager tries
              again
    GET /healthz                 200 while the loop answers
    GET /readyz                  200 while each address can be used, else 503 and why

After a 4xx Alertmanager waits until the group's next turn, after group_interval. After a 5xx it tries again within seconds. So
nothing that may pass by itself is a 4xx.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from conf.remote.wechat_robot import MAX_MESSAGES, MAX_TEXT_BYTES, WINDOW_SECONDS, markdown_message
from relay.delivery import SECONDS, NotDelivered, Receiver, address, deliver
from relay.message_text import message_text
from relay.notifications import NoNotification, Notification, read
from relay.rate_limit import RateLimit

MAX_BODY_BYTES = 8 * 2**20
BODY_SECONDS = 10.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("relay")


@dataclass(frozen=True)
class RelaySettings:
    """The relay's settings. receivers: by the route's name. delivery_seconds: the most for one message."""

    receivers: Mapping[str, Receiver]
    region: str = ""
    delivery_seconds: float = SECONDS
    body_seconds: float = BODY_SECONDS
    limits: Mapping[str, RateLimit] = field(default_factory=dict)


def application(settings: RelaySettings) -> web.Application:
    """Return the relay as an application of aiohttp."""
    made = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_answers_whatever_happens])
    made.cleanup_ctx.append(_session)
    for name, receiver in settings.receivers.items():
        made.router.add_post(f"/{name}", _route(name, receiver, settings))
    made.router.add_get("/healthz", _healthz)
    made.router.add_get("/readyz", _readyz(settings))
    return made


SESSION = web.AppKey("session", aiohttp.ClientSession)


async def _session(app: web.Application) -> Any:
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True) as session:
        app[SESSION] = session
        yield


def _route(name: str, receiver: Receiver, settings: RelaySettings) -> Handler:
    limit = settings.limits.get(name) or RateLimit(MAX_MESSAGES, WINDOW_SECONDS)

    async def handle(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(settings.body_seconds):
                body = await request.read()
            notification = read(body)
        except TimeoutError:
            words = f"the body did not come in {settings.body_seconds:g} s; Alertmanager tries again"
            return _answered(name, 503, words)
        except NoNotification as error:
            return _answered(name, 400, str(error))
        if seconds := limit.wait():
            return _answered(name, 503, "too many messages in this minute; Alertmanager tries again", notification, seconds)
        try:
            message = _message(receiver, notification, settings.region)
            await deliver(request.app[SESSION], receiver, message, settings.delivery_seconds)
        except NotDelivered as error:
            return _answered(name, 503, f"the message did not arrive: {error}", notification)
        return _answered(name, 200, "the message arrived", notification)

    return handle


def _message(receiver: Receiver, notification: Notification, region: str) -> Mapping[str, Any]:
    """Return the JSON of a message in the form of its receiver."""
    text = message_text(notification, region, MAX_TEXT_BYTES)
    return markdown_message(text) if receiver.robot else {"text": text, "event": "alerts", **_facts(notification)}


def _facts(notification: Notification) -> dict[str, Any]:
    firing = sum(alert.firing for alert in notification.alerts)
    return {"group": dict(notification.group), "firing": firing, "resolved": len(notification.alerts) - firing}


def _answered(
    name: str, status: int, words: str, notification: Notification | None = None, retry_after: float = 0
) -> web.Response:
    fields = {"to": name, "status": status, **(_facts(notification) if notification else {})}
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
    async def handle(_: web.Request) -> web.Response:
        try:
            for receiver in settings.receivers.values():
                address(receiver)
        except NotDelivered as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="ok\n")

    return handle
