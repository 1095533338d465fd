"""`monopod check` as a person runs it: the table of what runs where, every mistake, and the same as JSON."""

import json
from pathlib import Path

import pytest

import monopod
from tests.conf.golden import GOLDEN, SERVICES, is_the_platforms_own_root
from tests.running import ROOT

REGIONS = ["--regions", str(GOLDEN / "regions.yaml")]
GPU = ["--service", str(SERVICES["gpu"]), *REGIONS]

Captured = pytest.CaptureFixture[str]


@pytest.mark.skipif(not is_the_platforms_own_root(), reason="the root is a service of its own, with numbers of its own")
def test_check_on_the_root_prints_one_table_with_where_it_answers_and_what_it_costs(capsys: Captured) -> None:
    assert monopod.main(["check", "--service", str(ROOT), *REGIONS]) == 0
    head, first, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["region", "track", "pods", "cpu", "memory", "GPU", "GiB", "answers", "at", "a", "month"]
    assert first.split() == ["hk", "prod", "2", "2", "2Gi", "0", "hk.example.com/api/like/demo", "USD", "126"]
    assert "prod costs USD 252 a month" in "\n".join(rest)


def test_the_cost_is_pods_times_price_times_the_largest_share(capsys: Captured) -> None:
    monopod.main(["check", *GPU, "--json"])
    runs = {(run["region"], run["track"]): run["price"] for run in json.loads(capsys.readouterr().out)["runs"]}
    assert runs["hk", "prod"] == pytest.approx(2 * 1400 * 6 / 30)  # 6 of two cards of 15 GiB
    assert runs["na", "prod"] == pytest.approx(1050)  # a card of one's own
    assert runs["eu", "prod"] == pytest.approx(3900 * 6 / 96)


def test_the_names_of_a_services_own_alerts_and_panels_stand_below_the_table(capsys: Captured) -> None:
    every = ["check", "--service", str(SERVICES["every-setting"]), *REGIONS]
    assert monopod.main(every) == 0
    assert "\n\nalerts: QueueGrows\npanels: Faces found, Share of answers with a face\n\nprod costs" in capsys.readouterr().out
    monopod.main([*every, "--json"])
    assert json.loads(capsys.readouterr().out)["panels"] == ["Faces found", "Share of answers with a face"]


def test_the_hours_of_each_region_stand_below_the_table_with_their_mean(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "value.py").write_text(
        'service_name = "ages"\nusername = "like"\nreplicas = 1\nscale_hours = ["mon-fri 09:00-18:00 6"]\nna_scale_hours = []\n'
    )
    assert monopod.main(["check", "--service", str(tmp_path), *REGIONS]) == 0
    said = "pods mon-fri 09:00-18:00 6 (UTC), else 1; 2.3 on average"
    assert f"\n\nhk: {said}\neu: {said}\n\nprod costs" in capsys.readouterr().out


def test_the_table_says_which_group_and_sinks_each_track_uses_and_the_price_counts_offline_pods(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "value.py").write_text(
        'service_name = "ages"\nusername = "like"\nreplicas = 0\nhk_replicas = 1\noffline_source = "kafka:videos"\n'
        'offline_sinks = ["kafka:ages", "postgresql:ages"]\noffline_secret = "ages"\noffline_replicas = 2\n'
    )
    service = ["check", "--service", str(tmp_path), *REGIONS]
    assert monopod.main(service) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [
        "hk",
        "prod",
        "2",
        "kafka:videos",
        "like-ages",
        "kafka:ages,",
        "postgresql:ages",
        "kafka:videos-like-ages-dead",
    ] in lines
    grey = ["kafka:videos", "like-ages-grey", "kafka:ages-grey,", "postgresql:ages_grey", "kafka:videos-like-ages-grey-dead"]
    assert ["na", "grey", "1", *grey] in lines
    assert monopod.main([*service, "--json"]) == 0
    runs = {(run["region"], run["track"]): run for run in json.loads(capsys.readouterr().out)["runs"]}
    one = 480 * (1.1 / 16)  # a node of 16 cores, and the core and the proxy of a pod
    assert runs["hk", "prod"]["price"] == pytest.approx(3 * one)
    assert runs["eu", "prod"]["replicas"] == 0
    assert runs["eu", "prod"]["offline"] == {
        "replicas": 2,
        "source": "kafka:videos",
        "group": "like-ages",
        "sinks": ["kafka:ages", "postgresql:ages"],
        "dead_letters": "videos-like-ages-dead",
    }


def test_a_pod_that_no_node_takes_is_a_mistake_and_has_no_price(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "value.py").write_text('service_name = "demo"\nusername = "like"\ngpu_memory = 8\n')
    service = ["check", "--service", str(tmp_path), *REGIONS]
    assert monopod.main([*service, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["mistakes"][0].startswith("value.py:3: no kind of node in eu")
    prices = {(run["region"], run["track"]): run["price"] for run in found["runs"]}
    assert [where for where, price in prices.items() if price is None] == [("eu", "prod")]
    assert monopod.main(service) == 1
    assert "USD" not in capsys.readouterr().out


def test_check_tells_every_mistake_and_exits_1(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "value.py").write_text('service_name = "v1"\nhk_replica = 2\ncpu = "x"\nimport os\n')
    (tmp_path / "alerts.yaml").write_text("groups: 3\n")
    assert monopod.main(["check", "--service", str(tmp_path), *REGIONS]) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in out if line.partition(":")[0] in ("value.py", "alerts.yaml")] == [
        "alerts.yaml:1", "value.py", "value.py:1", "value.py:2", "value.py:3", "value.py:4",
    ]  # fmt: skip
    assert "did you mean 'hk_replicas'?" in out[3]
    assert out[-1] == "6 mistakes; nothing may be applied"


def test_check_gives_a_program_the_same_as_json(tmp_path: Path, capsys: Captured) -> None:
    assert monopod.main(["check", "--service", str(tmp_path), *REGIONS, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["mistakes"][0].startswith("value.py: cannot be read")


def test_check_of_a_folder_of_others_that_is_none_is_told(capsys: Captured) -> None:
    assert monopod.main(["check", *GPU, "--others", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("--others: nowhere is not a folder")


def test_a_service_without_a_model_is_checked_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "value.py").write_text('open("x")\nservice_name = "cats"\nusername = "like"\n')
    monkeypatch.chdir(tmp_path)
    assert monopod.main(["check", *REGIONS]) == 1
    said = capsys.readouterr()
    assert "value.py:1: " in said.out + said.err
    assert "unexpected" not in said.err
