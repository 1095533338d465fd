"""The command: `monopod serve | bench` near the model, `monopod settings | check | render` near the cluster.

Knows the command line. Imports a half only when a command needs it: the image of a service holds no conf/.
"""

import argparse
import gc
import importlib
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION = "0.2.0"  # of the platform
UNPUSHED = "the image that runs (default: <registry>/<username>/<service_name>:dev, which stands for one to be pushed)"
PUSHED = "the image that is to run, which was pushed; its registry is asked which digest its tag has now"
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
        install = f"{sys.executable} -m pip install -c requirements.lock -e '.[runtime,cpu,tools,check,deploy]'"
        return f"{error.name} is not installed here; run `{install}` once, in {Path(__file__).resolve().parents[1]}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    words = str(error) or type(error).__name__
    return f"unexpected: {words} ({type(error).__name__}); MONOPOD_DEBUG=1 shows where, please report it"


def _serve(arguments: argparse.Namespace) -> int:
    # Requests run side by side: a numpy that starts a thread for each of the node's cores would only get in their way.
    for library in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(library, "1")
    from serving.main import serve

    return serve(arguments.service.resolve(), arguments.port, arguments.admin_port, arguments.host)


def _verify(arguments: argparse.Namespace) -> int:
    from serving.tools.verify import verify_command

    return verify_command(arguments)


def _optimize(arguments: argparse.Namespace) -> int:
    from serving.tools.optimize.optimize_command import optimize_command

    return optimize_command(arguments)


def _bench(arguments: argparse.Namespace) -> int:
    from serving.tools.bench.bench_command import bench_command

    return bench_command(arguments)


def _deploy_half(arguments: argparse.Namespace) -> int:
    """Run a command of the deploy half: conf.commands.<name>_command has a function of its own name for it."""
    name = f"{arguments.name}_command"
    gc.disable()  # what is imported stays: to look for garbage in it takes a tenth of a short command's time
    command: Command = getattr(importlib.import_module(f"conf.commands.{name}"), name)
    gc.enable()
    return command(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="monopod", description="One model, one process, one GPU, one pod.")
    parser.add_argument("--version", action="version", version=f"monopod {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = _add(commands, "serve", _serve, "serve the model of a service", "monopod serve --service examples/instance-masks")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: every one)")
    serve.add_argument("--port", type=_port, default=8080, help="data port (default: 8080)")
    serve.add_argument("--admin-port", type=_port, default=8081, help="port of probes and metrics (default: 8081)")

    verify = _add(commands, "verify", _verify, "tell whether every model is there, whole, and answers", "monopod verify")
    _provider(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")

    optimize = _add(
        commands, "optimize", _optimize, "make FP16 and INT8 copies of a model", "monopod optimize --samples ~/requests --int8"
    )
    _provider(optimize)
    _conversion_of(optimize)
    optimize.add_argument("--json", action="store_true", help="print JSON")

    bench = _add(commands, "bench", _bench, "measure a running service", "monopod bench --file cat.jpg --rate 50 --seconds 10")
    _load_of(bench)
    bench.add_argument("--json", action="store_true", help="print JSON")

    settings = _add(commands, "settings", _deploy_half, "list what value.py may say", "monopod settings", service=False)
    settings.add_argument("--json", action="store_true", help="print JSON")
    settings.add_argument("--markdown", action="store_true", help="print docs/settings.md")

    check = _add(
        commands, "check", _deploy_half, "tell every mistake, or what runs where and what it costs", "monopod check --others .."
    )
    _near_the_cluster(check)
    check.add_argument("--others", type=Path, metavar="DIR", help="a folder that holds a folder for each other service")

    render = _add(commands, "render", _deploy_half, "print the Kubernetes objects", "monopod render --region hk --track grey")
    _near_the_cluster(render)
    render.add_argument("--region", default="", help="one region alone")
    render.add_argument("--output", type=Path, metavar="DIR", help="write one file for each region and track there")
    _rollouts(commands)
    doctor = _add(commands, "doctor", _deploy_half, "check the way from here to running pods", "monopod doctor --region hk")
    _near_the_cluster(doctor, track="", image="an image whose registry is asked for it, as a deploy does")
    doctor.add_argument("--region", default="", help="one region alone")

    words = "print what a cluster's gateway needs once, for all services"
    gateway = _add(
        commands, "gateway", _deploy_half, words, "monopod gateway --region hk | kubectl --context hk apply -f -", False
    )
    gateway.add_argument("--region", required=True, help="the cluster's region")
    _regions(gateway)
    return parser


def _rollouts(commands: Any) -> None:
    """Add the commands that ask clusters or change them."""
    for name, words, example in (
        ("diff", "show what a deploy would change", "monopod diff --region hk --image registry.example.com/like/demo:4f7cb14"),
        ("deploy", "roll out, region by region", "monopod deploy --image registry.example.com/like/demo:4f7cb14"),
        ("status", "tell what runs where, and what is wrong", "monopod status"),
        ("history", "list the releases of each region", "monopod history --region hk"),
        ("rollback", "return to the last good release", "monopod rollback --region hk"),
        ("stop", "take a track away", "monopod stop --track grey"),
    ):
        parser = _add(commands, name, _deploy_half, words, example)
        image = PUSHED if name in ("diff", "deploy") else ""
        _near_the_cluster(parser, track="" if name in ("status", "history") else "prod", image=image)
        parser.add_argument("--region", default="", help="one region alone (default: every one in which it runs)")
        if name in ("deploy", "rollback", "stop"):
            parser.add_argument("--wait", type=_not_negative, default=0.0, help="seconds to wait for another deploy's end")
            parser.add_argument("--take-over", action="store_true", help="take the name from the project that holds it")
        if name in ("deploy", "rollback"):
            parser.add_argument("--timeout", type=_positive, help="most seconds until one more pod is ready")
        if name == "deploy":
            parser.add_argument("--output", type=Path, metavar="DIR", help="write what is applied there, a file a region")
            why = "deploy outside a region's release windows; the reason is recorded, as --override 'the orders of today fail'"
            parser.add_argument("--override", type=_reason, metavar="WHY", help=why)
        if name == "rollback":
            to = "to the last good release of a version (default: to the one before, where the version deployed last serves)"
            parser.add_argument("--to", default="", metavar="VERSION", help=to)
        if name == "stop":
            parser.add_argument("--timeout", type=_positive, help="most seconds until an object without pods is gone (60)")
            parser.add_argument("--yes", action="store_true", help="needed for the track prod")


def _provider(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--provider", choices=("cpu", "cuda", "tensorrt"), default="", help="where models run (default: value.py's)"
    )


def _conversion_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=Path, required=True, metavar="DIR", help="files such as clients send: pictures, JSON")
    parser.add_argument("--model", default="", metavar="NAME", help="which of the service's models (default: model_path's)")
    parser.add_argument("--fp16", action="store_true", help="an FP16 copy (default: both)")
    parser.add_argument("--int8", action="store_true", help="an INT8 copy (default: both)")
    parser.add_argument("--tolerance", type=_positive, default=0.05, help="most relative difference, mean (default: 0.05)")
    parser.add_argument("--calibration", choices=("auto", "minmax", "percentile", "entropy"), default="auto", help="for INT8")
    parser.add_argument("--route", default="", metavar="PATH", help="send to that route of the service's own, as /query?top=5")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where copies are written (default: beside the model)")


def _load_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="where to send (default: the service's own route on localhost:8080)")
    many: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("--file", "--image", type=Path, **many, help="a picture or video to send; several are sent in turn")
    parser.add_argument(
        "--data", metavar="TEXT|@FILE", **many, help="JSON to send; several are sent in turn (default: the service's example)"
    )
    parser.add_argument("--form", metavar="NAME=TEXT|@FILE", **many, help="a field of a form; all together are one body")
    parser.add_argument("--header", metavar="LINE", **many, help="a header of every request, as 'Name: value'")
    parser.add_argument("--vary", action="store_true", help="make each picture a file that no cache knows")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--concurrency", type=_count, default=8, help="connections, each sends when its answer came (default: 8)")
    how.add_argument("--rate", type=_positive, help="requests a second, due at fixed times whether or not answers come")
    parser.add_argument("--seconds", type=_positive, default=10.0, help="how long to measure (default: 10)")
    parser.add_argument("--warm-up", type=_not_negative, default=1.0, help="seconds of load before that (default: 1)")
    parser.add_argument("--timeout", type=_positive, default=60.0, help="most seconds for one answer (default: 60)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 to 10000")
    return int(text)


def _positive(text: str) -> float:
    return _number(text, "above 0, up to a million", lambda number: number > 0)


def _reason(text: str) -> str:
    reason = " ".join(text.split())
    if not 0 < len(reason) <= 300 or not reason.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no reason: say why in a sentence, of 300 characters at most")
    return reason


def _not_negative(text: str) -> float:
    return _number(text, "from 0 to a million", lambda number: number >= 0)


def _number(text: str, allowed: str, is_allowed: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (is_allowed(number) and number <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number {allowed}")
    return number


def _add(commands: Any, name: str, run: Command, words: str, example: str, service: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words, epilog=f"example: {example}")
    parser.set_defaults(command=run, name=name)
    if service:
        parser.add_argument("--service", type=Path, default=Path(), metavar="DIR", help="the service's folder (default: .)")
    return parser


def _near_the_cluster(parser: argparse.ArgumentParser, track: str | None = None, image: str = UNPUSHED) -> None:
    default = {None: "prod to the terminal, else all", "": "all"}.get(track, track)
    parser.add_argument("--track", choices=("prod", "grey", "ab"), default=track, help=f"one track alone (default: {default})")
    if image:
        parser.add_argument("--image", default="", help=image)
    _regions(parser)


def _regions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--regions", type=Path, metavar="FILE", help="another regions.yaml (default: the platform's)")
    parser.add_argument("--json", action="store_true", help="print JSON")


if __name__ == "__main__":
    sys.exit(main())
