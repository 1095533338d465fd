"""The command `monopod`: dispatches, and imports either half only when it is needed.

Knows the commands' names and arguments. Does not know what they do.
"""

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser("monopod", description="One model, one process, one GPU, one pod.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    arguments = parser.parse_args()
    return int(arguments.run(arguments))


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="serve the model of a service's folder",
        epilog="example: monopod serve --service examples/moderation --port 9000",
    )
    serve.add_argument("--service", type=Path, default=Path(), metavar="DIR", help="the service's folder (default: here)")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: every one)")
    serve.add_argument("--port", type=int, default=8080, help="data port (default: 8080)")
    serve.add_argument("--admin-port", type=int, default=8081, help="port of probes and metrics (default: 8081)")
    serve.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from serving.main import serve

    return serve(arguments.service.resolve(), arguments.port, arguments.admin_port, arguments.host)


if __name__ == "__main__":
    sys.exit(main())
