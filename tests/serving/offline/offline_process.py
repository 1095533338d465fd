"""Runs `monopod offline` as a user does, with a service that does what its records ask for, and reads docs/offline.md."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.settings.offline_names import dead_topic_of
from tests.running import PYTHONPATH, ROOT, Running, free_port, get, make_service
from tests.serving.offline import broker

# The service does what its record asks for. A file named `broken` in its folder makes it fail for every record.
SERVER = """
import os
import time

from serving.api import BadInput, Service


class Obedient(Service):
    pictures = True

    def handle(self, request):
        if request.image_files:
            return list(request.image().size)
        asked = request.fields.get("do", "")
        if asked == "kill":
            os._exit(9)
        if asked == "hang":
            time.sleep(1000)
        if asked == "slow":
            time.sleep(0.05)
        if asked == "refuse":
            raise BadInput("no face found")
        if asked == "fail" or (self.folder / "broken").exists():
            raise RuntimeError("a broken release")
        return {"number": request.fields.get("number")}
"""
QUICK = "offline_retry_second = 0.05\noffline_retry_cap_second = 0.2\noffline_retries = 1"
STEPS = ("value.py", "try", "table", "run", "brokers", "secret")  # the steps that have a block


class Offline(Running):
    """One process of the command. Before its admin port answers, every metric is absent."""

    def metrics(self) -> str:
        with contextlib.suppress(OSError):
            return super().metrics()
        assert self.process.poll() is None, self.log.read_text()
        return ""

    def is_ready(self) -> bool:
        """Return whether /api/ping answers 200. Raises AssertionError with the log where the process has ended."""
        with contextlib.suppress(OSError):
            return get(self.admin + "/api/ping")[0] == 200
        assert self.process.poll() is None, self.log.read_text()
        return False


def service(folder: Path, source: str, group: str, sinks: str, more: str = "") -> Path:
    """Write a service that reads a topic from its first record on. sinks: a list, as in value.py. more: further settings."""
    settings = f'memory = "1Gi"\noffline_source = "kafka:{source}"\noffline_sinks = {sinks}\noffline_group = "{group}"\n'
    return make_service(folder, f'{settings}offline_start = "earliest"\n{QUICK}\n{more}', SERVER)


def value(number: int, do: str = "") -> bytes:
    """Return a record's JSON. do: what it asks of the service."""
    return json.dumps({"postid": f"p{number}", "number": number, "do": do}).encode()


def launch(folder: Path, address: str, *flags: str, env: Mapping[str, str] | None = None) -> Offline:
    """Start the command without waiting for it. Its standard output and error are its log."""
    admin_port, log = free_port(), Path(tempfile.mkstemp(suffix=".log")[1])
    command = [sys.executable, "-m", "monopod", "offline", "--service", str(folder), "--brokers", address]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--admin-port", str(admin_port), *flags],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONUNBUFFERED": "1", **(env or {})},
            start_new_session=True,
        )
    return Offline(process, 0, admin_port, log)


@contextlib.contextmanager
def running(folder: Path, address: str, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Offline]:
    """Run the command for the length of a block."""
    process = launch(folder, address, *flags, env=env)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.process.wait(30)
        process.log.unlink(missing_ok=True)


def ended(folder: Path, address: str, *flags: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command to its end, and return its exit status, standard output and standard error."""
    command = [sys.executable, "-m", "monopod", "offline", "--service", str(folder), "--brokers", address]
    command += ["--admin-port", str(free_port()), *flags]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,  # where a backfill keeps its note
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, **(env or {})},
    )
    return done.returncode, done.stdout, done.stderr


def numbers(messages: list[Any]) -> list[int]:
    """Return the numbers of the records that answers in a topic belong to, in the answers' order."""
    return [json.loads(message.value())["results"]["number"] for message in messages]


class Case:
    """A topic with a group, a topic of answers, and a service that reads the one and writes the other."""

    def __init__(self, address: str, topic: str, group: str, answers: str, folder: Path):
        self.address, self.topic, self.group, self.answers, self.folder = address, topic, group, answers, folder
        self.dead = dead_topic_of(topic, group)

    def service(self, more: str = "", sinks: str = "") -> Path:
        return service(self.folder, self.topic, self.group, sinks or f'["kafka:{self.answers}"]', more)

    def answered(self) -> list[int]:
        return numbers(broker.records(self.address, self.answers))

    def letters(self) -> list[tuple[Any, dict[str, Any]]]:
        """Return each dead letter's value and headers."""
        return [(message.value(), dict(message.headers() or [])) for message in broker.records(self.address, self.dead)]

    def produce(self, values: list[bytes | None], partition: int = 0, **more: Any) -> None:
        broker.produce(self.address, self.topic, values, partition, **more)

    def is_committed(self, partition: int = 0) -> bool:
        end = broker.end_offset(self.address, self.topic, partition)
        return broker.committed(self.address, self.group, self.topic, partition)[0] == end


def backfill(
    service: Path,
    given: list[str],
    to: list[str],
    folder: Path,
    env: dict[str, str] | None = None,
    flags: tuple[str, ...] = (),
    **pipes: int,
) -> subprocess.Popen[str]:
    """Start a backfill in a folder, which gets the note. pipes: as of subprocess.Popen."""
    command = [sys.executable, "-m", "monopod", "offline", "--service", str(service), "--admin-port", str(free_port())]
    command += ["--from", *given, *(word for sink in to for word in ("--to", sink)), *flags]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **(env or {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def finished(process: "subprocess.Popen[str]", seconds: float = 300) -> tuple[int, str, str]:
    """Return the exit status of a backfill, and what it printed on stdout and on stderr."""
    out, errors = process.communicate(timeout=seconds)
    return process.returncode, out, errors


def steps() -> dict[str, str]:
    """Return the block of each step, by its name in STEPS."""
    section = (ROOT / "docs/offline.md").read_text().split("\n## ")[1]
    found = re.findall(r"(?:^       .*\n)+", section, re.MULTILINE)
    return dict(zip(STEPS, (re.sub(r"^       ", "", each, flags=re.MULTILINE) for each in found), strict=True))
