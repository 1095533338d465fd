"""A real Prometheus of a test, on a port of this machine. It scrapes services under test, or holds a history of promtool."""

import json
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.prerequisites import program
from tests.running import free_port, get
from tests.waiting import until

Target = tuple[int, Mapping[str, str]]  # a port of this machine, and the labels that a ServiceMonitor would add


@contextmanager
def prometheus(folder: Path, targets: Sequence[Target] = (), *, every: str = "1s") -> Iterator[str]:
    """Run a Prometheus for the length of a block, and yield its address. folder: with its data in `data` and its rules
    in files *.rules, if there are any."""
    port = free_port()
    jobs = [{"targets": [f"127.0.0.1:{admin}"], "labels": dict(labels)} for admin, labels in targets]
    config: dict[str, Any] = {
        "global": {"scrape_interval": every},
        "scrape_configs": [{"job_name": "pods", "static_configs": jobs}],
    }
    config["rule_files"] = [str(folder / "*.rules")]
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    command = [program("prometheus", "prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    command += ["--storage.tsdb.retention.time=60d", "--web.enable-lifecycle"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            return get(f"{url}/-/ready")[0] == 200
        except OSError:
            return False

    try:
        until(answers, pause=0.1)
        yield url
    finally:
        process.kill()
        process.wait(30)


def fill(folder: Path, series: Mapping[str, tuple[str, Sequence[float | None]]], step: float = 60.0) -> float:
    """Write a history into a folder's `data`, and return the time of its last sample, which is now.

    series: name and labels, as m{a="b"}, to the metric's type and its values, `step` seconds apart. None is a missing one.
    """
    end = float(int(time.time()))
    lines: list[str] = []
    told = set[str]()
    for name, (kind, values) in sorted(series.items()):
        family = name.partition("{")[0]
        suffix = {"counter": "_total$", "histogram": "_(bucket|sum|count)$"}.get(kind, "$")
        base = re.sub(suffix, "", family)
        if base not in told:
            told.add(base)
            lines.append(f"# TYPE {base} {kind}")
        start = end - step * (len(values) - 1)
        lines += [f"{name} {value} {start + step * number}" for number, value in enumerate(values) if value is not None]
    blocks(folder, [*lines, "# EOF"])
    return end


def blocks(folder: Path, lines: Iterable[str]) -> None:
    """Write lines of OpenMetrics into a folder's `data`."""
    file = folder / "history.om"
    file.write_text("\n".join([*lines, ""]))
    command = [program("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics"]
    command += ["--max-block-duration=256h", str(file), str(folder / "data")]  # few blocks: one for 2 hours would take seconds
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
