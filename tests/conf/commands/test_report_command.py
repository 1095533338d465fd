"""`monopod report` over nine days that a real Prometheus holds: what it finds, what it advises, and its page."""

import contextlib
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import monopod
from conf.commands.canary import write_page
from conf.commands.charts import axis_top
from conf.commands.report_command import release_words
from conf.observe.prometheus import Series
from conf.observe.service_report import first_seen, full_batches
from conf.rollout.history import Release
from tests.browser import browser
from tests.conf.commands.test_canary import journal
from tests.conf.observe import histories
from tests.conf.observe.folders import write_regions, write_value
from tests.conf.observe.prometheus_server import fill, prometheus

# The words that reach out of their picture, by a pixel at least.
OUTSIDE = """() => [...document.querySelectorAll('svg text')].filter(text => {
  const [inner, outer] = [text.getBoundingClientRect(), text.closest('svg').getBoundingClientRect()]
  return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.top < outer.top - 1 ||
    inner.bottom > outer.bottom + 1
}).map(text => text.textContent)"""
SETTINGS = {"memory": "1Gi", "objective_latency_ms": 1000, "cpu": 1}


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("history")
    fill(folder, histories.history(), histories.STEP)
    with prometheus(folder) as url:
        yield url


def report(folder: Path, url: str, *words: str, status: int = 0, **settings: Any) -> str:
    service = write_value(folder / "service", **{**SETTINGS, **settings})
    regions = write_regions(folder, {"hk": url})
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert monopod.main(["report", "--service", str(service), "--regions", str(regions), *words]) == status
    return out.getvalue() + err.getvalue()


def test_a_report_tells_what_the_days_were_like_and_what_to_change(keeping: str, tmp_path: Path) -> None:
    (found,) = json.loads(report(tmp_path, keeping, "--json"))
    assert len(found["hours"]) == 168
    total = {name: sum(hour[name] for hour in found["hours"]) for name in ("requests", "failed", "refused")}
    assert total["requests"] == pytest.approx(168 * 900 + 450 + 300, rel=0.01)
    assert total["failed"] == pytest.approx(450, rel=0.02)
    success, latency = found["objectives"]
    assert success["found"] == pytest.approx(1 - 450 / (168 * 900 + 450), abs=1e-4)
    assert latency["found"] == pytest.approx(1 - 600 / (168 * 900), abs=1e-4)
    assert found["refusals"] == {"queue_full": pytest.approx(300, rel=0.02)}
    assert (found["currency"], found["price"]) == ("CNY", 73)
    assert found["cost"] == pytest.approx(73 * 168 / 730, rel=0.02)
    assert found["full_batches"] == pytest.approx(0.7, abs=0.01)
    assert [each["version"] for each in found["releases"]] == ["<b>new</b>"]
    ago = time.time() - found["releases"][0]["at"]
    assert 70 * 3600 < ago < 74 * 3600
    slowest = max(found["hours"], key=lambda hour: hour["p95"])
    assert 48 * 3600 < time.time() - slowest["at"] < 52 * 3600
    assert slowest["p95"] > 1
    memory, replicas, batches = found["advice"]
    assert memory.startswith('less memory: memory = "320Mi", since')
    assert "0.195 GiB of 1Gi" in memory
    assert replicas.startswith("more replicas: replicas = 2")
    assert batches.startswith("larger batches: max_batch_size = 16")


def test_answers_of_pods_without_the_bound_of_the_objective_are_not_counted(keeping: str, tmp_path: Path) -> None:
    (found,) = json.loads(report(tmp_path, keeping, "--json"))
    assert sum(hour["answers"] for hour in found["hours"]) == pytest.approx(168 * 900, rel=0.01)
    assert found["objectives"][1]["found"] > 0.99


def test_the_text_says_which_objective_was_missed(keeping: str, tmp_path: Path) -> None:
    told = report(tmp_path, keeping)
    assert re.search(r"MISSED: 99.9 % .* found 99.7 %, 29\d %", told)
    assert re.search(r"kept: 99 % .* found 99.6 %, \d+ %", told)
    assert "peak 0.195 GiB of 1 GiB declared, 20 %" in told
    assert re.search(r"CNY 17 in 168 hours: 1 ready pod", told)


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def test_the_page_stands_alone_has_pictures_and_escapes_what_others_wrote(keeping: str, tmp_path: Path) -> None:
    file = tmp_path / "week.html"
    assert report(tmp_path, keeping, "--html", str(file)) == ""
    text = file.read_text()
    tags = Tags()
    tags.feed(text)
    names = [tag for tag, _ in tags.found]
    assert not {"script", "link", "img", "iframe", "b"} & set(names)
    assert not [1 for _, attributes in tags.found for name in attributes if name in ("src", "href") or name.startswith("on")]
    assert "&lt;b&gt;new&lt;/b&gt;" in text
    pictures = [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(pictures) == 4
    bars = pictures[0].findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 168
    assert all(0 <= float(bar.attrib["height"]) <= 150 and 70 <= float(bar.attrib["x"]) <= 760 for bar in bars)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_region_without_figures_is_named_and_its_status_tells(keeping: str, tmp_path: Path) -> None:
    told = report(tmp_path, "http://127.0.0.1:1", status=42)
    assert "hk, prod\n  No figures\n    http://127.0.0.1:1" in told


def test_a_page_that_cannot_be_written_is_a_mistake(keeping: str, tmp_path: Path) -> None:
    told = report(tmp_path, keeping, "--html", str(tmp_path / "no" / "week.html"), status=1)
    assert re.fullmatch(r"--html \S+/no/week.html: No such file .*\n", told)


def test_the_report_of_a_service_that_reads_records_alone_is_about_its_records(tmp_path: Path) -> None:
    reads: dict[str, Any] = {"replicas": 0, "offline_source": "kafka:videos", "offline_sinks": ["kafka:ages"]}
    fill(tmp_path, histories.offline_history(), histories.STEP)
    with prometheus(tmp_path) as url:
        told = report(tmp_path, url, **reads)
        report(tmp_path, url, "--html", str(tmp_path / "week.html"), **reads)
    assert told.startswith("hk, prod offline\n  Records\n    ")
    assert re.search(r"15\d,\d{3} records in 168 hours, since ", told)
    assert "at most 7,000 records waited" in told
    assert re.search(r"Dead letters\n    4[45]\d bad_input\n", told)
    assert re.search(r"CNY 17 in 168 hours: 1 ready pod", told)
    assert 'less memory: memory = "320Mi"' in told
    assert not re.search(
        "more replicas|Objectives|Refusals|Slowest|Traffic", told
    )  # though the pod uses nearly all of its core
    assert len(re.findall(r"<svg", (tmp_path / "week.html").read_text())) == 4


def test_requests_that_a_canary_and_its_baseline_answered_count_and_those_of_a_neighbour_do_not(tmp_path: Path) -> None:
    values = dict(histories.history())
    for name in ("small-canary", "small-baseline", "small-canary-2"):
        values |= {key.replace('service="small"', f'service="{name}"'): each for key, each in histories.history().items()}
    fill(tmp_path, values, histories.STEP)
    with prometheus(tmp_path) as url:
        (found,) = json.loads(report(tmp_path, url, "--json"))
    assert sum(hour["requests"] for hour in found["hours"]) == pytest.approx(3 * (168 * 900 + 450 + 300), rel=0.01)
    assert found["cost"] == pytest.approx(3 * 73 * 168 / 730, rel=0.02)
    assert found["refusals"] == {"queue_full": pytest.approx(3 * 300, rel=0.02)}


def hour_of_requests() -> dict[str, histories.Metric]:
    """Return an hour of requests, scraped each 15 s, at the end of three days in which the pod had none."""
    labels, idle, hour = histories.LABELS, 3 * 24 * 240, 240
    growing = [15.0 * (25 + number % 40) * number for number in range(hour)]
    missing: list[float | None] = [None] * idle
    answers = f'monopod_answer_duration_seconds_bucket{{{labels},route="service"'
    return {
        f'monopod_requests_total{{{labels},route="service",code="200",reason=""}}': ("counter", [*missing, *sorted(growing)]),
        f'{answers},le="0.1"}}': ("histogram", [*missing, *sorted(growing)]),
        f'{answers},le="+Inf"}}': ("histogram", [*missing, *sorted(growing)]),
        f"monopod_ready{{{labels}}}": ("gauge", [1.0] * (idle + hour)),
        f"process_resident_memory_bytes{{{labels}}}": ("gauge", [histories.MEMORY] * (idle + hour)),
        f'monopod_price_per_month{{{labels},currency="USD"}}': ("gauge", [0.0] * (idle + hour)),
    }


def test_pictures_of_an_hour_of_requests_have_a_step_of_a_minute_and_begin_with_it(tmp_path: Path) -> None:
    fill(tmp_path, hour_of_requests(), 15.0)
    with prometheus(tmp_path) as url:
        report(tmp_path, url, "--html", str(tmp_path / "week.html"))
        told = report(tmp_path, url)
    text = (tmp_path / "week.html").read_text()
    assert "Requests in 1 minute" in text
    traffic = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", text, re.DOTALL)[0])
    bars = traffic.findall("{http://www.w3.org/2000/svg}rect")
    assert 58 <= len(bars) <= 61
    assert float(bars[0].attrib["x"]) < 90
    count, since, ended = re.findall(r"in (\d+) hours, since (.*) UTC\n.* hour ended (.*) UTC", told)[0]
    assert datetime.fromisoformat(ended) - datetime.fromisoformat(since) == timedelta(hours=int(count))
    assert "have the price 0" in told


def test_a_release_is_told_with_its_deployer_state_and_note() -> None:
    release = Release(7, "2", "like/small:2", "2026-01-01T00:00:00Z", "ann", "good")
    told = [release_words(each) for each in (release, replace(release, note="rolled back from 4 to 2"))]
    assert told == ["by ann, good", "by ann, good, rolled back from 4 to 2"]


def test_every_word_of_a_picture_is_inside_of_it(keeping: str, tmp_path: Path) -> None:
    report(tmp_path, keeping, "--html", str(tmp_path / "week.html"))
    write_page(tmp_path / "verdict.html", "cats", [journal()], [])
    with browser() as chromium:
        page = chromium.new_page()
        for file in ("week.html", "verdict.html"):
            page.goto(f"file://{tmp_path / file}")
            assert page.evaluate(OUTSIDE) == []


def test_the_top_of_an_axis_is_a_round_number() -> None:
    assert [axis_top(each) for each in (0.0, 1.0, 3.0, 0.07, 4100.0, 10.0)] == pytest.approx([1, 1, 4, 0.08, 6000, 10])
    assert axis_top(0.7 * 2.0**30, 2.0**30) == 0.8 * 2.0**30


def test_few_hours_give_no_advice(tmp_path: Path) -> None:
    values = histories.history()
    fill(tmp_path, {name: (kind, each[-45:]) for name, (kind, each) in values.items()}, histories.STEP)
    with prometheus(tmp_path) as url:
        (found,) = json.loads(report(tmp_path, url, "--json"))
    assert len(found["advice"]) == 1
    assert re.match(r"nothing yet: \d hours", found["advice"][0])


def test_a_version_that_ran_before_the_first_hour_is_no_release() -> None:
    seen = [Series({"version": "1"}, ((0.0, 1.0),)), Series({"version": "2"}, ((7200.0, 1.0),)), Series({"version": "3"}, ())]
    assert [each.version for each in first_seen(seen, 0.0)] == ["2"]


def test_batches_are_full_from_half_of_the_size_on() -> None:
    buckets = {"1.0": 10.0, "4.0": 30.0, "8.0": 100.0, "+Inf": 100.0}
    assert full_batches(buckets, 8) == 0.7
    assert full_batches(buckets, 1) is None
    assert full_batches({}, 8) is None
