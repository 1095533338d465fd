"""A message reaches its address, or a few words say why not. The only module that knows an address.

The address is a secret. It is read from its file anew for each message, so that a Secret can change while the relay runs. No
error of this module holds it: of another's error only the type is told. Redirects are not followed. They would turn the POST
into a GET, whose answer looks like a delivery.
"""

import asyncio
import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from conf.remote.wechat_robot import refusal

SECONDS = 8.0  # for one delivery, from the name's look-up to the last byte of the answer
MAX_ANSWER_BYTES = 10_000
MAX_ADDRESS_BYTES = 4_000


class NotDelivered(Exception):
    """A message did not arrive, or nobody knows whether it did. Its text says why, without the address."""


@dataclass(frozen=True)
class Receiver:
    """Where messages go. file: holds the address. robot: whether it is a robot of WeChat Work, which must say errcode 0.

    plain_hosts: the hosts, with their ports, that may be asked over plain HTTP.
    """

    file: Path
    robot: bool
    plain_hosts: Collection[str] = ()


def address(receiver: Receiver) -> str:
    """Return a receiver's address. Raises NotDelivered where the file holds none that may be used."""
    name = receiver.file.name
    try:
        with receiver.file.open("rb") as file:
            found = file.read(MAX_ADDRESS_BYTES + 1).decode("ascii").strip()
        parts = urllib.parse.urlsplit(found)
        host = parts.netloc.rpartition("@")[2]
    except OSError:
        raise NotDelivered(f"the Secret has no key {name}") from None
    except ValueError:
        raise NotDelivered(f"the key {name} of the Secret is not an address") from None
    if len(found) > MAX_ADDRESS_BYTES or not host or not found.isprintable() or " " in found:
        raise NotDelivered(f"the key {name} of the Secret is not an address")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in receiver.plain_hosts):
        raise NotDelivered(f"the address in the key {name} of the Secret is not https")
    return found


async def deliver(
    session: aiohttp.ClientSession, receiver: Receiver, message: Mapping[str, Any], seconds: float = SECONDS
) -> None:
    """Send a message. Raises NotDelivered.

    seconds: the most for all of it.
    """
    where = address(receiver)
    try:
        async with (
            asyncio.timeout(seconds),
            session.post(where, json=message, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            status, body = answer.status, await _beginning(answer)
    except Exception as error:  # the text of any error may hold the address, so only its type is told
        late = isinstance(error, TimeoutError)
        raise NotDelivered(f"no answer in {seconds:g} s" if late else f"no answer ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise NotDelivered(f"status {status}")
    if words := refusal(body, receiver.robot):
        raise NotDelivered(words)


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """Return an answer's body, or the beginning of a long one."""
    found = b""
    async for piece in answer.content.iter_chunked(4096):
        found += piece
        if len(found) > MAX_ANSWER_BYTES:
            break
    return found
