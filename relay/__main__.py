"""Runs the relay: python -m relay. Its settings come from the environment; docs/alerting.md says how the chart sets them.

RELAY_PORT          the port (default: 8080)
RELAY_SECRETS       the folder whose files robot, webhook and watchdog hold the addresses (default: /etc/relay)
RELAY_RECEIVERS     which of the three are used, separated by commas (default: robot)
RELAY_REGION        named in each message
RELAY_TIMEOUT       seconds for one message, up to 60 (default: 8)
RELAY_PLAIN_HOSTS   hosts that may be asked over plain HTTP, as 10.0.0.5:8080, separated by commas (default: none)
HTTPS_PROXY         the proxy through which addresses are reached, as http://proxy:3128 (default: none; NO_PROXY holds too)
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from relay.delivery import SECONDS, Receiver
from relay.web import RelaySettings, application

RECEIVERS = ("robot", "webhook", "watchdog")
MAX_MESSAGE = 2_000  # characters in a line of the log
TIMEOUT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")


class WrongSetting(ValueError):
    """A variable of the environment cannot be used."""


def settings(environment: Mapping[str, str]) -> tuple[RelaySettings, int]:
    port, names = environment.get("RELAY_PORT", "8080"), _listed(environment.get("RELAY_RECEIVERS", RECEIVERS[0]))
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise WrongSetting(f"RELAY_PORT is {port!r}: give a number from 1 to 65535")
    if not names or set(names) - set(RECEIVERS):
        raise WrongSetting(
            f"RELAY_RECEIVERS is {','.join(names)!r}: give {', '.join(RECEIVERS)}, or several of them with commas"
        )
    timeout = environment.get("RELAY_TIMEOUT", f"{SECONDS:g}")
    if not TIMEOUT.fullmatch(timeout) or not 0 < float(timeout) <= 60:
        raise WrongSetting(f"RELAY_TIMEOUT is {timeout!r}: give a number of seconds, up to 60")
    folder, plain = Path(environment.get("RELAY_SECRETS", "/etc/relay")), _listed(environment.get("RELAY_PLAIN_HOSTS", ""))
    receivers = {name: Receiver(folder / name, name == RECEIVERS[0], plain) for name in names}
    return RelaySettings(receivers, environment.get("RELAY_REGION", ""), float(timeout)), int(port)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


class JsonLine(logging.Formatter):
    """Formats a record as one line of JSON. Fields of the event are given as extra={"fields": {...}}.

    Of an exception a line holds the type, and the place that raised it. Its text may hold a secret address.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MAX_MESSAGE],
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(record.exc_info[2])][-3:]
        return json.dumps(line)


def log_to_stdout() -> None:
    """Have every logger of the process write such lines to stdout, from level INFO."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def main() -> int:
    """Answer until SIGTERM, then end the requests that run, and return the exit status."""
    log_to_stdout()
    try:
        found, port = settings(os.environ)
    except WrongSetting as error:
        print(error, file=sys.stderr)
        return 1
    web.run_app(application(found), port=port, access_log=None, print=None, shutdown_timeout=found.delivery_seconds + 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
