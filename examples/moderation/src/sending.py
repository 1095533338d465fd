"""Sends the tests' requests to the service through sockets, as its clients do."""

import json
from typing import Any

import psutil

from tests import films
from tests.running import ROOT, Running, get

FOLDER = ROOT / "examples/moderation"
ROUTE = "/api/like/moderation"
COFFEE, ASTRONAUT = films.picture("coffee.jpg"), films.picture("astronaut.jpg")
Answered = tuple[int, dict[str, Any]]


def file(name: str) -> bytes:
    return (ROOT / "examples/images" / name).read_bytes()


def send(service: Running, body: bytes, kind: str, **headers: str) -> Answered:
    status, answer = get(service.url + ROUTE, body, {"Content-Type": kind, **headers})
    return status, json.loads(answer)


def send_form(service: Running, *parts: tuple[str, bytes, str]) -> Answered:
    """Send a form. parts: name, content, and a file's name, which is "" for a field."""
    body = b""
    for name, content, filename in parts:
        shown = f'; filename="{filename}"' if filename else ""
        body += f'--line\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + content + b"\r\n"
    return send(service, body + b"--line--\r\n", "multipart/form-data; boundary=line")


def send_video(service: Running, video: bytes, **headers: str) -> Answered:
    return send(service, video, "video/mp4", **headers)


def children(service: Running) -> list[psutil.Process]:
    """Return the processes that decode a video now."""
    (supervisor,) = psutil.Process(service.process.pid).children()
    return supervisor.children()
