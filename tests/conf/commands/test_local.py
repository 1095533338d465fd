"""The commands near the cluster as a person runs them: what they print, where, and how they exit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import monopod
from tests.conf.golden import DIGEST, GOLDEN, ROOT, SERVICES, is_the_platforms_own_root
from tests.conf.registries import holding
from tests.running import PYTHONPATH

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


def test_a_pod_that_no_node_takes_is_a_mistake_and_has_no_price(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "value.py").write_text('service_name = "demo"\nusername = "like"\ngpu_memory = 8\n')
    service = ["check", "--service", str(tmp_path), *REGIONS]
    assert monopod.main([*service, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["mistakes"][0].startswith("value.py:3: no kind of node in eu takes the pod")
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


def test_render_prints_one_region_and_track_byte_for_byte_the_same(capsys: Captured) -> None:
    assert monopod.main(["render", *GPU, "--region", "na", "--track", "grey"]) == 0
    first = capsys.readouterr().out
    monopod.main(["render", *GPU, "--region", "na", "--track", "grey"])
    assert capsys.readouterr().out == first
    assert first.startswith("# na, grey\n---\napiVersion: v1\n")


def test_render_writes_one_file_for_each_region_and_track(tmp_path: Path, capsys: Captured) -> None:
    named = f"registry.example.com/gpu:1.0.0@{DIGEST}"
    assert monopod.main(["render", *GPU, "--image", named, "--output", str(tmp_path / "out")]) == 0
    names = ["eu-prod.yaml", "hk-ab.yaml", "hk-prod.yaml", "na-grey.yaml", "na-prod.yaml"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    golden = (GOLDEN / "gpu" / "hk-prod-istio.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "hk-prod.yaml").read_text(encoding="utf-8") == golden
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_render_shows_the_digest_that_a_tag_has_now_and_without_an_image_what_stands_for_one(capsys: Captured) -> None:
    with holding() as hub:
        digest = hub.push("like/gpu", "v1", "first")
        assert monopod.main(["render", *GPU, "--region", "hk", "--image", f"{hub.host}/like/gpu:v1"]) == 0
        shown = capsys.readouterr().out
        assert f'image: "{hub.host}/like/gpu@{digest}"' in shown
        assert '"version": "v1"' in shown
        assert len(hub.heard) == 1
        assert monopod.main(["render", *GPU, "--image", f"{hub.host}/like/gpu:v2"]) == 1
        assert f"registry {hub.host} has no image {hub.host}/like/gpu:v2; is its name right" in capsys.readouterr().err
    assert monopod.main(["render", *GPU, "--region", "hk"]) == 0
    assert 'image: "registry.example.com/test-team/gpu:dev"' in capsys.readouterr().out


def test_render_gives_a_program_a_list_of_objects(capsys: Captured) -> None:
    assert monopod.main(["render", *GPU, "--region", "hk", "--json"]) == 0
    assert [item["kind"] for item in json.loads(capsys.readouterr().out)][:3] == ["ServiceAccount", "NetworkPolicy", "Service"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--region", "sg"], "--region: no region 'sg'; name one of hk, eu, na"),
        (["--region", "eu", "--track", "grey"], "grey does not run in eu: see `monopod check` for what runs where"),
        (["--image", "A b"], "--image: 'A b' is no image's name; write one as registry.example.com/like/demo:1.0"),
        (["--regions", "nowhere.yaml"], "nowhere.yaml: cannot be read (No such file or directory); it names the clusters"),
    ],
)
def test_render_tells_what_it_cannot_do_and_exits_1(arguments: list[str], told: str, capsys: Captured) -> None:
    assert monopod.main(["render", *GPU, *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(told)


def test_check_of_a_folder_of_others_that_is_none_is_told(capsys: Captured) -> None:
    assert monopod.main(["check", *GPU, "--others", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("--others: nowhere is no folder")


def test_settings_are_printed_for_people_and_for_programs(capsys: Captured) -> None:
    assert monopod.main(["settings"]) == 0
    assert "  cpu  [1]\n      a number from 0.1 to 256 (cores)\n" in capsys.readouterr().out
    assert monopod.main(["settings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "service_name"


def test_the_manual_of_the_settings_is_what_the_settings_say(capsys: Captured) -> None:
    assert monopod.main(["settings", "--markdown"]) == 0
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == capsys.readouterr().out


@pytest.mark.parametrize("command", ["serve", "settings", "check", "render", "gateway"])
def test_every_command_has_help_with_an_example(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        monopod.main([command, "--help"])
    assert caught.value.code == 0
    assert f"example: monopod {command}" in capsys.readouterr().out


def test_whoever_reads_the_first_line_alone_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "monopod", "render", *GPU]
    with subprocess.Popen(command, cwd=ROOT / "src", env={"PYTHONPATH": PYTHONPATH}, stdout=-1, stderr=-1) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_region_that_is_none_is_refused_with_the_names_of_those_that_are(capsys: Captured) -> None:
    for command in ("render", "doctor"):
        assert monopod.main([command, *GPU, "--region", "nosuch"]) == 1
        assert "no region 'nosuch'; name one of hk, eu, na" in capsys.readouterr().err
    assert monopod.main(["doctor", *GPU, "--region", "eu", "--track", "grey"]) == 1
    assert "grey does not run in eu" in capsys.readouterr().err


def test_a_service_without_a_model_is_checked_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "value.py").write_text('open("x")\nservice_name = "cats"\nusername = "like"\n')
    monkeypatch.chdir(tmp_path)
    assert monopod.main(["check", *REGIONS]) == 1
    said = capsys.readouterr()
    assert "value.py:1: " in said.out + said.err
    assert "unexpected" not in said.err
