"""The figures of offline pods: two readings of their pages become lag, rate, age and dead letters of a whole track."""

from conf.observe.metrics_page import Page, parsed
from conf.observe.offline_figures import OfflineFigures, idle_words, offline_figures, troubles


def page(at: float, *lines: str) -> Page:
    return parsed("\n".join(("monopod_ready 1", *lines, "")), at)


def lag(partition: int, records: int) -> str:
    return f'monopod_offline_lag_records{{topic="videos",partition="{partition}"}} {records}'


def done(outcome: str, records: int) -> str:
    return f'monopod_offline_records_total{{outcome="{outcome}"}} {records}'


def test_the_figures_of_two_pods_are_one() -> None:
    first = (page(0, done("answered", 100)), page(2, lag(0, 7), done("answered", 120), done("tombstone", 4)))
    second = (page(0, done("answered", 50)), page(2, lag(1, 5), done("answered", 60)))
    found = offline_figures([first, second])
    assert (found.lag, found.rate) == (12, 17)
    assert found.dead_letters == 0


def test_a_partition_that_two_pods_tell_counts_once() -> None:
    pages = [page(2, lag(0, 7)), page(2, lag(0, 9))]
    assert offline_figures([(each, each) for each in pages]).lag == 9


def test_the_oldest_record_is_that_of_the_worst_pod_and_dead_letters_are_summed() -> None:
    ages = ("monopod_offline_oldest_record_age_seconds 3", "monopod_offline_oldest_record_age_seconds 40")
    dead = (
        'monopod_offline_dead_letters_total{reason="bad_input"} 2\nmonopod_offline_dead_letters_total{reason="model_failed"} 1',
        'monopod_offline_dead_letters_total{reason="bad_input"} 4',
    )
    pages = [page(2, lag(number, 0), age, letters) for number, (age, letters) in enumerate(zip(ages, dead, strict=True))]
    found = offline_figures([(each, each) for each in pages])
    assert (found.oldest, found.dead_letters) == (40, 7)


def test_a_restart_between_two_readings_counts_from_nothing() -> None:
    assert offline_figures([(page(0, done("answered", 900)), page(3, done("answered", 30)))]).rate == 10


def test_pages_that_tell_nothing_give_no_figures() -> None:
    assert offline_figures([]) == OfflineFigures(None, None, None, None, partitions=0, idle=0, held=False, away={})
    assert offline_figures([(page(0), page(2))]).lag is None


def test_pods_without_a_partition_are_counted_once_others_read() -> None:
    pages = [page(2, f"monopod_offline_partitions {number}") for number in (2, 0, 1, 0)]
    found = offline_figures([(each, each) for each in pages])
    assert (found.partitions, found.idle) == (3, 2)
    assert idle_words(found) == "2 of its pods have no partition to read, since the topic has 3"
    assert idle_words(offline_figures([(each, each) for each in pages[1:3]])) == (
        "1 of its pods has no partition to read, since the topic has 1"
    )
    assert idle_words(offline_figures([(pages[1], pages[1])])) == ""  # partitions are on their way
    assert idle_words(offline_figures([(pages[0], pages[0])])) == ""
    assert idle_words(offline_figures([])) == ""


def test_reading_that_is_stopped_and_sinks_that_are_away_are_told_in_words() -> None:
    away = 'monopod_offline_sink_away_seconds{sink="postgresql:ages"} 61.4\nmonopod_offline_sink_away_seconds{sink="stdout"} 0'
    silent = "monopod_offline_brokers_away_seconds 31.2"
    found = offline_figures([(page(0), page(2, "monopod_offline_held 1", away, silent))])
    assert troubles(found) == [
        "postgresql:ages has been away for 61 s, and its answers wait",
        "the brokers have not answered for 31 s, so that nobody reads",
        "reading is stopped, since the model fails for most records; their errors are in `monopod logs`",
    ]
    assert troubles(offline_figures([(page(0), page(2, "monopod_offline_held 0"))])) == []
