"""The metrics page, as Prometheus and its own tools read it."""

import subprocess
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.base.errors import StartError
from serving.settings.exported_metrics import METRICS, SCRAPE_LABELS, STAGES
from serving.telemetry.metrics import Metrics
from tests.serving.stage_begins import begins_of


def busy() -> Metrics:
    """Return metrics on which everything was counted at least once."""
    metrics = Metrics()
    metrics.model_loaded("demo", "cpu", 2, 1, {1: 0.01, 4: 0.03})
    metrics.request("/api/demo", 200, "", 0.02, 0.01, 5000, 70)
    metrics.request("/api/demo", 200, "", 0.2)
    metrics.request("/api/demo", 429, "queue_full", 0.001)
    metrics.shed("queue_full")
    metrics.batch("demo", 3, 0.02)
    metrics.batch_failed("demo")
    metrics.show("monopod_queue_rows", lambda: {("demo",): 5, ("other",): 0})
    metrics.show("monopod_ready", lambda: {(): 1})
    metrics.stages(begins_of(**dict.fromkeys(STAGES, 0.01)))
    metrics.counter("faces_total", "Faces found.", ("size",)).labels('large "quoted"\n\\').inc()
    metrics.gauge("index_rows", "Rows of the index.").set(7)
    metrics.histogram("face_pixels", "Pixels of a face.", buckets=(10, 100)).observe(50)
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


@pytest.mark.parametrize("metrics", [Metrics(), busy()], ids=["empty", "busy"])
def test_the_page_passes_promtool(needs: Callable[[str, str], str], metrics: Metrics) -> None:
    promtool = needs("promtool", "prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=metrics.page(), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.decode() + done.stderr.decode()) == (0, "")


def test_the_page_parses_and_holds_what_was_counted() -> None:
    metrics = busy()
    assert value(metrics, "monopod_requests_total", route="/api/demo", code="200", reason="") == 2
    assert value(metrics, "monopod_requests_total", route="/api/demo", code="429", reason="queue_full") == 1
    assert value(metrics, "monopod_request_duration_seconds_count", route="/api/demo") == 3
    assert value(metrics, "monopod_request_size_bytes_sum", route="/api/demo") == 5000
    assert value(metrics, "monopod_response_size_bytes_bucket", route="/api/demo", le="256.0") == 1
    assert value(metrics, "monopod_answer_duration_seconds_count", route="/api/demo") == 1
    assert value(metrics, "monopod_shed_total", reason="queue_full") == 1
    assert value(metrics, "monopod_batch_rows_sum", model="demo") == 3
    assert value(metrics, "monopod_batch_rows_bucket", model="demo", le="4.0") == 1
    assert value(metrics, "monopod_batch_duration_seconds_sum", model="demo") == 0.02
    assert value(metrics, "monopod_batch_failures_total", model="demo") == 1
    assert value(metrics, "monopod_model_info", model="demo", provider="cpu", instances="2", threads="1") == 1
    assert value(metrics, "monopod_warmup_seconds", model="demo", rows="4") == 0.03
    assert value(metrics, "monopod_queue_rows", model="demo") == 5
    assert value(metrics, "monopod_ready") == 1
    assert value(metrics, "faces_total", size='large "quoted"\n\\') == 1
    assert value(metrics, "index_rows") == 7
    assert all(value(metrics, "monopod_stage_duration_seconds_count", stage=stage) == 1 for stage in STAGES)


def test_a_loaded_model_has_no_failed_batches_yet() -> None:
    metrics = Metrics()
    metrics.model_loaded("demo", "cpu", 1, 1, {})
    assert value(metrics, "monopod_batch_failures_total", model="demo") == 0


def test_every_metric_of_the_platform_is_described_as_in_its_list() -> None:
    own = {"faces", "index_rows", "face_pixels"}
    for family in text_string_to_metric_families(busy().page().decode()):
        if family.name not in own:
            metric = METRICS[family.name + "_total" * (family.type == "counter")]
            assert family.type == metric.type
            assert family.name.startswith("process_") or family.documentation == metric.about


def test_every_stage_is_there_before_the_first_request() -> None:
    metrics = Metrics()
    assert all(value(metrics, "monopod_stage_duration_seconds_count", stage=stage) == 0 for stage in STAGES)


def test_a_series_that_is_expected_stands_at_0_and_is_no_code_that_there_was() -> None:
    metrics = Metrics()
    metrics.expect("service", [(200, ""), (500, "service_failed")])
    metrics.expect_shed(["queue_full"])
    assert value(metrics, "monopod_requests_total", route="service", code="500", reason="service_failed") == 0
    assert value(metrics, "monopod_request_duration_seconds_count", route="service") == 0
    assert value(metrics, "monopod_shed_total", reason="queue_full") == 0
    assert metrics.codes() == {}
    metrics.request("service", 500, "service_failed", 0.1)
    assert value(metrics, "monopod_requests_total", route="service", code="500", reason="service_failed") == 1
    assert metrics.codes() == {"500": 1}
    assert metrics.recent("service")["requests"] == 1


def test_no_series_tells_when_another_was_made() -> None:
    assert not [name for name, _ in samples(busy()) if name.endswith("_created")]


def test_an_unloaded_model_is_no_longer_told() -> None:
    metrics = busy()
    metrics.model_loaded("other", "cpu", 1, 1, {})
    metrics.model_unloaded("demo")
    metrics.model_unloaded("never loaded")
    assert value(metrics, "monopod_model_info", model="demo", provider="cpu", instances="2", threads="1") is None
    assert value(metrics, "monopod_model_info", model="other", provider="cpu", instances="1", threads="1") == 1
    metrics.model_loaded("demo", "cpu", 2, 1, {1: 0.02})
    assert value(metrics, "monopod_model_info", model="demo", provider="cpu", instances="2", threads="1") == 1
    assert value(metrics, "monopod_warmup_seconds", model="demo", rows="1") == 0.02


def test_codes_are_counted_over_all_routes() -> None:
    metrics = busy()
    metrics.request("/v2", 200, "", 0.1)
    assert metrics.codes() == {"200": 3, "429": 1}
    assert Metrics().codes() == {}


def test_the_process_itself_is_told() -> None:
    assert (value(Metrics(), "process_resident_memory_bytes") or 0) > 10_000_000


def test_one_process_may_hold_several_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.shed("queue_full")
    assert value(other, "monopod_shed_total", reason="queue_full") is None


def test_two_metrics_of_one_name_are_refused() -> None:
    metrics = Metrics()
    metrics.gauge("index_rows", "Rows.")
    with pytest.raises(ValueError, match="index_rows"):
        metrics.counter("index_rows", "Rows.")


@pytest.mark.parametrize("label", SCRAPE_LABELS)
def test_a_label_that_a_scrape_would_rename_is_refused(label: str) -> None:
    with pytest.raises(
        StartError, match=f"(?s)'faces_total'.*'{label}'.*exported_{label}; give it another name, such as of_{label}"
    ):
        Metrics().counter("faces_total", "Faces found.", ("size", label))


@pytest.mark.parametrize("name", ["monopod_faces_total", "process_faces", "monopod_ready"])
def test_a_name_that_begins_like_the_platforms_own_is_refused(name: str) -> None:
    with pytest.raises(StartError, match="begin it with another word"):
        Metrics().gauge(name, "Mine.")
