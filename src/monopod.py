"""The command: `monopod serve` near the model, `monopod settings | check | render` near the cluster.

Knows the command line. Imports a half only when a command needs it: the image of a service holds no conf/.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status. What goes wrong is told in a sentence."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("MONOPOD_DEBUG"):
            raise
        print(f"monopod: {_sentence(error)}", file=sys.stderr)
        return 1


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed here; run `make check` once, or `pip install -e '.[runtime,cpu,deploy]'`"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    words = str(error) or type(error).__name__
    return f"unexpected: {words} ({type(error).__name__}); MONOPOD_DEBUG=1 shows where, please report it"


def _serve(arguments: argparse.Namespace) -> int:
    from serving.main import serve

    return serve(arguments.service.resolve(), arguments.port, arguments.admin_port, arguments.host)


def _settings(arguments: argparse.Namespace) -> int:
    from conf.cli import settings_command

    return settings_command(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from conf.cli import check_command

    return check_command(arguments)


def _render(arguments: argparse.Namespace) -> int:
    from conf.cli import render_command

    return render_command(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="monopod", description="One model, one process, one GPU, one pod.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = _add(commands, "serve", _serve, "serve the model of a service", "monopod serve --service examples/digits")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: every one)")
    serve.add_argument("--port", type=_port, default=8080, help="data port (default: 8080)")
    serve.add_argument("--admin-port", type=_port, default=8081, help="port of probes and metrics (default: 8081)")

    settings = _add(commands, "settings", _settings, "list what value.py may say", "monopod settings", service=False)
    settings.add_argument("--json", action="store_true", help="print JSON")
    settings.add_argument("--markdown", action="store_true", help="print docs/settings.md")

    check = _add(
        commands, "check", _check, "tell every mistake, or what runs where and what it costs", "monopod check --others .."
    )
    _near_the_cluster(check)
    check.add_argument("--others", type=Path, metavar="DIR", help="a folder that holds a folder for each other service")

    render = _add(commands, "render", _render, "print the Kubernetes objects", "monopod render --region hk --track grey")
    _near_the_cluster(render)
    render.add_argument("--region", default="", help="one region alone")
    render.add_argument("--output", type=Path, metavar="DIR", help="write one file for each region and track there")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65535")
    return int(text)


def _add(commands: Any, name: str, run: Command, words: str, example: str, service: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words, epilog=f"example: {example}")
    parser.set_defaults(command=run)
    if service:
        parser.add_argument("--service", type=Path, default=Path(), metavar="DIR", help="the service's folder (default: .)")
    return parser


def _near_the_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--track", choices=("prod", "grey", "ab"), help="one track alone (default: prod to the terminal, else all)"
    )
    parser.add_argument("--image", default="", help="the image that runs (default: <registry>/<username>/<service_name>:dev)")
    parser.add_argument("--regions", type=Path, metavar="FILE", help="another regions.yaml (default: the platform's)")
    parser.add_argument("--json", action="store_true", help="print JSON")


if __name__ == "__main__":
    sys.exit(main())
