"""The command line: the verbs, their flags, and the module that runs each.

A half is imported only when a verb needs it: the image of a service holds no conf/, and of serving/tools only verify.
"""

import argparse
import gc
import importlib
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_SHARE = 50  # percent: a canary and its baseline have all requests then
MAX_SECONDS_BACK = 3650 * SECONDS["d"]
VERSION = "0.3.0"  # of the platform


class Flag(NamedTuple):
    """A flag of a verb. options: the arguments of argparse's add_argument."""

    names: list[str]
    options: dict[str, Any]


class Verb(NamedTuple):
    """A verb. example: the flags of the call that --help shows. flags: a call gives at most one of those in a tuple."""

    name: str
    help: str
    example: str
    flags: list[Flag | tuple[Flag, ...]]


def _flag(names: str, help: str, **options: Any) -> Flag:
    return Flag(names.split(), {"help": help, **options})


def _switch(name: str, help: str) -> Flag:
    return _flag(name, help, action="store_true")


def _whole(most: int, words: str) -> Callable[[str], int]:
    """Return a parser of whole numbers from 1 to `most`. words: of its error, between the text and the range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not 0 < int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}{words} from 1 to {most}")
        return int(text)

    return parse


def _number(least: float, words: str) -> Callable[[str], float]:
    """Return a parser of numbers from `least` to a million. words: the range, in its error."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= 1_000_000:
            raise argparse.ArgumentTypeError(f"{text!r}: give a number {words}")
        return number

    return parse


def _reason(text: str) -> str:
    reason = " ".join(text.split())
    if not 0 < len(reason) <= 300 or not reason.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a reason: say why in a sentence of at most 300 characters")
    return reason


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from error


def _shares(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    parts = text.split(",")
    shares = tuple(int(part) for part in parts if part.isdecimal() and 0 < int(part) <= MAX_SHARE)
    if len(shares) < len(parts) or list(shares) != sorted(set(shares)):
        raise argparse.ArgumentTypeError(f"{text!r}: give rising whole percentages, at most {MAX_SHARE}, as 5,25,50, or none")
    return shares


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if not number.isascii() or not number.isdecimal() or len(number) > 6 or unit not in SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: give a whole number and s, m, h or d, as 10m")
    if int(number) * SECONDS[unit] > MAX_SECONDS_BACK:
        raise argparse.ArgumentTypeError(f"{text!r} is too long ago: give at most {MAX_SECONDS_BACK // SECONDS['d']}d")
    return float(int(number) * SECONDS[unit])


PORT, COUNT = _whole(65535, " is not a port: give a number"), _whole(10_000, ": give a whole number")
POSITIVE, NOT_NEGATIVE = _number(math.ulp(0.0), "above 0, up to a million"), _number(0.0, "from 0 to a million")
FOLDER: dict[str, Any] = {"type": Path, "metavar": "DIR"}
SEVERAL: dict[str, Any] = {"action": "append", "default": []}
STEPS: dict[str, Any] = {"choices": ("run", "replay", "seek", "table"), "default": "run", "metavar": "STEP"}
INPUTS: dict[str, Any] = {"nargs": "+", "default": [], "dest": "inputs", "metavar": "PATH|SQL"}
TRACKS = ("prod", "grey", "ab")
LEVELS = ("debug", "info", "warning", "error", "critical")

JSON = _switch("--json", "print JSON")
SERVICE = _flag("--service", "the service's folder (default: .)", default=Path(), **FOLDER)
PROVIDER = _flag("--provider", "where models run (default: value.py's)", choices=("cpu", "cuda", "tensorrt"), default="")
VERIFIED_IN = _flag(
    "--timeout", "seconds that the setup, and each model, may take (default: 600)", type=POSITIVE, default=600.0
)
REGION = _flag("--region", "only this region (default: every region in which it runs)", default="")
REGIONS = _flag("--regions", "another regions.yaml (default: the platform's)", type=Path, metavar="FILE")
IN_PROD = _flag("--track", "only this track (default: prod)", choices=TRACKS, default="prod")
IN_ALL = _flag("--track", "only this track (default: all)", choices=TRACKS, default="")
IN_PROD_OR_ALL = _flag("--track", "only this track (default: prod on the terminal, else all)", choices=TRACKS)
UNPUSHED = "the image that runs (default: <registry>/<username>/<service_name>:dev, which stands for an image yet to be pushed)"
UNPUSHED_IMAGE = _flag("--image", UNPUSHED, default="")
PUSHED = "the image to run, which was pushed; its registry is asked for the digest of its tag"
PUSHED_IMAGE = _flag("--image", PUSHED, default="")
ASKED_IMAGE = _flag("--image", "an image for which its registry is asked, as a deploy does", default="")
OVERRIDE = "deploy outside a region's release windows; the reason is recorded, as --override 'the orders of today fail'"
CANARY = "judge it in steps, each a percentage of the requests, or none (without a value: value.py's, else 5,25,50)"
VERSION_BEFORE = "to the last good release of this version (default: the release before, if the last deployed version serves)"

CHECKED = [SERVICE, IN_PROD_OR_ALL, UNPUSHED_IMAGE, REGIONS, JSON]
ON_CLUSTERS = [SERVICE, REGION, REGIONS, JSON]
TAKING = [
    _flag("--wait", "seconds to wait for another deploy to end", type=NOT_NEGATIVE, default=0.0),
    _switch("--take-over", "take the name over from the project that holds it"),
]
CHANGING = [*ON_CLUSTERS, IN_PROD, *TAKING]
POD_TIMEOUT = _flag("--timeout", "seconds within which one more pod must be ready", type=POSITIVE)
SERVE = [
    _flag("--host", "address to listen on (default: every address)", default="0.0.0.0"),
    _flag("--port", "data port (default: 8080)", type=PORT, default=8080),
    _flag("--admin-port", "port of probes and metrics (default: 8081)", type=PORT, default=8081),
]
OFFLINE = [
    Flag(["step"], {"help": "run (default), replay (dead letters), seek, or table (prints its DDL)", "nargs": "?", **STEPS}),
    _flag("--brokers", "addresses of Kafka (default: KAFKA_BROKERS)", default="", metavar="HOST:PORT,..."),
    _flag("--postgresql", "the database of tables (default: POSTGRESQL_URL)", default="", metavar="URL"),
    _flag("--from", "run files, folders, globs or a query instead of the topic", **INPUTS),
    _flag("--to", "a sink instead of offline_sinks; for seek: earliest, latest or a time", metavar="SINK", **SEVERAL),
    _flag("--key", "the query's unique column (default: its first)", default="", metavar="COLUMN"),
    _switch("--again", "begin a backfill anew, whatever its checkpoint says"),
    _flag("--limit", "end after this many records", type=_whole(1_000_000_000, ": give a whole number"), metavar="N"),
    _switch("--dry-run", "print answers; write to no sink, commit nothing"),
    _flag("--admin-port", "port of probes and metrics (default: 8081)", type=PORT, default=8081),
]
OPTIMIZE = [
    PROVIDER,
    _flag("--samples", "files as clients send them, and JSON", required=True, **FOLDER),
    _flag("--model", "which of the service's models (default: model_path's)", default="", metavar="NAME"),
    _switch("--fp16", "only an FP16 copy (default: both)"),
    _switch("--int8", "only an INT8 copy (default: both)"),
    _flag("--tolerance", "largest mean relative difference (default: 0.05)", type=POSITIVE, default=0.05),
    _flag("--calibration", "how INT8 is calibrated", choices=("auto", "minmax", "percentile", "entropy"), default="auto"),
    _flag("--route", "send to this route of the service, as /query?top=5", default="", metavar="PATH"),
    _flag("--output", "where copies are written (default: beside the model)", **FOLDER),
]
BENCH: list[Flag | tuple[Flag, ...]] = [
    _flag("--url", "where to send (default: the service's own route on localhost:8080)"),
    _flag("--file --image", "a file to send, of the type that its name says; several are sent in turn", type=Path, **SEVERAL),
    _flag("--data", "JSON to send; several are sent in turn (default: the service's example)", metavar="TEXT|@FILE", **SEVERAL),
    _flag("--form", "a field of a form; all together are one body", metavar="NAME=TEXT|@FILE", **SEVERAL),
    _flag("--header", "a header of every request, as 'Name: value'", metavar="LINE", **SEVERAL),
    _switch("--vary", "make each picture a file that no cache knows"),
    (
        _flag(
            "--concurrency", "connections, each of which sends once its last answer came (default: 8)", type=COUNT, default=8
        ),
        _flag("--rate", "requests a second, due at fixed times whether or not answers come", type=POSITIVE),
    ),
    _flag("--seconds", "how long to measure (default: 10)", type=POSITIVE, default=10.0),
    _flag("--warm-up", "seconds of load before that (default: 1)", type=NOT_NEGATIVE, default=1.0),
    _flag("--timeout", "seconds within which an answer must come (default: 60)", type=POSITIVE, default=60.0),
]
OTHERS = _flag("--others", "a folder that holds a folder for each other service", **FOLDER)
RENDERED_TO = _flag("--output", "write one file for each region and track there", **FOLDER)
DEPLOY: list[Flag | tuple[Flag, ...]] = [
    PUSHED_IMAGE,
    (
        _flag("--canary", CANARY, type=_shares, nargs="?", const=True, metavar="5,25,50"),
        _flag("--continue", "resume a canary that is held or was interrupted", action="store_true", dest="goes_on"),
    ),
    _flag("--html", "write a page of a canary's verdicts there, with its curves", type=Path, metavar="FILE"),
    POD_TIMEOUT,
    _flag("--output", "write what is applied there, a file for each region", **FOLDER),
    _flag("--override", OVERRIDE, type=_reason, metavar="WHY"),
]
ROLLBACK = [POD_TIMEOUT, _flag("--to", VERSION_BEFORE, default="", metavar="VERSION")]
ONE_POD = _flag("--pod", "this pod alone, with its events", default="", metavar="NAME")
RESTART = [POD_TIMEOUT, _flag("--pod", "evict this pod alone, where a sibling is ready", default="", metavar="NAME")]
STOP = [
    _flag("--timeout", "seconds within which an object without pods must be gone (default: 60)", type=POSITIVE),
    _switch("--yes", "needed for the track prod"),
]
IN_REGION = [_flag("--region", "the cluster's region", required=True), REGIONS, JSON]
CHARTS = ("cluster", "monitoring", "logs")
VALUES = [_flag("--chart", "only this chart (default: all, each under its name)", choices=CHARTS, default="")]
ACCOUNTS = ("deploy", "grey", "ab", "people")
KUBECONFIG = [
    _flag(
        "--for", "whose account: jobs of prod, grey or ab, or people who look", choices=ACCOUNTS, required=True, dest="account"
    ),
    _flag("--hours", "how many hours its token is valid (default: 720)", type=_whole(87_600, ": give hours"), default=720),
]
OBSERVED: list[Flag | tuple[Flag, ...]] = [SERVICE, REGION, REGIONS, IN_ALL, JSON]
REPORT: list[Flag | tuple[Flag, ...]] = [
    *(SERVICE, REGION, REGIONS, IN_PROD, JSON),
    _flag("--days", "how many days, of those that Prometheus keeps (default: 7)", type=_whole(60, ": give days"), default=7),
    _flag("--html", "write a page with pictures there", type=Path, metavar="FILE"),
]
TOP = [
    _switch("--once", "print the table once, as where stdout is not a terminal"),
    _flag("--every", "seconds between two questions (default: 5)", type=_number(2.0, "from 2 to a million"), default=5.0),
]
LOGS: list[Flag | tuple[Flag, ...]] = [
    _flag(
        "--since",
        "how far back, as 30s, 10m, 2h or 1d (default: 10m; with --follow, now; with --previous, all)",
        type=_seconds,
        metavar="TIME",
    ),
    (
        _switch("--follow", "print each line as it comes, of new pods too, until Ctrl-C"),
        _switch("--previous", "lines of the containers before their restart"),
    ),
    _flag("--level", "only lines of this level and above; a text has none", choices=LEVELS, default=""),
    _flag("--grep", "only lines that match, as they are printed for people", type=_expression, metavar="REGEX"),
    _flag("--tail", "only this many of the last lines", type=COUNT, metavar="N"),
]
NEW: list[Flag | tuple[Flag, ...]] = [
    Flag(["service_name"], {"metavar": "NAME", "help": "the service's name"}),
    _flag("--username", "its owner (default: like)", default="like", metavar="USER"),
    (
        _flag("--model", "an ONNX file, which is copied into model/", type=Path, metavar="FILE"),
        _flag("--example", "a folder of examples/, whose files are taken", default="", metavar="EXAMPLE"),
    ),
]
PLATFORM = "the platform's repository (default: PLATFORM_URL, else the remote platform, else origin)"
UPDATE = [
    _flag("--to", "the release (default: the newest one that is not refused)", default="", metavar="TAG"),
    _flag("--from", PLATFORM, default="", dest="url"),
    _switch("--check", "only tell whether a newer release is there, and send that to the webhook"),
]
PUSHED_EXAMPLE = "--image registry.example.com/like/demo:4f7cb14"
GATEWAY_EXAMPLE = "--region hk | kubectl --context hk apply -f -"

VERBS = [
    Verb("new", "make this clone a service of your own", "cats --model ~/cats.onnx", [SERVICE, *NEW]),
    Verb("serve", "serve the model of a service", "--service examples/instance-masks", [SERVICE, *SERVE]),
    Verb(
        "offline", "run the records of a topic or of files through the model", "--limit 10 --dry-run", [SERVICE, *OFFLINE, JSON]
    ),
    Verb("verify", "check that every model is there, is whole, and answers", "", [SERVICE, PROVIDER, VERIFIED_IN, JSON]),
    Verb("optimize", "make FP16 and INT8 copies of a model", "--samples ~/requests --int8", [SERVICE, *OPTIMIZE, JSON]),
    Verb("bench", "measure a running service", "--file cat.jpg --rate 50 --seconds 10", [SERVICE, *BENCH, JSON]),
    Verb("settings", "list the settings of value.py", "", [JSON, _switch("--markdown", "print docs/settings.md")]),
    Verb("metrics", "list the metrics that a pod exports", "", [JSON, _switch("--markdown", "print docs/metrics.md")]),
    Verb("check", "report every mistake, or what runs where and what it costs", "--others ..", [*CHECKED, OTHERS]),
    Verb("render", "print the Kubernetes objects", "--region hk --track grey", [*CHECKED, REGION, RENDERED_TO]),
    Verb("diff", "show what a deploy would change", f"--region hk {PUSHED_EXAMPLE}", [*ON_CLUSTERS, IN_PROD, PUSHED_IMAGE]),
    Verb("deploy", "roll out, region by region", PUSHED_EXAMPLE, [*CHANGING, *DEPLOY]),
    Verb("status", "show what runs where, and what is wrong", "", [*ON_CLUSTERS, IN_ALL, ONE_POD]),
    Verb("top", "show load, latency and limits of all regions and pods, live", "--region hk", [*OBSERVED, *TOP]),
    Verb("health", "judge the same figures once: an exit status, and a line for each reason", "--track prod", OBSERVED),
    Verb("report", "report on the last days: traffic, objectives, cost, what to change", "--days 7 --html week.html", REPORT),
    Verb("logs", "print the lines of all regions' pods, in order of time", "--track grey --since 1h", [*OBSERVED, *LOGS]),
    Verb("history", "list the releases of each region", "--region hk", [*ON_CLUSTERS, IN_ALL]),
    Verb("rollback", "return to the last good release", "--region hk", [*CHANGING, *ROLLBACK]),
    Verb("restart", "replace all pods as a release does, or evict one", "--region hk", [*CHANGING, *RESTART]),
    Verb("stop", "take a track away", "--track grey", [*CHANGING, *STOP]),
    Verb("update", "bring this branch to a release of the platform", "--to v0.4", [*UPDATE, JSON]),
    Verb("forks", "list which service runs on which release of the platform", "--region hk", [REGION, REGIONS, JSON]),
    Verb("doctor", "check each step from here to running pods", "--region hk", [*ON_CLUSTERS, IN_ALL, ASKED_IMAGE]),
    Verb("values", "print the values of charts/ for a region", "--region hk --chart cluster", [*IN_REGION, *VALUES]),
    Verb("kubeconfig", "print a kubeconfig of an account", "--region hk --for deploy", [*IN_REGION, *KUBECONFIG]),
    Verb("gateway", "print what a cluster's gateway needs once, for all services", GATEWAY_EXAMPLE, [*IN_REGION]),
]
MODULES = {  # that hold <verb>_command; of all other verbs it is conf.commands.<verb>_command
    "offline": "serving.offline.offline_command",
    "new": "serving.tools.new",
    "verify": "serving.tools.verify",
    "optimize": "serving.tools.optimize.optimize_command",
    "bench": "serving.tools.bench.bench_command",
    "update": "ci.update",
    "values": "conf.commands.cluster_setup_command",
    "gateway": "conf.commands.cluster_setup_command",
    "settings": "conf.commands.reference_command",
    "metrics": "conf.commands.reference_command",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit status. An error becomes one sentence on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.name in ("serve", "offline"):
            _leave_threads_to_requests()
        status = _serve(arguments) if arguments.name == "serve" else _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("MONOPOD_DEBUG"):
            raise
        print(f"monopod: {_sentence(error)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="monopod", description="One model, one process, one GPU, one pod.")
    parser.add_argument("--version", action="version", version=f"monopod {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="name")
    for verb in VERBS:
        example = f"example: monopod {verb.name} {verb.example}".rstrip()
        added = commands.add_parser(verb.name, help=verb.help, description=verb.help, epilog=example)
        for item in verb.flags:
            flags, group = ([item], added) if isinstance(item, Flag) else (item, added.add_mutually_exclusive_group())
            for flag in flags:
                group.add_argument(*flag.names, **flag.options)
    return parser


def _leave_threads_to_requests() -> None:
    # Requests run side by side: a numpy that starts a thread for each of the node's cores would only get in their way.
    for library in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(library, "1")


def _serve(arguments: argparse.Namespace) -> int:
    from serving.main import serve

    return serve(arguments.service.resolve(), arguments.port, arguments.admin_port, arguments.host, VERSION)


def _run(arguments: argparse.Namespace) -> int:
    arguments.platform = VERSION
    name = f"{arguments.name}_command"
    gc.disable()  # what is imported stays: to look for garbage in it takes a tenth of a short command's time
    module = importlib.import_module(MODULES.get(arguments.name, f"conf.commands.{name}"))
    gc.enable()
    command: Callable[[argparse.Namespace], int] = getattr(module, name)
    return command(arguments)


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        root = Path(__file__).resolve().parents[1]
        if not (root / "conf").is_dir():
            return f"the image of a service holds no {error.name}: run this command in a clone of the service's repository"
        install = f"{sys.executable} -m pip install -c requirements.lock -e '.[runtime,cpu,tools,check,deploy]'"
        return f"{error.name} is not installed here; run `{install}` once, in {root}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    words = str(error) or type(error).__name__
    return f"unexpected: {words} ({type(error).__name__}); MONOPOD_DEBUG=1 shows where, please report it"


if __name__ == "__main__":
    sys.exit(main())
