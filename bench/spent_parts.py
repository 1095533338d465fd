"""From samples of call stacks to the parts of the server that they were taken in. Pure functions."""

import re
from collections import Counter
from collections.abc import Iterable

# The first part that fits the innermost frame of the server, or of a library that it answers by.
# Older states of this project have the modules front/exchange.py and base/jsons.py.
PARTS = (
    ("connections and framing", r"serving/web/front/(?!request_cycle|exchange)|waitress/|uvloop/"),
    ("Flask", r"flask/|werkzeug/|serving/web/app"),
    ("codec", r"serving/inputs/|serving/base/jsons?(_codec)?\.py"),
    ("metrics and logs", r"serving/telemetry/|logging/|prometheus_client/"),
    ("the model", r"serving/models/engine"),
    ("batches", r"serving/models/"),
    ("the lane", r"serving/web/lane"),
    ("admission, routes and stages", r"serving/(web|core|service)/|serving/base/"),
    ("hand-overs between threads", r"concurrent/|threading\.py|queue\.py"),
)
REST = "the loop and all else"
FRAME = re.compile(r"\(([^()]*):\d+\)$")


def part_of(stack: str) -> str:
    """Return the part in which a stack was sampled. stack: frames from the outermost on, each `name (file:line)`."""
    for frame in reversed(stack.split(";")):
        found = FRAME.search(frame)
        if found:
            for part, files in PARTS:
                if re.search(files, found[1]):
                    return part
    return REST


def shares(lines: Iterable[str]) -> dict[str, float]:
    """Return each part's share of the samples. lines: a stack and the number of its samples each."""
    counts: Counter[str] = Counter()
    for line in lines:
        stack, _, number = line.rpartition(" ")
        counts[part_of(stack)] += int(number)
    total = sum(counts.values())
    return {part: counts[part] / total for part in (*(name for name, _ in PARTS), REST)} if total else {}
