"""`python -m bench.losses` counts requests that are lost while a service is rolled out, and its pods deleted, repeatedly.

An open loop sends through the gateway at a quarter of what the node holds. Figures go to docs/reliability.md. Fails where a
single request failed. Needs KUBECONFIG, a registry and a gateway, like the tests whose parts it uses.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import machine
from bench.report import table
from bench.sections import PAGE, page, with_section
from bench.served import BenchError
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.images import SERVING, pushed, remove_local
from tests.conf.rollout.load import loaded, quarter
from tests.conf.rollout.ready_pods import delete_a_pod
from tests.conf.rollout.service_state import url

CONTEXT, USER = "hk", "losses"
TIMES = 100
PODS = 2
MAKER = "make soak"
TEXT = """## Nothing is lost while pods come and go

{machine}

digits.onnx runs in {pods} pods behind Envoy on one real node. An open loop sends {rate:.0f} requests a second, each due
at its own time whether or not answers come. That is a quarter of what the node answers with 16 requests in flight. The loop
runs through both of these:

- whole releases by `monopod deploy`, which replace both pods;
- the deletion of one pod after another, as `kubectl delete pod` does it, while two are ready.

A request is lost that got another answer than 200, got no answer, or was not sent. New pods, Envoy, Kubernetes and the
generator share these {machine.cores} cores. A pod that starts takes one of them, and the largest latencies show that.

"""
HEAD = ["what", "times", "seconds each, median", "requests", "lost", "p50, ms", "p99, ms", "most, ms"]


@dataclass(frozen=True)
class Row:
    """An action repeated under load. seconds: of each time. figures: as in `monopod bench --json`."""

    what: str
    seconds: tuple[float, ...]
    figures: dict[str, Any]
    lost: tuple[str, ...]

    @property
    def cells(self) -> list[str]:
        ms = self.figures["ms"]
        failed = self.figures["requests"] - self.figures["good"] + self.figures["not_sent"]
        latencies = [f"{ms[name]:.1f}" for name in ("p50", "p99", "max")]
        median = f"{statistics.median(self.seconds):.1f}"
        return [self.what, str(len(self.seconds)), median, str(self.figures["requests"]), f"**{failed}**", *latencies]


def main() -> int:
    """Return 0 when nothing was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.losses", description=__doc__, epilog="example: python -m bench.losses --times 5"
    )
    parser.add_argument("--times", type=int, help=f"of each (default: {TIMES})")
    times = parser.parse_args().times
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes background jobs ignore it
    try:
        here = machine.here()
        rate, rows = measure(times or TIMES)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    made = TEXT.format(machine=here, pods=PODS, rate=rate) + table(HEAD, [row.cells for row in rows])
    if times:
        print(made)  # a trial is not for the docs
    else:
        PAGE.write_text(with_section(page(), made, MAKER), encoding="utf-8")
    for row in rows:
        print(f"{row.what}: {'; '.join(row.lost) or 'nothing was lost'}")
    return 1 if any(row.lost for row in rows) else 0


def measure(times: int) -> tuple[float, list[Row]]:
    """Return the rate in requests a second, and a row for each action. Raises BenchError where KUBECONFIG is not set."""
    if not os.environ.get("KUBECONFIG"):
        raise BenchError("KUBECONFIG is not set: it names the Kubernetes cluster of this run (context hk)")
    if pushed():
        remove_local()
    cluster = Cluster(CONTEXT)
    with cluster.own_namespaces(USER), tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder) / "service", USER, {CONTEXT: CONTEXT})
        checkout.write_value(replicas=PODS)
        checkout.run("deploy", tag=SERVING[0])
        rate = quarter(url(checkout))
        tags = [SERVING[(number + 1) % len(SERVING)] for number in range(times)]
        deploys = [partial(checkout.run, "deploy", tag=tag) for tag in tags]
        return rate, [
            again("releases", deploys, url(checkout), rate),
            again("deleted pods", [partial(delete_a_pod, cluster, checkout)] * times, url(checkout), rate),
        ]


def again(what: str, acts: Sequence[Callable[[], object]], where: str, rate: float) -> Row:
    """Do actions one after another under load, and return their row."""
    seconds = []
    with loaded(where, rate) as load:
        for number, act in enumerate(acts, 1):
            begin = time.monotonic()
            act()
            seconds.append(time.monotonic() - begin)
            print(f"{time.strftime('%H:%M:%S')} {what}: {number} of {len(acts)}", flush=True)
    return Row(what, tuple(seconds), load.figures, tuple(load.lost()))


if __name__ == "__main__":
    sys.exit(main())
