"""`monopod bench`, from the command line to an exit status.

Knows the command's arguments and the order of its steps. Does not know HTTP or statistics.
"""

import asyncio
import json
import resource
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from serving.base.terminal import progress
from serving.settings import SettingsError, load
from serving.tools.bench import bench_report, http_client
from serving.tools.bench.figures import figures
from serving.tools.bench.load_generator import Load, RunResult, Send, Tell, run
from serving.tools.bench.request_bodies import BenchError, Body, bodies

PORT = 8080


def bench_command(arguments: Namespace) -> int:
    """Print the figures. Return 0 where at least one answer was 2xx, 130 where Ctrl-C ended the run, else 1."""
    try:
        given, headers = _given(arguments), dict(map(_header, arguments.header))
        url, sent = _asked(arguments, headers, given)
    except (BenchError, SettingsError) as error:
        return _fail(str(error), arguments.json)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}", arguments.json)
    rate = arguments.rate or 0.0
    asked = Load(0 if rate else arguments.concurrency, rate, arguments.seconds, arguments.warm_up)
    _allow_many_files()
    with progress(asked.warm_up + asked.seconds, "bench", " s") as tell:
        result = asyncio.run(_measure(http_client.client(url, sent, headers, arguments.timeout, arguments.vary), asked, tell))
    found, request = figures(result), f"{'POST' if sent else 'GET'} {http_client.without_password(url)}"
    print((bench_report.as_json if arguments.json else bench_report.as_text)(found, asked, request), end="")
    return 130 if result.stopped else 0 if found.good else 1


async def _measure(sender: AbstractAsyncContextManager[Send], asked: Load, tell: Tell) -> RunResult:
    async with sender as send:
        return await run(send, asked, tell)


def _given(arguments: Namespace) -> list[Body]:
    """Return the bodies of the requests. Raises BenchError where --vary has no picture, and as `bodies` does."""
    found = bodies(arguments.file, arguments.data, arguments.form)
    if arguments.vary and all(len(body.pieces) == 1 for body in found):
        raise BenchError("--vary: makes each picture a new file, but no picture is sent; leave it out")
    return found


def _asked(arguments: Namespace, headers: Mapping[str, str], given: list[Body]) -> tuple[str, list[Body]]:
    """Return the URL to ask, and the bodies: the service's own route and example where it tells them. Raises BenchError."""
    url = _own_url(arguments) if arguments.url is None else arguments.url
    http_client.reach(url)
    try:
        url, content = http_client.own_route(url, headers)
    except BenchError:
        if not given and arguments.url is None:
            raise
        return url, given  # another route, or another server
    return url, given or [http_client.example(content)]


def _own_url(arguments: Namespace) -> str:
    settings = load(arguments.service / "value.py", None).settings
    return f"http://localhost:{PORT}/api/{settings.username}/{settings.service_name}"


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not name.strip() or not colon or not line.isprintable():
        raise BenchError(f"--header {line!r}: write 'Name: value'")
    return name.strip(), value.strip()


def _allow_many_files() -> None:
    """Raise the soft limit on open files, often 1024, to the hard limit: each in-flight request holds a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _fail(mistake: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"mistakes": mistake.splitlines()}, indent=2))
    else:
        print(mistake, file=sys.stderr)
    return 1
