"""`monopod render` as a person runs it: what it prints and writes, and how it and the commands beside it refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import monopod
from tests.conf.golden import DIGEST, GOLDEN, SERVICES
from tests.conf.image_registry import running_registry
from tests.running import PYTHONPATH, ROOT

REGIONS = ["--regions", str(GOLDEN / "regions.yaml")]
GPU = ["--service", str(SERVICES["gpu"]), *REGIONS]

Captured = pytest.CaptureFixture[str]


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
    with running_registry() as hub:
        digest = hub.push("like/gpu", "v1", "first")
        assert monopod.main(["render", *GPU, "--region", "hk", "--image", f"{hub.host}/like/gpu:v1"]) == 0
        shown = capsys.readouterr().out
        assert f'image: "{hub.host}/like/gpu@{digest}"' in shown
        assert '"version": "v1"' in shown
        assert len(hub.received) == 1
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
        (["--region", "eu", "--track", "grey"], "grey does not run in eu: "),
        (["--image", "A b"], "--image: 'A b' is not the name of an image; "),
        (["--regions", "nowhere.yaml"], "nowhere.yaml: cannot be read (No such file"),
    ],
)
def test_render_tells_what_it_cannot_do_and_exits_1(arguments: list[str], told: str, capsys: Captured) -> None:
    assert monopod.main(["render", *GPU, *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(told)


@pytest.mark.parametrize("command", ["serve", "settings", "check", "render", "gateway"])
def test_every_command_has_help_with_an_example(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        monopod.main([command, "--help"])
    assert caught.value.code == 0
    assert f"example: monopod {command}" in capsys.readouterr().out


def test_a_reader_of_the_first_line_alone_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "monopod", "render", *GPU]
    with subprocess.Popen(command, cwd=ROOT / "src", env={"PYTHONPATH": PYTHONPATH}, stdout=-1, stderr=-1) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "words", [["render", *GPU], ["doctor", *GPU], ["health", *GPU], ["gateway", *REGIONS], ["values", *REGIONS]]
)
def test_a_region_that_does_not_exist_is_refused_with_the_names_of_those_that_do(words: list[str], capsys: Captured) -> None:
    assert monopod.main([*words, "--region", "nosuch"]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("--region: no region 'nosuch'; ")
    assert "hk, eu, na" in told.err
    assert told.out == ""


def test_doctor_refuses_a_track_that_does_not_run_in_the_region(capsys: Captured) -> None:
    assert monopod.main(["doctor", *GPU, "--region", "eu", "--track", "grey"]) == 1
    assert "grey does not run in eu" in capsys.readouterr().err
