"""`python -m bench.offline`: measure `monopod offline` from Kafka to Kafka, and write that to docs/offline.md."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version

from bench import machine, process, served, work
from bench.offline import report, runs, topics
from bench.offline.report import Figures, Round, Work
from bench.sections import OFFLINE, page, with_section
from bench.served import BenchError

MAKER = "make bench-offline"
RECORDS = {"image": 4000, "digits-json": 150_000}  # more than any side answers while it is measured
# Of the rate that was found, for the minutes in which memory is looked at. A process that falls behind meanwhile, since the
# writer of records takes its cores, fills its windows, and that would be taken for growth.
SHARE = 0.6
BEFORE, AFTER = 10.0, 75.0  # seconds around the end of an owner
SAMPLE_SECONDS = 0.5


def main() -> int:
    """Return 0 when all was measured, whether or not every target is met: figures are for people to judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.offline", description="`monopod offline` from Kafka to Kafka.")
    parser.add_argument("--quick", action="store_true", help="two minutes, for trying out: prints, and writes nothing")
    parser.add_argument("--brokers", default=os.environ.get("KAFKA_BROKERS", ""), help="host:port (default: KAFKA_BROKERS)")
    arguments = parser.parse_args()
    if not arguments.brokers:
        print("no broker: give --brokers host:port, or set KAFKA_BROKERS", file=sys.stderr)
        return 1
    try:
        with_section(page(OFFLINE), "", MAKER, OFFLINE)  # a mistake in the page should be found before the measurement
        text = report.section(found := measure(arguments.brokers, arguments.quick))
    except (BenchError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if arguments.quick:
        print(text)
    else:
        OFFLINE.write_text(with_section(page(OFFLINE), text, MAKER, OFFLINE), encoding="utf-8")
    for about, wanted, value, met in report.verdicts(found):
        print(f"{'met   ' if met else 'MISSED'}  {about}: {value} ({wanted})")
    return 0


def measure(brokers: str, quick: bool) -> Figures:
    """Measure one part after the other; nothing else of ours runs meanwhile."""
    here = machine.here()
    here = replace(here, versions=f"{here.versions}, confluent-kafka {version('confluent-kafka')}")
    rounds, seconds = (1, 4.0) if quick else (5, 8.0)
    image = rates(brokers, work.image(), work.image().body, rounds, seconds)
    value = json.dumps({"data": [[[[0.5] * 8] * 8]]}).encode()
    digits = rates(brokers, work.digits_json(), value, rounds, seconds)
    ends = {"was told to end (SIGTERM)": signal.SIGTERM, "was killed (SIGKILL)": signal.SIGKILL}
    gaps = {how: gap(brokers, number, 15.0 if quick and number == signal.SIGTERM else AFTER) for how, number in ends.items()}
    minutes = 30.0 if quick else 600.0
    rate = SHARE * statistics.median(one.offline for one in image.rounds)
    return Figures(here, image, digits, gaps, minutes, memory(brokers, rate, minutes))


def say(part: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {part} ...", flush=True)


def rates(brokers: str, kind: work.Work, value: bytes, rounds: int, seconds: float) -> Work:
    """Return the rates of the three sides with one kind of record."""
    found = []
    with topics.topics(brokers, "source", "answers") as (source, sink), served.bare(kind) as bare:
        topics.fill(brokers, source, value, RECORDS[kind.name])
        for number in range(rounds):
            say(f"{kind.name}, round {number + 1} of {rounds}")
            bare_rate, _ = bare.run(seconds / 2)
            with runs.offline(brokers, kind.folder, source, sink):
                offline = runs.rate(brokers, sink, 1.0, seconds)
            with runs.plain(brokers, kind.folder, source, sink):
                plain = runs.rate(brokers, sink, 1.0, seconds)
            found.append(Round(bare_rate, offline, plain))
    about = kind.about if kind.hooks else "one row of digits.onnx as JSON"
    return Work(about, found)


def gap(brokers: str, number: signal.Signals, after: float) -> float:
    """End one of two owners by a signal, and return the longest time without an answer of a partition, in seconds."""
    say(f"one of two owners gets {number.name}")
    kind = work.image()
    with topics.topics(brokers, "source", "answers") as (source, sink), topics.Stream(brokers, source, kind.body, 20):
        with (
            runs.offline(brokers, kind.folder, source, sink, group := f"{source}-group") as first,
            runs.offline(brokers, kind.folder, source, sink, group),
        ):
            time.sleep(BEFORE)
            first.send_signal(number)
            ended = time.time()
            time.sleep(after)
        times = topics.answer_times(brokers, sink)
    near = ([one for one in each if one > ended - 2] for each in times.values())
    return max(later - earlier for each in near for earlier, later in zip(each, each[1:], strict=False))


def memory(brokers: str, rate: float, seconds: float) -> list[float]:
    """Return the median of the MB that the process holds, for each quarter of a run."""
    say(f"memory over {seconds:g} s at {rate:.0f} records/s")
    kind, samples = work.image(), list[float]()
    with (
        topics.topics(brokers, "source", "answers") as (source, sink),
        topics.Stream(brokers, source, kind.body, rate),
        runs.offline(brokers, kind.folder, source, sink) as offline,
    ):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            samples.append(process.resident(offline.pid))
            time.sleep(SAMPLE_SECONDS)
    quarter = len(samples) // 4
    return [statistics.median(samples[each * quarter : (each + 1) * quarter]) for each in range(4)]


if __name__ == "__main__":
    sys.exit(main())
