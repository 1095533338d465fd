"""Lines as containerd writes them into a pod's file, and the documents that are made of them.

Knows the forms of lines and of a sink's documents. Does not know how lines are sent, nor what the sink is.
"""

import json
from pathlib import Path
from typing import Any, Protocol

from tests.charts.logs.bulk_receiver import Document
from tests.waiting import until

TIME = "2026-11-22T16:22:05.123456789Z"  # of containerd; in UTC+8 it is the 23rd


class Sink(Protocol):
    """A sink whose documents can be read."""

    def stored(self) -> list[Document]: ...


def cri_line(text: str | bytes, stream: str = "stdout", part: str = "F", time: str = TIME) -> bytes:
    """Return a line of a container as containerd writes it into a pod's file."""
    return f"{time} {stream} {part} ".encode() + (text if isinstance(text, bytes) else text.encode()) + b"\n"


def container_file(pods: Path, service: str = "cats", namespace: str = "like", pod: str = "", number: int = 0) -> Path:
    """Return the file of a container's log, and make its folder."""
    folder = pods / f"{namespace}_{pod or service + '-5d9f-x7k2p'}_0a1b-2c3d" / service
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{number}.log"


def event(message: str, **fields: Any) -> str:
    """Return a line of the runtime."""
    return json.dumps({"time": "2026-11-22T15:59:59.999Z", "level": "info", "message": message, **fields}, ensure_ascii=False)


def numbered(first: int, last: int) -> bytes:
    """Return the lines "line <first>" up to the one before "line <last>". Each has a time of its own, as containerd's have."""
    return b"".join(cri_line(event(f"line {each}"), time=f"2026-11-22T16:22:05.{each:09d}Z") for each in range(first, last))


def append(file: Path, lines: bytes) -> None:
    """Write lines as containerd does."""
    with file.open("ab") as out:
        out.write(lines)


def messages(sink: Sink) -> list[str]:
    """Return the messages of a sink's documents, within one index in the order in which they came."""
    return [str(each.fields.get("message", "")) for each in sink.stored()]


def came(sink: Sink, *wanted: str) -> list[Document]:
    """Return the documents of some messages, once all of them are there."""
    until(lambda: set(wanted) <= set(messages(sink)), seconds=60, pause=0.1)
    found = {str(each.fields.get("message")): each for each in sink.stored()}
    return [found[message] for message in wanted]
